"""Does a paragraph say the same thing twice? Within it all, and from sentence to sentence."""

from functools import partial
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from capjax.metrics.bleu import score, statistics
from capjax.metrics.diversity import by_image, kernel_of, self_cider, share
from capjax.metrics.ids import without
from capjax.metrics.matches import (
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


@of_ids
@partial(jax.jit, static_argnames="sentence")
def repeated_trigrams(captions: jax.Array, *, sentence: int | None = None) -> jax.Array:
    """The share of a caption's trigrams that came before in it; of paragraphs, how repetitive.

    Args:
      captions: int32[N, T].
      sentence: an id that ends sentences and is no word, so that trigrams run on from one sentence
        into the next, as they do where words come from a text without its full stops; None: every
        id is a word.
    Returns:
      float32[N], 0 to 1; 0 for a caption of less than three words.
    Raises:
      ValueError: captions of another shape or type.
    """
    check_ids("captions", captions, "NT")
    words = tokens(captions if sentence is None else without(captions, sentence))
    (trigrams,) = islice(ngram_matches(match_bits(words, words)), 2, 3)
    there = (count(trigrams) > 0).sum(-1, dtype=jnp.int32)
    return share(there - first_time(trigrams).sum(-1, dtype=jnp.int32), there)


def between_sentences(sentences: jax.Array, table: NgramTable) -> dict[str, Any]:
    """How alike the sentences of a paragraph are: `diversity`'s measures, sentences for captions.

    - `mbleu4`: mean BLEU-4 of each sentence against the others; lower is more diverse.
    - `self_cider`: Self-CIDEr among them, from 0 for equal sentences to 1.

    Args:
      sentences: int32[N, S, T], the sentences of N paragraphs; rows that begin with -1 fill up
        paragraphs of fewer (`encode`).
      table: document frequencies of a fixed corpus, from `ngram_table`.
    Returns:
      {name: float[N]}; NaN for a paragraph of less than two sentences. Singular values as in
      `diversity`.
    Raises:
      ValueError: sentences of another shape or type, or none.
    """
    check_ids("sentences", sentences, "NST")
    check_width("sentences", sentences)
    each = _between(sentences, table)
    if not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves((sentences, table))):
        each = jax.tree.map(np.asarray, each)
    number = each["number"]
    alike = self_cider(each["kernel"], number)
    several = number > 1
    xp: Any = np if isinstance(number, np.ndarray) else jnp
    return {"mbleu4": each["mbleu4"], "self_cider": xp.where(several, alike, np.nan)}


@jax.jit
def _between(sentences: jax.Array, table: NgramTable) -> dict[str, jax.Array]:
    """All but the singular values, and how many sentences there are."""

    def measured(some: jax.Array) -> dict[str, jax.Array]:
        words, real = tokens(some), present(some)
        size = some.shape[1]
        others = ~jnp.eye(size, dtype=bool)[None] & real[:, None]  # [N, S, S]
        bleus = score(statistics(words, words, others))[..., -1]
        number = real.sum(1, dtype=jnp.int32)
        total = jnp.where(real & (number > 1)[:, None], bleus, 0).sum(1)
        return {
            "mbleu4": jnp.where(number > 1, total / number.astype(jnp.float32), jnp.nan),
            "kernel": kernel_of(words, table),
            "number": number,
        }

    return by_image(measured, sentences)
