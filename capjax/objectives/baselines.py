"""What values of drawn captions are held against: baselines, and those of another image."""

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


def of_the_next_image(
    values: jax.Array, words: jax.Array, samples: int, after: int | None = None
) -> jax.Array:
    """A control: captions valued by what those of the next image are worth, place by place.

    Args:
      values, words, samples, after: as of `baseline_of`. Where words of a part share a value, it is
        that of the other caption's part of the same number.
    Returns:
      float[N, T]; after its end a caption keeps its verdict; 0 after the own end.
    """
    real, steps = scored(words), words.shape[1]
    last = jnp.take_along_axis(values, real.sum(1, keepdims=True) - 1, 1)
    theirs = jnp.roll(jnp.where(real, values, last), samples, 0)
    if after is not None:
        ends = jnp.pad(words[:, :-1] == after, ((0, 0), (1, 0)))
        part = jnp.cumsum(ends, 1, dtype=jnp.int32)
        # The other caption's words before that part; all of them, where it has fewer parts.
        before = (jnp.roll(part, samples, 0)[:, None] < part[..., None]).sum(-1)
        theirs = jnp.take_along_axis(theirs, jnp.minimum(before, steps - 1), 1)
    return jnp.where(real, theirs, 0)
