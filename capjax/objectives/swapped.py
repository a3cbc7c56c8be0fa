"""People's paragraphs with one sentence of another image's: what an evaluator is to see through."""

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


def with_swapped(
    paragraphs: jax.Array, others: jax.Array, keys: jax.Array, share: float
) -> jax.Array:
    """`others` int32[N, T], a share of them in expectation replaced by `paragraphs` int32[N, T]
    with one sentence of theirs (`swapped`), by typed keys [N]."""

    def one(paragraph: jax.Array, other: jax.Array, key: jax.Array) -> jax.Array:
        which, how = jax.random.split(key)
        return jnp.where(jax.random.bernoulli(which, share), swapped(paragraph, other, how), other)

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
