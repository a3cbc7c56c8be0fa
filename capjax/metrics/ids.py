"""Captions as ids for the measures, where every word has an id of its own."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from capjax.agreement import spec
from capjax.speaker import END

_FIRST = 2  # 0 is the end, and 1 a vocabulary's unknown word


def encode(
    captions: Sequence[Sequence[str]],
    words: Mapping[str, int] | None = None,
    max_len: int | None = None,
) -> tuple[np.ndarray, dict[str, int]]:
    """Encodes captions whose words are joined by spaces, exactly: two words never share an id.

    A word that `words` does not know gets the next free id, so that candidates are encoded with
    what the encoding of their references returned; an unknown word in common would count as a
    match.

    Args:
      captions: of each image a list of texts, split into words beforehand (`capjax.data.tokenize`).
      words: ids from 1 up, e.g. those of a vocabulary; it is not changed.
      max_len: the words that are kept of a caption; without it, all.
    Returns:
      (int32[M, R, T], the ids of all words), with R the most captions that an image has and T
      max_len, or one more than the longest caption has words. Words are followed by zeros; rows of
      -1 fill up images with fewer captions.
    Raises:
      ValueError: a text where a list of texts is asked for, something other than text, ids that
        are none or not each word's own, or max_len below 1.
    """
    if isinstance(captions, str):
        raise ValueError("captions must be a list of lists of texts, not one text")
    if words is not None and not isinstance(words, Mapping):
        raise ValueError(f"words is {spec(words)}; give {{word: id}}, as a vocabulary's ids")
    if max_len is not None and (not isinstance(max_len, int) or max_len < 1):
        raise ValueError(f"max_len={max_len!r} must be a whole number, at least 1")
    words = dict(words or {})
    _check_ids(words)
    free = max([_FIRST, *(i + 1 for i in words.values())])
    encoded = []
    for i, texts in enumerate(captions):
        if isinstance(texts, str):
            raise ValueError(f"the captions of image {i} must be a list of texts, not one text")
        rows = []
        for text in texts:
            if not isinstance(text, str):
                raise ValueError(f"image {i} has the caption {text!r}, which is not text")
            row = []
            for word in text.split():
                if word not in words:
                    words[word] = free
                    free += 1
                row.append(words[word])
            rows.append(row)
        encoded.append(rows)
    most = max([1, *map(len, encoded)])
    longest = max([0, *(len(row) for rows in encoded for row in rows)])
    length = longest + 1 if max_len is None else max_len
    ids = np.full((len(encoded), most, length), -1, np.int32)
    for i, rows in enumerate(encoded):
        ids[i, : len(rows)] = 0
        for r, row in enumerate(rows):
            ids[i, r, : len(row)] = row[:length]
    return ids, words


def without(captions: jax.Array, word: int) -> jax.Array:
    """Captions without a word, those after it moved up: to the official measures, which drop
    punctuation, the id that ends a sentence is none.

    Args:
      captions: int32[..., T].
      word: its id, above 0.
    Returns:
      int32[..., T], filled up with 0; with -1 where a caption was cut, and so has no end.
    """
    kept = captions != word
    steps = jnp.arange(captions.shape[-1])
    # The k-th kept word comes to place k: T comparisons a place, which is cheaper than a sort.
    place = jnp.where(kept, jnp.cumsum(kept, -1, dtype=jnp.int32) - 1, -1)
    there = place[..., None, :] == steps[:, None].reshape((1,) * (captions.ndim - 1) + (-1, 1))
    moved = jnp.where(there, captions[..., None, :], 0).sum(-1)
    cut = (captions != END).all(-1, keepdims=True)
    beyond = steps.reshape((1,) * (captions.ndim - 1) + (-1,)) >= kept.sum(-1, keepdims=True)
    return jnp.where(beyond, jnp.where(cut, -1, END), moved)


def _check_ids(words: Mapping[str, int]) -> None:
    """Raises ValueError unless each word has an id, and one of its own."""
    for word, i in words.items():
        if not isinstance(i, (int, np.integer)) or not (0 < i < 2**31 or (i == 0 and word == "")):
            raise ValueError(
                f"the word {word!r} has the id {i!r}; ids are whole numbers from 1 up, as 0 ends a"
                " caption and -1 stands for none"
            )
    if len(set(words.values())) < len(words):
        raise ValueError("two words have one id; give each its own")
