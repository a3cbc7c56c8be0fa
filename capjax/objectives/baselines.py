"""What is subtracted from the values of drawn captions, so that their gradient has less noise."""

import jax
import jax.numpy as jnp
from jax import lax

from capjax.speaker import scored

BASELINES = ("none", "leave_one_out", "prefix")


def baseline_of(
    values: jax.Array, words: jax.Array, samples: int, kind: str, after: int | None = None
) -> jax.Array:
    """A baseline of BASELINES, which no word that it is subtracted for has changed.

    Args:
      values: float[N, T], of S captions of each of N / S images, as of `rollout_values`.
      words: int32[N, T], the captions.
      samples: S.
      kind: "none"; "leave_one_out", the mean value of an image's other captions; "prefix", the
        value of the caption before the word, and for first words the mean of the others' first.
      after: as in `rollout_values`: what ends the parts of a caption whose words have one value;
        "prefix" is then the value before the part. None where each word is a part.
    Returns:
      float[N, T]; after the end of no meaning.
    """
    if kind == "none":
        return jnp.zeros_like(values)

    def others(x: jax.Array) -> jax.Array:
        """The mean over an image's other captions: float[N] -> float[N, 1]."""
        grouped = x.reshape(-1, samples)
        return ((grouped.sum(1, keepdims=True) - grouped) / (samples - 1)).reshape(-1, 1)

    if kind == "leave_one_out":
        real = scored(words)
        mean = jnp.where(real, values, 0).sum(1) / real.sum(1).astype(jnp.float32)
        return jnp.broadcast_to(others(mean), values.shape)
    before = jnp.concatenate([others(values[:, 0]), values[:, :-1]], 1)
    if after is None:
        return before
    # All words of a part have what its first one has.
    begins = jnp.concatenate([jnp.ones_like(words[:, :1], bool), words[:, :-1] == after], 1)
    first = lax.cummax(jnp.where(begins, jnp.arange(words.shape[1])[None], 0), axis=1)
    return jnp.take_along_axis(before, first, 1)
