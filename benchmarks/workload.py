"""What benchmarks are of: sizes, captions of COCO's lengths, work, times, the machine's limit."""

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from capjax.compiled.lengths import VOCABULARY

DIM, IMAGE = 512, 2048


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
