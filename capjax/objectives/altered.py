"""People's paragraphs with one sentence wrong or wanting: what an evaluator is to see through."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from capjax.speaker import END, SENTENCE, spoken


def swapped(paragraph: jax.Array, other: jax.Array, key: jax.Array) -> jax.Array:
    """A paragraph in which one of its sentences is one of another's, each as likely as any.

    Args:
      paragraph, other: int32[T]; `SENTENCE` stands between the sentences of a paragraph.
      key: one typed key.
    Returns:
      int32[T], cut where it is longer.
    """
    keys = jax.random.split(key)
    first, length = _one_sentence(paragraph, keys[0])
    others_first, others_length = _one_sentence(other, keys[1])
    place = jnp.arange(paragraph.shape[0])
    inside = (place >= first) & (place < first + others_length)
    after = place - others_length + length
    last = paragraph.shape[0] - 1
    mine = jnp.where(place < first, place, after)
    kept = jnp.where(mine > last, END, paragraph[jnp.minimum(mine, last)])
    theirs = other[jnp.clip(others_first + place - first, 0, last)]
    return jnp.where(inside, theirs, kept)


def left_out(paragraph: jax.Array, key: jax.Array) -> jax.Array:
    """A paragraph int32[T] without one of its sentences, each as likely as any, by one typed key;
    what is but one sentence becomes empty."""
    first, length = _one_sentence(paragraph, key)
    last = paragraph.shape[0] - 1
    # With the end before it, as it may be the last; the first one, with the end after it.
    first = jnp.maximum(first - 1, 0)
    place = jnp.arange(last + 1)
    mine = jnp.where(place < first, place, place + length + 1)
    return jnp.where(mine > last, END, paragraph[jnp.minimum(mine, last)])


class Altered(NamedTuple):
    """Shares of mismatched paragraphs that are to be the image's own, but for one sentence."""

    swapped: float = 0.0  # for which there is one of the other's
    left_out: float = 0.0  # which is not there; of a single sentence, the other's stays

    def of(self, paragraphs: jax.Array, others: jax.Array, keys: jax.Array) -> jax.Array:
        """`others` int32[N, T], those shares of them in expectation replaced by `paragraphs`
        int32[N, T] so altered, by typed keys [N].

        Raises ValueError where they are more than all.
        """
        if min(self) < 0 or sum(self) > 1:
            raise ValueError(
                f"swapped={self.swapped} and left_out={self.left_out} must be at least 0 and, as"
                " shares of the same captions, together at most 1"
            )

        def one(paragraph: jax.Array, other: jax.Array, key: jax.Array) -> jax.Array:
            which, how = jax.random.split(key)
            drawn = jax.random.uniform(which)
            several = (spoken(paragraph) & (paragraph == SENTENCE)).any()
            less = several & (drawn < self.swapped + self.left_out)
            kept = jnp.where(less, left_out(paragraph, how), other)
            return jnp.where(drawn < self.swapped, swapped(paragraph, other, how), kept)

        return jax.vmap(one)(paragraphs, others, keys)


def _one_sentence(paragraph: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(first word, number of words) of a sentence drawn out of a paragraph int32[T]."""
    words = spoken(paragraph)
    ends = words & (paragraph == SENTENCE)
    which = jax.random.randint(key, (), 0, ends.sum() + 1)
    mine = words & ~ends & (jnp.cumsum(ends) == which)
    # An empty sentence stands after the end before it.
    begin = jnp.where(which > 0, jnp.argmax(ends & (jnp.cumsum(ends) == which)) + 1, 0)
    return begin, mine.sum()
