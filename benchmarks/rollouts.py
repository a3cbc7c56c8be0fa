"""Early feedback against the machine's own limit, and against plain PyTorch.

    python benchmarks/rollouts.py [--no-torch] [--scaling] [--json FILE]

Captions and their completions have the lengths of COCO's captions: whether a caption ends depends
on how many words it has, with COCO's odds. Work is counted as the algorithm needs it: the
multiply-adds of the speaker's and the evaluator's LSTM for each word that is fed in, and of one
projection onto the vocabulary for each draw that another draw does not share; never padding. The
limit is the fastest float32 matmul of 2048 x 2048 timed in the same run. Nothing else may run on
the machine meanwhile.
"""

import argparse
import json
import platform
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from workload import DIM, IMAGE, matmul_peak, seconds, take_dtype

import capjax
from capjax.compiled.lengths import VOCABULARY, captions_like_coco, end_logits
from capjax.decoding.completions import Load
from capjax.decoding.rollouts import values_and_load
from capjax.speaker import Speaker

ENDS = end_logits()


def of_coco_lengths(speaker: Speaker) -> Speaker:
    """A speaker whose captions have COCO's lengths, whatever its parameters."""

    def start(params, context):
        memory, carry = speaker.start(params, context)
        return memory, (carry, jnp.zeros(context["image"].shape[0], jnp.int32))

    def step(params, memory, carry, words):
        inner, position = carry
        inner, hidden = speaker.step(params, memory, inner, words)
        end = jnp.asarray(ENDS, jnp.float32)[position]
        return (inner, position + 1), jnp.concatenate([hidden, end[:, None]], 1)

    def logits(params, hidden):
        scores = speaker.logits(params, hidden[..., :-1])
        return jnp.where(jnp.arange(VOCABULARY) == 0, hidden[..., -1:], scores)

    return Speaker(speaker.init, start, step, logits)


class Case:
    """Captions, their images and the two networks."""

    def __init__(self, batch: int, dtype: str):
        plain = capjax.generator(VOCABULARY, ("features", IMAGE), dtype=dtype)
        self.speaker = of_coco_lengths(plain)
        self.evaluator = capjax.evaluator(VOCABULARY, ("features", IMAGE), dtype=dtype)
        self.params = jax.jit(plain.init)(jax.random.key(0))
        self.evaluator_params = jax.jit(self.evaluator.init)(jax.random.key(1))
        rng = np.random.default_rng(0)
        self.captions = captions_like_coco(rng, batch)
        self.images = rng.normal(size=(batch, IMAGE)).astype(np.float32)

    def values(self, n: int, lanes: int | None = None) -> Load:
        result = _values(
            self.speaker,
            self.evaluator,
            n,
            lanes,
            self.params,
            self.evaluator_params,
            {"image": jnp.asarray(self.images)},
            jnp.asarray(self.captions),
            jax.random.key(2),
        )
        return jax.block_until_ready(result)[1]

    def work(self, load: Load) -> float:
        """Floating-point operations; the lanes' part of them is as they tell."""
        lstm, project = 2 * (2 * DIM) * (4 * DIM), 2 * DIM * VOCABULARY
        words = int((self.captions > 0).sum())
        rows = len(self.captions)
        once = rows * (4 * IMAGE * DIM + 2 * lstm) + words * (3 * lstm + project)
        return once + float(load.fed) * (2 * lstm + project) + float(load.ended) * lstm


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _values(speaker, evaluator, n, lanes, params, evaluator_params, context, captions, key):
    return values_and_load(
        speaker,
        params,
        evaluator,
        evaluator_params,
        context,
        captions,
        key,
        rollouts=n,
        lanes=lanes,
    )


def measure(case: Case, n: int, lanes: int | None, repeats: int) -> dict[str, float]:
    """The time, the work and the memory of n rollouts of every prefix."""
    load = case.values(n, lanes)
    time_ = seconds(lambda: case.values(n, lanes), repeats)
    compiled = _values.lower(
        case.speaker,
        case.evaluator,
        n,
        lanes,
        case.params,
        case.evaluator_params,
        {"image": case.images},
        case.captions,
        jax.random.key(2),
    ).compile()
    return {
        "batch": len(case.captions),
        "rollouts": n,
        "seconds": time_,
        "gflops": case.work(load) / time_ / 1e9,
        "busy": float(load.busy),
        "completions": int((case.captions > 0).sum()) * n,
        "temporary_mb": compiled.memory_analysis().temp_size_in_bytes / 1e6,
    }


def show(rows: list[dict[str, float]], peak: float) -> None:
    print(
        f"{'B':>5}{'n':>4}{'seconds':>9}{'completions/s':>15}{'GFLOP/s':>9}{'of peak':>9}"
        f"{'busy':>7}{'MB':>7}"
    )
    for row in rows:
        print(
            f"{row['batch']:5}{row['rollouts']:4}{row['seconds']:9.3f}"
            f"{row['completions'] / row['seconds']:15.0f}{row['gflops']:9.1f}"
            f"{row['gflops'] / peak:9.0%}{row['busy']:7.1%}{row['temporary_mb']:7.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rollouts", type=int, default=16)
    parser.add_argument("--lanes", type=int)
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--scaling", action="store_true", help="B = 16, 64, 256 and n = 4, 16, 64")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", help="also write the rows to this file")
    take_dtype(parser)
    flags = parser.parse_args()
    peak = matmul_peak()
    sizes = [(flags.batch, flags.rollouts)]
    if flags.scaling:
        sizes = [(b, n) for b in (16, 64, 256) for n in (4, 16, 64)]
    rows = [measure(Case(batch, flags.dtype), n, flags.lanes, flags.repeats) for batch, n in sizes]
    peak = max(peak, matmul_peak())
    device = jax.devices()[0].device_kind
    print(f"{platform.machine()} {device}, jax {jax.__version__}, peak {peak:.0f} GFLOP/s")
    show(rows, peak)
    peers = {}
    if not flags.no_torch:
        try:
            from rollouts_torch import Rollouts

            case = Case(flags.batch, flags.dtype)
            versions = Rollouts(case.captions, case.images, ENDS, flags.rollouts).forms()
        except ImportError:
            versions = {}
            print("torch is not installed: no comparison")
        mine = [r for r in rows if (r["batch"], r["rollouts"]) == (flags.batch, flags.rollouts)]
        for name, run in versions.items():
            begin = time.perf_counter()
            run()
            peers[name] = time.perf_counter() - begin
            ratio = f"  ({peers[name] / mine[0]['seconds']:.1f}x)" if mine else ""
            print(f"torch, {name}: {peers[name]:.1f} s{ratio}")
    if flags.json:
        with open(flags.json, "w", encoding="utf-8") as file:
            result = {"device": device, "peak_gflops": peak, "rows": rows, "torch": peers}
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
