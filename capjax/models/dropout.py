"""Dropout by one key a row."""

import jax
import jax.numpy as jnp


def drop(keys: jax.Array, x: jax.Array, rate: float) -> jax.Array:
    """Dropout of float[N, D] by one key a row (Srivastava et al., 2014), 16 random bits a unit.

    The rate is rounded to a multiple of 2**-16, and what is kept is scaled by just that.
    """
    width = x.shape[-1]
    kept = max(1, round((1 - rate) * 65536))
    words = jax.vmap(lambda key: jax.random.bits(key, (-(-width // 2),), jnp.uint32))(keys)
    halves = jnp.concatenate([words & 65535, words >> 16], -1)[:, :width]
    return jnp.where(halves < kept, x * (65536 / kept), 0)
