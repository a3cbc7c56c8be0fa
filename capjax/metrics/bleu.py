"""How many n-grams of a caption do its references hold? BLEU-1..4 (Papineni et al., 2002).

The same numbers as pycocoevalcap's `Bleu`: counts are clipped by the references', the reference of
the closest length gives the brevity penalty, and two small constants stand in for zeros.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from capjax.agreement import check_array, spec
from capjax.metrics.matches import (
    ORDERS,
    check_images,
    count,
    first_time,
    match_bits,
    ngram_matches,
    of_ids,
    present,
    tokens,
)

_TINY, _SMALL = 1e-15, 1e-9  # added to the correct and to the guessed n-grams


class Statistics(NamedTuple):
    """What BLEU is a formula of. Counts add up to the statistics of a corpus."""

    correct: jax.Array  # int32 [..., 4]: n-grams that are in a reference, as often as there at most
    guessed: jax.Array  # int32 [..., 4]: n-grams
    length: jax.Array  # int32 [...]: words
    reference: jax.Array  # int32 [...]: words of the reference of the closest length
    known: jax.Array  # bool [...]: whether there is a reference


@of_ids
@jax.jit
def bleu(
    candidates: jax.Array, references: jax.Array, *, mask: jax.Array | None = None
) -> jax.Array:
    """BLEU-1..4 of each candidate, as pycocoevalcap's `Bleu` gives for each image.

    Args:
      candidates: int32[N, T].
      references: int32[N, R, T2]; rows that begin with -1 are no captions.
      mask: bool[N, R], False for references to leave out.
    Returns:
      float32[N, 4], 0 to 1; NaN where there is no reference.
    Raises:
      ValueError: arrays of other shapes or types, or of different numbers of images.
    """
    return score(_statistics(candidates, references, mask))


@of_ids
@jax.jit
def corpus_bleu(
    candidates: jax.Array, references: jax.Array, *, mask: jax.Array | None = None
) -> jax.Array:
    """BLEU-1..4 of all candidates together, as pycocoevalcap's `Bleu` gives in all.

    Args:
      candidates, references, mask: as of `bleu`.
    Returns:
      float32[4]; NaN where an image has no reference.
    Raises:
      ValueError: as `bleu`.
    """
    return score(total(_statistics(candidates, references, mask)))


def statistics(ours: jax.Array, theirs: jax.Array, allowed: jax.Array) -> Statistics:
    """Of each of C captions against those of R that it may be held against, [N, C] in all.

    ours, theirs: int32[N, C, T] and [N, R, T2] from `tokens`; allowed: bool[N, C, R].
    """
    lengths = [(x >= 0).sum(-1, dtype=jnp.int32) for x in (ours, theirs)]
    length = lengths[0]
    off = lengths[1][:, None] - length[:, :, None]
    far = 2 * jnp.abs(off) + (off > 0).astype(jnp.int32)  # the shorter of two as close
    far = jnp.where(allowed, far, np.iinfo(np.int32).max)
    closest = jnp.take_along_axis(lengths[1], jnp.argmin(far, -1), -1)
    correct: list[jax.Array] = []
    guessed: list[jax.Array] = []
    own = ngram_matches(match_bits(ours, ours))
    for mine, matches in zip(
        own, ngram_matches(match_bits(ours[:, :, None], theirs[:, None])), strict=True
    ):
        held = jnp.where(allowed[..., None], count(matches), 0).max(2)  # [N, C, T]
        clipped = jnp.where(first_time(mine), jnp.minimum(held, count(mine)), 0)
        correct.append(clipped.sum(-1, dtype=jnp.int32))
        guessed.append(jnp.maximum(length - len(guessed), 0))
    return Statistics(
        jnp.stack(correct, -1), jnp.stack(guessed, -1), length, closest, allowed.any(-1)
    )


def total(statistics: Statistics) -> Statistics:
    """The statistics of a corpus: of the captions along the first axis together."""

    def add(x: jax.Array) -> jax.Array:
        return x.sum(0, dtype=jnp.int32)

    one = statistics
    return Statistics(
        add(one.correct), add(one.guessed), add(one.length), add(one.reference), one.known.all(0)
    )


def score(statistics: Statistics) -> jax.Array:
    """BLEU-1..4 by pycocoevalcap's formula, in logarithms: float32[..., 4]."""

    def log(x: jax.Array, least: float) -> jax.Array:
        return jnp.log(jnp.where(x > 0, x.astype(jnp.float32), least))

    precision = log(statistics.correct, _TINY) - log(statistics.guessed, _SMALL)
    orders = np.arange(1, ORDERS + 1, dtype=np.float32)
    mean = jnp.cumsum(precision, -1) / orders.reshape((1,) * (precision.ndim - 1) + (ORDERS,))
    length, reference = (x.astype(jnp.float32) for x in (statistics.length, statistics.reference))
    # A caption without words is infinitely too short.
    brevity = jnp.where(length > 0, 1 - reference / jnp.maximum(length, 1), -jnp.inf)
    bleus = jnp.exp(mean + jnp.minimum(brevity, 0)[..., None])
    return jnp.where(statistics.known[..., None], bleus, jnp.nan)


def _statistics(candidates: jax.Array, references: jax.Array, mask: jax.Array | None) -> Statistics:
    check_images(candidates, references)
    if mask is not None:
        check_array(mask, "mask")
        if mask.shape != references.shape[:2] or mask.dtype != bool:
            raise ValueError(
                f"mask {spec(mask)} and references {spec(references)} do not agree; give bool[N, R]"
            )
    allowed = present(references) if mask is None else present(references) & mask
    ours, theirs = tokens(candidates), tokens(references)
    each = statistics(ours[:, None], theirs, allowed[:, None])
    return Statistics(*(x[:, 0] for x in each))
