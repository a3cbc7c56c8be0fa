"""Batches as a pure function of (seed, step): the only state of the data is the step."""

from collections.abc import Sequence
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from capjax.data.split import Split
from capjax.data.vocabulary import Vocabulary


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)


def rows_of(count: int, batch: int, seed: int, step: int) -> np.ndarray:
    """The rows of one batch: every row comes once an epoch, in an order of the epoch's own.

    What is left of an epoch after its last whole batch opens the next one's first batch.

    Args:
      count: rows in all.
      batch: rows of a batch.
    Returns:
      int32[batch].
    """
    places = np.arange(step * batch, (step + 1) * batch)
    epochs = places // count
    rows = np.empty(batch, np.int32)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        rows[here] = _order(count, seed, int(epoch))[places[here] % count]
    return rows


def caption_arrays(
    split: Split, images: np.ndarray, vocabulary: Vocabulary, max_len: int
) -> dict[str, jax.Array]:
    """A split on the device: `image` [M, ...] and, a row a caption, `caption` [S, T] and `of` [S].

    Args:
      images: [M, ...], features or pixels of the split's images.
    """
    texts: Sequence[str] = [text for texts in split.captions for text in texts]
    of = np.repeat(np.arange(len(split.ids)), [len(texts) for texts in split.captions])
    return {
        "image": jnp.asarray(images),
        "caption": jnp.asarray(vocabulary.encode_all(texts, max_len)),
        "of": jnp.asarray(of, jnp.int32),
    }


def gather(data: dict[str, jax.Array], rows: jax.Array) -> dict[str, jax.Array]:
    """The batch of some rows, gathered on the device: {"image" [B, ...], "caption" int32[B, T]}."""
    return {"image": data["image"][data["of"][rows]], "caption": data["caption"][rows]}
