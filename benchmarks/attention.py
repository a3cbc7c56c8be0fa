"""The attention cells against the cell that sees the image once, in training and in decoding.

    python benchmarks/attention.py [--batch 16]

Images x 5 captions of COCO's lengths, 49 regions of 1,280 numbers, the grid of EfficientNet-Lite0
(their mean for nic), 512 wide, vocabulary 9,487. Nothing else may run on the machine.
"""

import argparse
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from workload import matmul_peak, seconds, take_dtype

import capjax
from capjax.compiled.lengths import VOCABULARY, captions_like_coco
from capjax.models.generator import CELLS
from capjax.objectives.maximum_likelihood import maximum_likelihood
from capjax.parallel.devices import over_devices

REGIONS, IMAGE, EACH = 49, 1280, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16, help="images")
    parser.add_argument("--repeats", type=int, default=5)
    take_dtype(parser)
    flags = parser.parse_args()
    rng = np.random.default_rng(0)
    images = flags.batch
    captions = jnp.asarray(captions_like_coco(rng, images * EACH)).reshape(images, EACH, -1)
    regions = jnp.asarray(rng.normal(size=(images, REGIONS, IMAGE)), jnp.float32)
    print(f"peak {matmul_peak():.0f} GFLOP/s; {images} images x {EACH} captions, {REGIONS} regions")
    base: dict[str, float] = {}
    for cell in CELLS:
        plain = cell == "nic"
        kind = ("features", IMAGE) if plain else ("regions", REGIONS, IMAGE)
        image = regions.mean(1) if plain else regions
        speaker = capjax.generator(VOCABULARY, kind, cell=cell, dtype=flags.dtype)
        params = jax.jit(speaker.init)(jax.random.key(0))
        algorithm = maximum_likelihood(speaker, optax.adam(1e-5))
        step = over_devices(partial(update, algorithm))
        state = algorithm.init(None, params)

        def learn(step=step, image=image):
            nonlocal state
            batch = {"image": image, "caption": captions}
            state = jax.block_until_ready(step(state, (), batch, jax.random.key(1)))[0]

        times = {"training step": seconds(learn, flags.repeats)}
        for name, decode in (
            ("sample", jax.jit(partial(capjax.sample, speaker))),
            ("beam of 3", jax.jit(partial(capjax.beam_search, speaker, width=3))),
        ):
            more = (jax.random.key(2),) if name == "sample" else ()

            def speak(decode=decode, params=params, image=image, more=more):
                jax.block_until_ready(decode(params, {"image": image}, *more))

            times[name] = seconds(speak, flags.repeats)
        base = base or times
        for name, taken in times.items():
            print(f"{cell:9} {name:14} {taken:.3f} s, {taken / base[name]:.2f}x nic")


def update(algorithm, state, _, batch, key):
    return algorithm.update(state, batch, key)


if __name__ == "__main__":
    main()
