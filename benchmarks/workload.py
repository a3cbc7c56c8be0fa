"""What benchmarks are of: sizes, captions of COCO's lengths, work, times, the machine's limit."""

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

DIM, VOCABULARY, IMAGE, STEPS = 512, 9487, 2048, 20
# Words of the captions of COCO's val2014, cut at 20 (202,654 captions; mean 10.5).
LENGTHS = [0, 0, 0, 0, 0, 0, 0, 81, 1650, 2188, 2151, 1536, 980, 571, 327, 185, 110, 70, 42, 30, 79]


def captions_like_coco(
    rng: np.random.Generator, count: int, vocabulary: int = VOCABULARY
) -> np.ndarray:
    """Captions of COCO's lengths, words drawn by Zipf's law: int32[count, STEPS]."""
    shares = np.array(LENGTHS) / sum(LENGTHS)
    lengths = rng.choice(len(LENGTHS), count, p=shares)
    weights = 1 / np.arange(1, vocabulary - 1)
    words = rng.choice(np.arange(2, vocabulary), (count, STEPS), p=weights / weights.sum())
    return np.where(np.arange(STEPS) < lengths[:, None], words, 0).astype(np.int32)


def end_logits(vocabulary: int = VOCABULARY) -> np.ndarray:
    """The odds that a caption of so many words ends there, as a logit beside the other words' mass.

    float[STEPS + 1], where the other words' logits are about 0.
    """
    shares = np.array(LENGTHS) / sum(LENGTHS)
    odds = shares / np.maximum(shares[::-1].cumsum()[::-1], 1e-9)
    odds = np.clip(odds, 1e-6, 1 - 1e-6)
    return np.log(odds) - np.log1p(-odds) + np.log(vocabulary)


def work(words: int, rows: int) -> float:
    """Floating-point operations forward: `words` read and scored, `rows` images taken in."""
    lstm, project = 2 * (2 * DIM) * (4 * DIM), 2 * DIM * VOCABULARY
    return words * (lstm + project) + rows * (2 * IMAGE * DIM + lstm)


def seconds(run: Callable[[], object], repeats: int) -> float:
    """The median of some runs after one that compiles."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def matmul_peak() -> float:
    """GFLOP/s of the fastest of 20 float32 products of 2048 x 2048 matrices."""
    a = jax.random.normal(jax.random.key(0), (2048, 2048))
    product = jax.jit(jnp.matmul)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        product(a, a).block_until_ready()
        times.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(times) / 1e9


def endless(params: dict) -> dict:
    """Parameters that never end a caption, so that every decode runs all its steps."""
    bias = params["params"]["words"]["bias"].at[0].set(-1e4)
    words = {**params["params"]["words"], "bias": bias}
    return {"params": {**params["params"], "words": words}}


def take_dtype(parser: argparse.ArgumentParser) -> None:
    """A flag for what our networks' products take in."""
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
