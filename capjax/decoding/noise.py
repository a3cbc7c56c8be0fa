"""The noise that a generator speaks from."""

import jax
import jax.numpy as jnp

LAWS = ("uniform", "normal", "zero")


def draw_noise(keys: jax.Array, width: int, law: str = "uniform") -> jax.Array:
    """Noise z by one key a row: uniform(-1, 1) as in G-GAN's code, standard normal, or zero.

    typed keys [N] -> float32[N, width]. Raises ValueError for another law.
    """
    if law == "zero":
        return jnp.zeros((keys.shape[0], width))
    if law == "normal":
        return jax.vmap(lambda key: jax.random.normal(key, (width,)))(keys)
    if law == "uniform":
        return jax.vmap(lambda key: jax.random.uniform(key, (width,), minval=-1, maxval=1))(keys)
    raise ValueError(f"noise {law!r} is not one of {', '.join(LAWS)}")
