"""Training, sampling and beam search against the machine's own limit, and against plain PyTorch.

    python benchmarks/maximum_likelihood.py [--no-torch] [--json FILE]

Work is counted as the algorithm needs it: the multiply-adds of the LSTM and of the projection onto
the vocabulary for real words and their ends, never for padding; three times that for a training
step. The limit is the fastest float32 matmul of 2048 x 2048 timed in the same run. Nothing else may
run on the machine meanwhile.
"""

import argparse
import json
import platform
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from workload import DIM, IMAGE, endless, matmul_peak, seconds, take_dtype, work

import capjax
from capjax.compiled.lengths import STEPS, VOCABULARY, captions_like_coco
from capjax.objectives.maximum_likelihood import maximum_likelihood
from capjax.parallel.devices import over_devices
from capjax.speaker import scored


def capjax_cases(repeats: int, dtype: str) -> dict[str, tuple[float, float, float]]:
    """name -> (seconds, floating-point operations, captions)."""
    rng = np.random.default_rng(0)
    speaker = capjax.generator(VOCABULARY, ("features", IMAGE), dim=DIM, dtype=dtype)
    captions = captions_like_coco(rng, 320)
    images = jnp.asarray(rng.normal(size=(320, IMAGE)), jnp.float32)
    batch = {"image": images, "caption": jnp.asarray(captions)}
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(5e-4))
    algorithm = maximum_likelihood(speaker, optimizer)
    step = over_devices(lambda state, _, batch, key: algorithm.update(state, batch, key))
    state = algorithm.init(jax.random.key(0))
    params = endless(speaker.init(jax.random.key(0)))

    def train() -> None:
        nonlocal state
        state, metrics = step(state, (), batch, jax.random.key(1))
        jax.block_until_ready((state, metrics))

    draw = jax.jit(lambda p, x, k: capjax.sample(speaker, p, {"image": x}, k, max_len=STEPS))
    beam = jax.jit(lambda p, x: capjax.beam_search(speaker, p, {"image": x}, max_len=STEPS))
    greedy = jax.jit(lambda p, x: capjax.greedy(speaker, p, {"image": x}, max_len=STEPS))
    real = int(scored(jnp.asarray(captions)).sum())
    few = images[:64]
    runs: dict[str, tuple[Callable, float, int]] = {
        "train 320 captions": (train, 3 * work(real, 320), 320),
        "sample 320 captions": (
            lambda: jax.block_until_ready(draw(params, images, jax.random.key(2))),
            work(320 * STEPS, 320),
            320,
        ),
        "greedy 64 images": (
            lambda: jax.block_until_ready(greedy(params, few)),
            work(64 * STEPS, 64),
            64,
        ),
        # The first step has one hypothesis an image.
        "beam 5, 64 images": (
            lambda: jax.block_until_ready(beam(params, few)),
            work(64 * (5 * (STEPS - 1) + 1), 64),
            64,
        ),
    }
    return {name: (seconds(run, repeats), flops, n) for name, (run, flops, n) in runs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", help="also write the rows to this file")
    take_dtype(parser)
    flags = parser.parse_args()
    peak = matmul_peak()
    measured = capjax_cases(flags.repeats, flags.dtype)
    peak = max(peak, matmul_peak())
    peers = {}
    if not flags.no_torch:
        try:
            from maximum_likelihood_torch import torch_cases

            peers = torch_cases(flags.repeats, flags.dtype)
        except ImportError:
            print("torch is not installed: no comparison")
    device = jax.devices()[0].device_kind
    print(f"{platform.machine()} {device}, jax {jax.__version__}, peak {peak:.0f} GFLOP/s")
    print(f"{'':22}{'seconds':>9}{'captions/s':>12}{'GFLOP/s':>9}{'of peak':>9}{'torch s':>9}")
    rows = []
    for name, (time_, flops, captions) in measured.items():
        speed, peer = flops / time_ / 1e9, peers.get(name)
        print(
            f"{name:22}{time_:9.3f}{captions / time_:12.0f}{speed:9.1f}{speed / peak:9.0%}"
            + (f"{peer:9.2f}  ({peer / time_:.1f}x)" if peer else f"{'-':>9}")
        )
        rows.append(
            {"case": name, "seconds": time_, "gflops": speed, "share": speed / peak, "torch": peer}
        )
    if flags.json:
        with open(flags.json, "w", encoding="utf-8") as file:
            json.dump({"device": device, "peak_gflops": peak, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
