"""A self-critical step against plain PyTorch with CIDEr-D in Python, and the reward alone.

    python benchmarks/self_critical.py [--dtype bfloat16] [--no-torch] [--repeats 5]

64 images x 5 samples, nic 512 wide, vocabulary 9,487, at most 20 words; an untrained speaker whose
bias ends a caption one word in eleven, about COCO's lengths. CIDEr-D against 5 references of COCO's
lengths, document frequencies of 5,000 images. Nothing else may run on the machine.
"""

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from workload import IMAGE, matmul_peak, seconds, take_dtype

import capjax
from capjax.compiled.lengths import STEPS, VOCABULARY, captions_like_coco
from capjax.metrics import ngram_table, pack_references
from capjax.models.attention import Looking
from capjax.models.generator import CELLS
from capjax.objectives.rewards import cider_reward
from capjax.objectives.self_critical import self_critical
from capjax.parallel.devices import over_devices

IMAGES, SAMPLES, CORPUS, REGIONS = 64, 5, 5000, 49
END_BIAS = float(np.log(VOCABULARY / 10))


def ending(params: dict) -> dict:
    """Parameters whose bias ends a caption one word in eleven."""
    bias = params["params"]["words"]["bias"].at[0].set(END_BIAS)
    words = {**params["params"]["words"], "bias": bias}
    return {"params": {**params["params"], "words": words}}


def ours(
    references: np.ndarray, cell: str, baseline: str, repeats: int, dtype: str
) -> tuple[float, float]:
    """Seconds of a step, and of its reward alone."""
    regional = issubclass(CELLS[cell], Looking)
    kind = ("regions", REGIONS, 1280) if regional else ("features", IMAGE)
    rng = np.random.default_rng(1)
    speaker = capjax.generator(VOCABULARY, kind, cell=cell, dtype=dtype)
    table = ngram_table(references)
    packed = pack_references(references[:IMAGES], table, count_end=True)
    image = jnp.asarray(rng.normal(size=(IMAGES, *kind[1:])), jnp.float32)
    batch = {"image": image, "references": packed}
    algorithm = self_critical(
        speaker,
        optax.adam(1e-5),
        {"cider": (1.0, cider_reward(table))},
        samples=SAMPLES,
        max_len=STEPS,
        baseline=baseline,
    )
    step = over_devices(lambda state, _, batch, key: algorithm.update(state, batch, key))
    state = algorithm.init(jax.random.key(0), ending(jax.jit(speaker.init)(jax.random.key(0))))
    keys = iter(jax.random.split(jax.random.key(1), 100))

    def run() -> None:
        nonlocal state
        state = jax.block_until_ready(step(state, (), batch, next(keys)))[0]

    taken = seconds(run, repeats)
    drawn = captions_like_coco(rng, IMAGES * SAMPLES).reshape(IMAGES, SAMPLES, STEPS)
    reward = jax.jit(cider_reward(table))
    alone = seconds(lambda: jax.block_until_ready(reward(batch, drawn)), 20)
    return taken, alone


def theirs(references: np.ndarray, repeats: int, dtype: str) -> float:
    """Seconds of a step in PyTorch: samples drawn with their graph, scored by pycocoevalcap."""
    import torch
    from pycocoevalcap.cider.cider import Cider
    from torch import nn

    class Speaker(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Linear(IMAGE, 512)
            self.table = nn.Embedding(VOCABULARY, 512)
            self.cell = nn.LSTMCell(512, 512)
            self.words = nn.Linear(512, VOCABULARY)
            with torch.no_grad():
                self.words.bias[0] = END_BIAS

        def start(self, images: Any) -> Any:
            return self.cell(torch.relu(self.project(images)))

    torch.manual_seed(0)
    model, rows = Speaker(), IMAGES * SAMPLES
    optimizer = torch.optim.Adam(model.parameters(), 1e-5)
    images = torch.randn(IMAGES, IMAGE).repeat_interleave(SAMPLES, 0)

    def spell(caption: np.ndarray) -> str:
        words: list[str] = []
        for word in caption.tolist():
            words.append(str(word))
            if word == 0:
                break
        return " ".join(words)

    truth = {i: [spell(c) for c in references[i // SAMPLES]] for i in range(rows)}

    def run() -> None:
        state, word = model.start(images), torch.zeros(rows, dtype=torch.long)
        done = torch.zeros(rows, dtype=torch.bool)
        words, log_probs = [], []
        for _ in range(STEPS):
            state = model.cell(model.table(word), state)
            log_p = torch.log_softmax(model.words(state[0]), 1)
            with torch.no_grad():
                word = torch.multinomial(log_p.exp(), 1)[:, 0].masked_fill(done, 0)
            log_probs.append(log_p.gather(1, word[:, None])[:, 0].masked_fill(done, 0))
            words.append(word)
            done = done | (word == 0)
            if done.all():
                break
        captions = torch.stack(words, 1).numpy()
        scores = Cider().compute_score(truth, {i: [spell(c)] for i, c in enumerate(captions)})[1]
        reward = torch.as_tensor(scores, dtype=torch.float32).view(IMAGES, SAMPLES)
        base = (reward.sum(1, keepdim=True) - reward) / (SAMPLES - 1)
        loss = -((reward - base).view(-1) * torch.stack(log_probs, 1).sum(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
        return seconds(run, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    take_dtype(parser)
    flags = parser.parse_args()
    rng = np.random.default_rng(0)
    references = captions_like_coco(rng, CORPUS * 5).reshape(CORPUS, 5, STEPS)
    print(f"jax {jax.__version__}, {flags.dtype}, float32 peak {matmul_peak():.0f} GFLOP/s")
    number, base = IMAGES * SAMPLES, 0.0
    for cell, baseline in (
        ("nic", "leave_one_out"),
        ("nic", "greedy"),
        ("att2in", "leave_one_out"),
    ):
        taken, alone = ours(references, cell, baseline, flags.repeats, flags.dtype)
        base = base or taken
        print(
            f"{cell:7} {baseline:14} {taken:.3f} s, {number / taken:.0f} samples/s; the reward"
            f" {1e3 * alone:.1f} ms, {alone / taken:.2%} of it"
        )
    if not flags.no_torch:
        taken = theirs(references, max(1, flags.repeats // 2), flags.dtype)
        line = f"{taken:.3f} s, {number / taken:.0f} samples/s, {taken / base:.1f}x"
        print(f"PyTorch leave_one_out  {line}")


if __name__ == "__main__":
    main()
