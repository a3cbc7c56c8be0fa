"""How well does a caption agree with the references of its image? CIDEr-D (Vedantam et al., 2015).

The same numbers as pycocoevalcap's `Cider`, a caption at a time, on the device.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from capjax.agreement import check_array
from capjax.metrics.matches import (
    ORDERS,
    check_ids,
    check_images,
    count,
    first_time,
    match_bits,
    ngram_matches,
    of_ids,
    present,
    tokens,
)
from capjax.metrics.ngrams import NgramTable, ngram_idf

SIGMA = 6.0  # words: the deviation of the length penalty


class PackedReferences(NamedTuple):
    """References weighed once, to score many candidates. All leaves lead with the image axis N."""

    tokens: jax.Array  # int32 [N, R, T]: the words, and the end if counted; -1 elsewhere
    present: jax.Array  # bool [N, R]: whether there is a reference
    norm: jax.Array  # float32 [N, R, 4]: of the tf-idf vectors of each order
    count_end: jax.Array  # bool [N]: whether the end counts as a word


@of_ids
@partial(jax.jit, static_argnames="count_end")
def pack_references(
    references: jax.Array, table: NgramTable, *, count_end: bool = False
) -> PackedReferences:
    """Weighs references once, for `cider_d` to hold many candidates against them.

    Args:
      references: int32[N, R, T]; rows that begin with -1 are no captions.
      table: the document frequencies, from `ngram_table`.
      count_end: whether the end counts as a word, in the references and in their candidates.
    Returns:
      PackedReferences of the N images.
    Raises:
      ValueError: references of another shape or type.
    """
    check_ids("references", references, "NRT")
    words = tokens(references, count_end)
    norm = weigh(words, table)[0]
    ends = jnp.full(references.shape[:1], count_end)
    return PackedReferences(words, present(references), norm, ends)


@of_ids
@partial(jax.jit, static_argnames="count_end")
def cider_d(
    candidates: jax.Array,
    references: jax.Array | PackedReferences,
    table: NgramTable,
    *,
    count_end: bool = False,
) -> jax.Array:
    """CIDEr-D of each candidate against the references of its image, as pycocoevalcap's `Cider`.

    Args:
      candidates: int32[N, T], or int32[N, C, T] with C captions of each image.
      references: int32[N, R, T2], where rows that begin with -1 are no captions; or packed.
      table: the document frequencies, from `ngram_table`.
      count_end: whether the end counts as a word, in candidates and references. Packed references
        know it already.
    Returns:
      float32[N] or [N, C], 0 to 10; NaN where there is no reference.
    Raises:
      ValueError: arrays of other shapes or types, or of different numbers of images; count_end
        with packed references.
    """
    check_array(candidates, "candidates")
    axes = "NCT" if candidates.ndim == 3 else "NT"
    if isinstance(references, PackedReferences):
        if count_end:
            raise ValueError("count_end is chosen in pack_references; leave it out here")
        packed = references
        check_images(candidates, packed.tokens, axes)
    else:
        check_images(candidates, references, axes)
        packed = pack_references(references, table, count_end=count_end)
    each = candidates if candidates.ndim == 3 else candidates[:, None]
    words = tokens(each, packed.count_end[:, None, None])
    alike = similarity(words, packed.tokens, packed.norm, table)
    real = packed.present[:, None]
    mean = jnp.where(real, alike, 0).sum(-1) / real.sum(-1, dtype=jnp.float32)
    return mean if candidates.ndim == 3 else mean[:, 0]


def similarity(
    ours: jax.Array, theirs: jax.Array, their_norm: jax.Array, table: NgramTable
) -> jax.Array:
    """CIDEr-D of each of C captions against each of R: [N, C, T], [N, R, T2] -> float32[N, C, R].

    Captions as `tokens` gives them; their_norm float32[N, R, 4] from `weigh`.
    """
    norm, frequency, weight = weigh(ours, table)
    lengths = [jnp.maximum((x >= 0).sum(-1) - 1, 0).astype(jnp.float32) for x in (ours, theirs)]
    delta = lengths[0][:, :, None] - lengths[1][:, None]
    bits = match_bits(ours[:, :, None], theirs[:, None])
    total = jnp.zeros(delta.shape)
    for n, matches in enumerate(ngram_matches(bits)):
        occurrences = count(matches)  # [N, C, R, T]
        clipped = jnp.minimum(occurrences, frequency[n][:, :, None]) * occurrences
        dot = (clipped.astype(jnp.float32) * weight[n][:, :, None]).sum(-1)
        norms = norm[:, :, None, n] * their_norm[:, None, :, n]
        total += jnp.where(norms > 0, dot / jnp.where(norms > 0, norms, 1), 0)
    return 10 / ORDERS * total * jnp.exp(-(delta**2) / (2 * SIGMA**2))


def weigh(
    words: jax.Array, table: NgramTable
) -> tuple[jax.Array, list[jax.Array], list[jax.Array]]:
    """The n-grams of captions int32[..., T] from `tokens`.

    -> (norms of the tf-idf vectors float32[..., 4], and for each order at the n-gram's last word,
    [..., T]: its frequency in the caption, and its idf squared where it comes for the first time).
    """
    norms, frequencies, weights = [], [], []
    own = match_bits(words, words)
    for matches, idf in zip(ngram_matches(own), ngram_idf(table, words), strict=True):
        frequency = count(matches)
        norms.append((frequency.astype(jnp.float32) * idf**2).sum(-1))
        frequencies.append(frequency)
        weights.append(jnp.where(first_time(matches), idf**2, 0))
    return jnp.sqrt(jnp.stack(norms, -1)), frequencies, weights
