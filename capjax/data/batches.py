"""Batches as a pure function of (seed, step): the only state of the data is the step."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

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


def _captions_of(of: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The first of the captions of each image, and the row after their last: int[2, *images].

    Looked up for these images alone, and in the type of `of`, which would be copied else: a step
    must not take longer the more images there are. In ascending order lookups are near one another.
    """
    wanted, place = np.unique(images, return_inverse=True)
    found = np.searchsorted(of, np.stack([wanted, wanted + 1]).astype(of.dtype))
    return found[:, place.reshape(images.shape)]


def rows_by_image(of: np.ndarray, batch: int, each: int, seed: int, step: int) -> np.ndarray:
    """The rows of one batch of images, each with some of its captions; every image once an epoch.

    Args:
      of: int[S], the image of each caption, ascending.
      batch: images of a batch.
      each: captions drawn of an image: all different where it has as many, else all, some twice.
    Returns:
      int32[batch, each].
    """
    images = rows_of(int(of[-1]) + 1, batch, seed, step)
    rng = np.random.default_rng((seed, 1, step))
    rows = np.empty((batch, each), np.int32)
    for row, first, after in zip(rows, *_captions_of(of, images), strict=True):
        row[:] = np.resize(rng.permutation(np.arange(first, after)), each)
    return rows


def caption_arrays(split: Split, vocabulary: Vocabulary, max_len: int) -> dict[str, jax.Array]:
    """A split's captions on the device, a row each: `caption` int32[S, T], of image `of` int32[S].

    Where the dataset has classes, `concept` int32[M] is that of each image. Beside them may stand
    `image` [M, ...], all the split's images; or, where these are read from the disk, `taken`: those
    of one batch, by the names of `images_of`.
    """
    texts: Sequence[str] = [text for texts in split.captions for text in texts]
    of = np.repeat(np.arange(len(split.ids)), [len(texts) for texts in split.captions])
    arrays = {
        "caption": jnp.asarray(vocabulary.encode_all(texts, max_len)),
        "of": jnp.asarray(of, jnp.int32),
    }
    if split.concepts is not None:
        arrays["concept"] = jnp.asarray(split.concepts, jnp.int32)
    return arrays


def rows_with_others(
    of: np.ndarray,
    batch: int,
    units: int,
    seed: int,
    step: int,
    others: int = 1,
    near: np.ndarray | None = None,
) -> np.ndarray:
    """The rows of one batch of captions, each beside captions of other images.

    Args:
      of: int[S], the image of each caption, ascending; two images at least.
      batch, units: there are batch * units captions, every caption once an epoch.
      others: K, drawn with replacement.
      near: int[M, P], the images that an image's others are drawn from (`nearest`); None: all.
    Returns:
      int32[batch, units, 1 + K]: a caption, and K of images that are not its own, each of those it
      may be of as likely as any.
    """
    rows = rows_of(len(of), batch * units, seed, step)
    images = of[-1] + 1
    rng = np.random.default_rng((seed, 2, step))
    size = rows.size, others
    if near is None:
        other = (of[rows][:, None] + rng.integers(1, images, size)) % images
    else:
        other = near[of[rows][:, None], rng.integers(0, near.shape[1], size)]
    first, after = _captions_of(of, other)
    pick = first + rng.integers(0, after - first)
    both = np.concatenate([rows[:, None], pick], 1)
    return both.astype(np.int32).reshape(batch, units, 1 + others)


def rows_beside_images(
    of: np.ndarray,
    batch: int,
    seed: int,
    step: int,
    *,
    among: np.ndarray | None = None,
    near: np.ndarray | None = None,
    distractors: int = 0,
) -> np.ndarray:
    """The rows of one batch of images, each with one of its captions and with images like it.

    Args:
      of: int[S], the image of each caption, ascending.
      batch: images of a batch; each comes once an epoch.
      among: int[A], the images that there are; None: all.
      near: int[A, P], what their distractors are drawn from, as places in `among`.
      distractors: K, how many of an image, drawn with replacement.
    Returns:
      int32[batch, 1 + K]: a caption's row, then images.
    """
    among = np.arange(of[-1] + 1) if among is None else among
    places = rows_of(len(among), batch, seed, step)
    images = among[places]
    rng = np.random.default_rng((seed, 3, step))
    first, after = _captions_of(of, images)
    rows = [first + rng.integers(0, after - first)]
    if distractors:
        assert near is not None
        pick = rng.integers(0, near.shape[1], (batch, distractors))
        rows.extend(among[near[places[:, None], pick]].T)
    return np.stack(rows, 1).astype(np.int32)


def images_of(kind: str, of: Any, rows: Any) -> dict[str, Any]:
    """Which images a batch of rows needs, by name; on the host or on the device.

    Args:
      kind: what the rows are. "captions": int32[B], or int32[B, K] with K captions of one image
        each; "others", "units": of `rows_with_others`, with or without its axis of units;
        "beside": of `rows_beside_images`.
      of: int[S], the image of each caption.
    """
    if kind == "captions":
        return {"image": of[rows if rows.ndim == 1 else rows[:, 0]]}
    images = {"image": of[rows[..., 0]]}
    if kind == "beside" and rows.shape[1] > 1:
        images["distractors"] = rows[:, 1:]
    return images


def gather(kind: str, data: dict[str, Any], rows: jax.Array) -> dict[str, jax.Array]:
    """The batch of some rows, gathered on the device.

    Args:
      kind, rows: as of `images_of`.
      data: of `caption_arrays`, with images.
    Returns:
      {"image" [B, ...], "caption" int32[B, T]}; of captions [B, K, T] where rows are [B, K], and
      "concept" int32[B] where images have classes; of others also "mismatched" int32[B, K, T]; of
      units all [B, U, ...] and "mismatched" int32[B, U, T]; of beside also "distractors"
      [B, K, ...] where there are any.
    """
    images = data.get("taken")
    if images is None:
        wanted = images_of(kind, data["of"], rows)
        images = {name: data["image"][index] for name, index in wanted.items()}
    words = data["caption"]
    if kind == "captions":
        concept = {}
        if "concept" in data:
            concept["concept"] = data["concept"][data["of"][rows if rows.ndim == 1 else rows[:, 0]]]
        return {**images, **concept, "caption": words[rows]}
    batch = {**images, "caption": words[rows[..., 0]]}
    if kind == "others":
        batch["mismatched"] = words[rows[:, 1:]]
    if kind == "units":
        batch["mismatched"] = words[rows[..., 1]]
    return batch
