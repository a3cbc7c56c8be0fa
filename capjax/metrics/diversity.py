"""How different are the captions of one image from one another, and all captions together?"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from capjax.metrics.bleu import Statistics, score, statistics, total
from capjax.metrics.cider import similarity, weigh
from capjax.metrics.matches import (
    NOTHING,
    ORDERS,
    check_ids,
    check_width,
    count,
    first_time,
    match_bits,
    ngram_matches,
    of_ids,
    present,
    tokens,
)
from capjax.metrics.ngrams import NgramTable

# Pairs of captions compared at once: what is held of them then fits in a processor's cache.
PAIRS = 4096


def diversity(captions: jax.Array, table: NgramTable) -> dict[str, Any]:
    """Measures how S captions of each of N images differ, and how all of them do together.

    Per image, float[N]:

    - `div1`, `div2`: distinct words, or pairs of words in a row, over the number of words (Div-n as
      Luo's tools count it); `div1_ngram`, `div2_ngram`: over the number of n-grams. 0 without any.
    - `mbleu1_sent` .. `mbleu4_sent`: mean sentence BLEU of each caption against the S - 1 others;
      lower is more diverse. NaN for S = 1.
    - `self_cider`: of Wang & Chan (2019) by their code's recipe: singular values l of the CIDEr-D
      kernel, whose upper triangle is mirrored, r = sqrt(l_1) / sum sqrt(l), -log_S r: from 0 for
      equal captions to 1. 0 for S = 1 and where no caption holds a word.
    - `lsa`: the same of the singular values of the words' counts in each caption, without roots.
    - `unique`: distinct captions / S.
    - `effective`: how many equally frequent captions would be as varied: exp of the entropy.

    In all, under `total`: the means of these over images, and

    - `mbleu1_corpus` .. `mbleu4_corpus`: corpus BLEU of the s-th captions of all images against
      their others, mean over s.
    - `vocabulary`, `distinct_captions`: distinct words and captions, both over all N x S.

    The singular values are computed in float64 on the host; under jit or vmap in float32 on the
    device, where self_cider and lsa are less exact (see tests/metrics/test_diversity.py).

    Args:
      captions: int32[N, S, T]. Every row is a caption; one of -1 is taken as one without words.
      table: document frequencies of a fixed corpus, from `ngram_table`.
    Returns:
      {name: float[N], ..., "total": {name: float}}.
    Raises:
      ValueError: captions of another shape or type, or none.
    """
    check_ids("captions", captions, "NST")
    check_width("captions", captions)
    if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves((captions, table))):
        each, corpus = _measured(captions, table)
        xp: Any = jnp
    else:
        each, corpus = jax.tree.map(np.asarray, _jitted(captions, table))
        xp = np
    kernel, shared = each.pop("kernel"), each.pop("shared")
    each["self_cider"] = self_cider(kernel, captions.shape[1])
    # The counts of words in captions are A, and A' A is how many words each two share: the squares.
    shared = shared.astype(xp.float64 if xp is np else xp.float32)
    each["lsa"] = _spread(xp, xp.sqrt(_values(xp, shared, shared.dtype)), captions.shape[1])
    means = {name: x.mean() for name, x in each.items()}
    if xp is np:
        return {**each, "total": {k: x.item() for k, x in (means | corpus).items()}}
    return {**each, "total": means | corpus}


@of_ids
@jax.jit
def self_cider_kernel(captions: jax.Array, table: NgramTable) -> jax.Array:
    """CIDEr-D of each caption of an image (row) against each (column), which is not symmetric.

    Args:
      captions: int32[N, S, T].
      table: document frequencies, from `ngram_table`.
    Returns:
      float32[N, S, S], 0 to 10.
    Raises:
      ValueError: captions of another shape or type.
    """
    check_ids("captions", captions, "NST")
    return by_image(lambda some: kernel_of(tokens(some), table), captions)


@of_ids
@jax.jit
def consensus(captions: jax.Array, table: NgramTable) -> jax.Array:
    """The caption of each image with the highest mean CIDEr-D to its others (minimum Bayes risk).

    Args:
      captions: int32[N, S, T].
      table: document frequencies, from `ngram_table`.
    Returns:
      int32[N], from 0 to S - 1; the first of equals.
    Raises:
      ValueError: captions of another shape or type.
    """
    kernel = self_cider_kernel(captions, table)
    others = ~jnp.eye(kernel.shape[1], dtype=bool)[None]
    return jnp.argmax(jnp.where(others, kernel, 0).sum(-1), -1).astype(jnp.int32)


@of_ids
@jax.jit
def novel(captions: jax.Array, known: jax.Array) -> jax.Array:
    """Whether captions are not among the known ones, e.g. those trained on; exact, by sorting.

    Args:
      captions, known: int32[N, T] and int32[M, T2]; rows that begin with -1 are no captions.
    Returns:
      bool[N]; False where there is no caption.
    Raises:
      ValueError: arrays of other shapes or types.
    """
    check_ids("captions", captions, "NT")
    check_ids("known", known, "MT")
    length = max(captions.shape[1], known.shape[1])
    parts = []
    for x in (known, captions):
        real = present(x)[:, None].astype(jnp.int32)  # tells no caption from no words
        padding = ((0, 0), (0, length - x.shape[1]))
        words = jnp.pad(tokens(x), padding, constant_values=NOTHING)
        parts.append(jnp.concatenate([real, words], 1))
    rows = jnp.concatenate(parts)
    place = jnp.arange(len(rows), dtype=jnp.int32) - len(known)  # negative: known
    starts, place = _sorted_runs(rows, place)
    # The sort is by place in the end, so a run of equal rows that holds a known one begins with it.
    begin = lax.cummax(jnp.where(starts, jnp.arange(len(rows)), 0))
    fresh = place[begin] >= 0
    spoken = jnp.where(place < 0, len(captions), place)  # the known ones are dropped
    new = jnp.zeros(len(captions), bool).at[spoken].set(fresh, mode="drop")
    return new & present(captions)


def kernel_of(words: jax.Array, table: NgramTable) -> jax.Array:
    """CIDEr-D of each of S captions against each, int32[N, S, T] from `tokens` -> [N, S, S]."""
    return similarity(words, words, weigh(words, table)[0], table)


def self_cider(kernel: Any, size: Any) -> Any:
    """Self-CIDEr of kernels [N, S, S], of which the first captions are `size`, an int or int[N].

    On the host in float64; of what is traced in float32.
    """
    xp: Any = np if isinstance(kernel, np.ndarray) else jnp
    upper = xp.triu(kernel.astype(xp.float64 if xp is np else xp.float32))
    mirrored = upper + xp.triu(upper, 1).swapaxes(-1, -2)
    return _spread(xp, xp.sqrt(_values(xp, mirrored, np.float32)), size)


def _measured(captions: jax.Array, table: NgramTable) -> tuple[dict, dict]:
    """All but the singular values: (of each image, in all)."""
    each, parts = by_image(partial(_image, table=table), captions)
    words = tokens(captions).reshape(-1, captions.shape[-1])
    corpus = {
        "vocabulary": _distinct(words.reshape(-1, 1), (words >= 0).reshape(-1)),
        "distinct_captions": _distinct(words, jnp.ones(len(words), bool)),
    }
    bleus = score(total(parts)).mean(0)
    return each, corpus | {f"mbleu{n + 1}_corpus": bleus[n] for n in range(ORDERS)}


_jitted = jax.jit(_measured)


def _image(captions: jax.Array, table: NgramTable) -> tuple[dict[str, jax.Array], Statistics]:
    """What `_measured` gives for each image, and the statistics of BLEU [N, S]."""
    samples = captions.shape[1]
    words = tokens(captions)
    others = jnp.broadcast_to(~jnp.eye(samples, dtype=bool), (len(captions), samples, samples))
    parts = statistics(words, words, others)
    bleus = score(parts).mean(1)
    each = {f"mbleu{n + 1}_sent": bleus[:, n] for n in range(ORDERS)}

    pairs = match_bits(words[:, :, None], words[:, None])  # [N, S, S, T]
    own = ngram_matches(match_bits(words, words))
    earlier = jnp.tril(jnp.ones((samples, samples), bool), -1)[None, :, :, None]
    number = (words >= 0).sum((1, 2), dtype=jnp.int32)
    for n, mine, matches in zip((1, 2), own, ngram_matches(pairs), strict=False):
        before = (earlier & (count(matches) > 0)).any(2)
        distinct = (first_time(mine) & ~before).sum((1, 2), dtype=jnp.int32)
        each[f"div{n}"] = share(distinct, number)
        each[f"div{n}_ngram"] = share(distinct, (count(mine) > 0).sum((1, 2), dtype=jnp.int32))

    equal = (words[:, :, None] == words[:, None]).all(-1)  # [N, S, S]
    each["unique"] = (~(equal & earlier[..., 0]).any(2)).mean(1, dtype=jnp.float32)
    frequency = equal.mean(2, dtype=jnp.float32)
    each["effective"] = jnp.exp(-jnp.log(frequency).mean(1))
    each["kernel"] = kernel_of(words, table)
    each["shared"] = count(pairs).sum(-1, dtype=jnp.int32)
    return each, parts


def by_image(compute: Any, captions: jax.Array) -> Any:
    """Applies compute to captions [N, S, T], a block of images at a time."""
    block = max(1, PAIRS // captions.shape[1] ** 2)
    if len(captions) <= block:
        return compute(captions)
    one = lambda x: jax.tree.map(lambda y: y[0], compute(x[None]))  # noqa: E731
    return lax.map(one, captions, batch_size=block)


def share(part: jax.Array, whole: jax.Array) -> jax.Array:
    """part / whole of counts, 0 of nothing: float32."""
    return part.astype(jnp.float32) / jnp.maximum(whole, 1).astype(jnp.float32)


def _values(xp: Any, matrix: Any, precision: Any) -> Any:
    """Singular values of symmetric [N, S, S], those that are rounding taken as 0: [N, S]."""
    values = xp.abs(xp.linalg.eigvalsh(matrix))
    least = values.shape[-1] * float(np.finfo(precision).eps) * values.max(-1, keepdims=True)
    return xp.where(values > least, values, 0)


def _spread(xp: Any, values: Any, size: Any) -> Any:
    """-log_S of the largest of S values' share of their sum, [N, S] -> [N]: 0 one, 1 all alike.

    size: S, or int[N] where fewer than the values are; the others are 0.
    """
    whole = values.sum(-1)
    largest = xp.where(whole > 0, values.max(-1) / xp.where(whole > 0, whole, 1), 1)
    return xp.maximum(-xp.log(largest), 0) / xp.log(xp.maximum(size, 2)).astype(values.dtype)


def _distinct(rows: jax.Array, counted: jax.Array) -> jax.Array:
    """How many distinct rows of int32[K, T] there are, of those marked: int32 []."""
    rows = jnp.where(counted[:, None], rows, NOTHING - 1)
    starts, kept = _sorted_runs(rows, counted.astype(jnp.int32))
    return (starts & (kept > 0)).sum(dtype=jnp.int32)


def _sorted_runs(rows: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sorts rows int32[K, T], equal ones by `last` int32[K].

    -> (bool[K], where a row differs from the one before; `last` in that order).
    """
    columns = [rows[:, t] for t in range(rows.shape[1])]
    *ordered, last = lax.sort([*columns, last], num_keys=len(columns) + 1)
    differs = [x[1:] != x[:-1] for x in ordered]
    starts = jnp.stack(differs).any(0)
    return jnp.concatenate([jnp.ones(1, bool), starts]), last
