"""Words that would say a trigram again, ruled out: paragraphs repeat themselves (Paulus, 2018)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from capjax.speaker import END, Carry


def block_trigrams(scores: jax.Array, said: jax.Array, t: jax.Array) -> jax.Array:
    """Scores of next words, -inf for those that would complete a trigram said already.

    The last two words of a caption are compared with all pairs before; what followed an equal pair
    may not follow again. A trigram is of three words of the caption, whatever their ids (an id that
    ends a sentence is a word, too); the end of the caption is none, and is never ruled out.

    Args:
      scores: float[N, V].
      said: int32[T, N], the words so far; those from t on have no meaning.
      t: int32[], how many words were said.
    Returns:
      float[N, V]. What is left is not made to sum to 1.
    """
    steps, n = said.shape
    if steps < 4:  # a trigram and its last word again
        return scores
    one, two = (lax.dynamic_index_in_dim(said, jnp.maximum(t - k, 0), 0) for k in (2, 1))
    third = jnp.arange(2, steps)[:, None]
    again = (said[:-2] == one) & (said[1:-1] == two) & (third < t) & (said[2:] != END)
    word = jnp.where(again, said[2:], scores.shape[-1])  # out of bounds, and dropped
    return scores.at[jnp.arange(n)[None], word].set(-jnp.inf, mode="drop")


class Said(NamedTuple):
    """What hypotheses have said. Leaves lead with N, W; before the first word with N."""

    words: jax.Array  # int32[N, W, T]; from the number on of no meaning
    number: jax.Array  # int32[N, W], how many; -1 before the start was fed in

    @classmethod
    def nothing(cls, n: int, max_len: int) -> "Said":
        return cls(jnp.full((n, max_len), END, jnp.int32), jnp.full(n, -1))

    def add(self, words: jax.Array) -> "Said":
        """After words int32[N, W], or the start, were fed in."""
        t = self.number[0, 0]
        added = lax.dynamic_update_index_in_dim(self.words, words, jnp.maximum(t, 0), 2)
        return Said(jnp.where(t >= 0, added, self.words), self.number + 1)

    def block(self, scores: jax.Array) -> jax.Array:
        """`block_trigrams` of scores of their next words: float[N, W, V]."""
        flat = scores.reshape(-1, scores.shape[-1])
        said = self.words.reshape(flat.shape[0], -1).T
        return block_trigrams(flat, said, self.number[0, 0]).reshape(scores.shape)


def blocking(extend: Callable, carry: Carry, n: int, max_len: int) -> tuple[Callable, Any]:
    """What extends hypotheses of a search, so that none says a trigram twice.

    Args:
      extend, carry, n: as in `beam.search`.
      max_len: T.
    Returns:
      (extend, carry) again.
    """

    def blocked(state: tuple[Carry, Said], words: jax.Array) -> tuple[Any, jax.Array]:
        carry, scores = extend(state[0], words)
        said = state[1].add(words)
        return (carry, said), said.block(scores)

    return blocked, (carry, Said.nothing(n, max_len))
