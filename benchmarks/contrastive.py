"""A contrastive step against a maximum-likelihood step on the same number of scored words.

    python benchmarks/contrastive.py [--dtype bfloat16]

16 images x 5 captions, each beside K = 5 of other images: 480 captions of COCO's lengths, 512 wide,
vocabulary 9,487. Maximum likelihood reads the same 480. Nothing else may run on the machine.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import optax
from workload import IMAGE, matmul_peak, seconds, take_dtype

import capjax
from capjax.compiled.lengths import VOCABULARY, captions_like_coco
from capjax.objectives.contrastive import MASKS, contrastive
from capjax.objectives.maximum_likelihood import maximum_likelihood
from capjax.parallel.devices import over_devices

ROWS, OTHERS = 80, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    take_dtype(parser)
    flags = parser.parse_args()
    rng = np.random.default_rng(0)
    speaker = capjax.generator(VOCABULARY, ("features", IMAGE), dtype=flags.dtype)
    captions = jnp.asarray(captions_like_coco(rng, ROWS * (1 + OTHERS)))
    captions = captions.reshape(ROWS, 1 + OTHERS, -1)
    image = jnp.asarray(rng.normal(size=(ROWS, IMAGE)), jnp.float32)
    pairs = {"image": image, "caption": captions[:, 0], "mismatched": captions[:, 1:]}
    params = jax.jit(speaker.init)(jax.random.key(0))

    def timed(algorithm, state, batch) -> float:
        step = over_devices(lambda state, _, batch, key: algorithm.update(state, batch, key))

        def run() -> None:
            nonlocal state
            state = jax.block_until_ready(step(state, (), batch, jax.random.key(1)))[0]

        return seconds(run, 5)

    plain = maximum_likelihood(speaker, optax.adam(1e-5))
    base = timed(plain, plain.init(None, params), {"image": image, "caption": captions})
    print(f"peak {matmul_peak():.0f} GFLOP/s; maximum likelihood {base:.3f} s a step")
    for masks in MASKS:
        ours = contrastive(speaker, speaker, optax.adam(1e-5), masks=masks)
        taken = timed(ours, ours.init(None, params, params), pairs)
        print(f"contrastive, masks {masks:7} {taken:.3f} s, {taken / base:.2f}x")


if __name__ == "__main__":
    main()
