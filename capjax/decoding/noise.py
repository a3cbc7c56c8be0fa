"""The noise that a generator speaks from."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from capjax.speaker import Context

LAWS = ("uniform", "normal", "zero")


def draw_noise(keys: jax.Array, width: int, law: str = "uniform") -> jax.Array:
    """Noise z by one key a row: uniform(-1, 1) as in G-GAN's code, standard normal, or zero.

    Args:
      keys: typed keys [N].
      width: Z.
      law: "uniform", "normal" or "zero".
    Returns:
      float32[N, Z].
    Raises:
      ValueError: another law.
    """
    if law == "zero":
        return jnp.zeros((keys.shape[0], width))
    if law == "normal":
        return jax.vmap(lambda key: jax.random.normal(key, (width,)))(keys)
    if law == "uniform":
        return jax.vmap(lambda key: jax.random.uniform(key, (width,), minval=-1, maxval=1))(keys)
    raise ValueError(f"noise {law!r} is not one of {', '.join(LAWS)}")


class Noise(NamedTuple):
    """What a speaker's noise is drawn from."""

    width: int = 0  # 0 for a speaker without noise
    law: str = "uniform"

    def context(self, image: jax.Array, keys: jax.Array) -> Context:
        """A context of images [N, ...] with noise by one key a row."""
        noise = {"noise": draw_noise(keys, self.width, self.law)} if self.width else {}
        return {"image": image} | noise
