"""The losses on one example; vmap them for a batch (`capjax.losses`)."""

import jax
import jax.numpy as jnp

from capjax.speaker import scored


def maximum_likelihood(log_probs: jax.Array, caption: jax.Array) -> jax.Array:
    """Negative log-likelihood of one caption: minus the sum of its words' log-probabilities.

    Args:
      log_probs: float[T] in nats, of each word and the end.
      caption: int32[T].
    Returns:
      float[] in nats, not divided by the length.
    """
    return -jnp.where(scored(caption), log_probs, 0).sum()
