"""Emitter-suppressor beam search against plain beam search, and against plain PyTorch.

    python benchmarks/suppressor.py [--no-torch]

Beam of 5, 20 words that never end, 512 wide, vocabulary 9,487; 64 targets with one distractor each,
then with more. PyTorch takes a pair at a time, as the codes that there are do; both streams of its
beam as one batch. Nothing else may run on the machine.
"""

import argparse
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from workload import IMAGE, endless, matmul_peak, seconds

import capjax
from capjax.compiled.lengths import STEPS, VOCABULARY

TARGETS, WIDTH = 64, 5


def ours(number: int, repeats: int) -> tuple[float, float]:
    """Seconds of plain beam search of the targets, and with so many distractors of each."""
    rng = np.random.default_rng(0)
    speaker = capjax.generator(VOCABULARY, ("features", IMAGE))
    params = endless(jax.jit(speaker.init)(jax.random.key(0)))
    target = {"image": jnp.asarray(rng.normal(size=(TARGETS, IMAGE)), jnp.float32)}
    others = {"image": jnp.asarray(rng.normal(size=(TARGETS, number, IMAGE)), jnp.float32)}
    plain = jax.jit(partial(capjax.beam_search, speaker, width=WIDTH, max_len=STEPS))
    held = jax.jit(partial(capjax.emitter_suppressor, speaker, width=WIDTH, max_len=STEPS))
    return (
        seconds(lambda: jax.block_until_ready(plain(params, target)), repeats),
        seconds(lambda: jax.block_until_ready(held(params, target, others)), repeats),
    )


def theirs(repeats: int) -> float:
    """Seconds of one pair in PyTorch."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    project, table = nn.Linear(IMAGE, 512), nn.Embedding(VOCABULARY, 512)
    cell, out = nn.LSTMCell(512, 512), nn.Linear(512, VOCABULARY)

    @torch.no_grad()
    def pair(target: Any, distractor: Any) -> Any:
        both = torch.stack([target, distractor]).repeat_interleave(WIDTH, 0)
        state = cell(torch.relu(project(both)))
        word = torch.zeros(WIDTH, dtype=torch.long)
        score = torch.full((WIDTH,), -torch.inf)
        score[0] = 0
        captions = torch.zeros(WIDTH, 0, dtype=torch.long)
        for _ in range(STEPS):
            state = cell(table(word.repeat(2)), state)
            logits = out(state[0])
            logits[:, 0] = -1e4
            log_p = torch.log_softmax(logits, 1)
            total = score[:, None] + log_p[:WIDTH] - 0.5 * log_p[WIDTH:]
            score, index = total.view(-1).topk(WIDTH)
            parent, word = index // VOCABULARY, index % VOCABULARY
            captions = torch.cat([captions[parent], word[:, None]], 1)
            rows = torch.cat([parent, WIDTH + parent])
            state = tuple(x[rows] for x in state)
        return captions

    images = torch.randn(2, IMAGE)
    return seconds(lambda: pair(*images), repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    flags = parser.parse_args()
    print(f"jax {jax.__version__}, peak {matmul_peak():.0f} GFLOP/s; {TARGETS} targets")
    one = 0.0
    for number in (1, 3, 9):
        plain, held = ours(number, flags.repeats)
        one = one or held
        print(f"{number} distractors: {held:.3f} s, {held / plain:.2f}x plain ({plain:.3f} s)")
    if not flags.no_torch:
        taken = theirs(3 * flags.repeats)
        print(
            f"PyTorch, a pair at a time: {1 / taken:.1f} pairs/s; ours {TARGETS / one:.1f},"
            f" {TARGETS / one * taken:.1f}x"
        )


if __name__ == "__main__":
    main()
