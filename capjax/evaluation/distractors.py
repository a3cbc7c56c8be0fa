"""Which images is each image to be told from? Its distractors, and whether a listener finds it."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from capjax.data.contents import digest
from capjax.data.features import Encoder
from capjax.data.image_ids import plain
from capjax.data.neighbours import nearest
from capjax.data.prepare import resized
from capjax.data.scenes import draw
from capjax.data.split import Split
from capjax.data.tokens import tokenize
from capjax.errors import InputError
from capjax.evaluation.verdicts import Judge
from capjax.judging import listen
from capjax.parallel import shared_out

AMONG = 20  # nearest images that hard distractors are chosen from
BATCH = 100


class Distractors(NamedTuple):
    """What each of N images is to be told from."""

    kind: str  # "nearest", "hard" or "twins"
    rows: np.ndarray  # int[N, M], of the images; of twins, of the images and then all their twins
    pool: np.ndarray | None = None  # [P, ...], what rows are of; None for the images themselves


def twins(split: Split, number: int) -> Distractors:
    """The first few images that a generated image has of its own, unlike it in one attribute.

    Raises InputError where a dataset's images have none, or fewer.
    """
    has = min((len(about["distractors"]) for about in split.truth or ()), default=0)
    if not 1 <= number <= has:
        raise InputError(
            f"--distractors={number} --twins: an image of this split has {has} near twins; those of"
            " the val and test splits of scenes have four each"
        )
    count = len(split.ids)
    return Distractors("twins", count + np.arange(count * number).reshape(count, number))


def with_twins(split: Split, number: int, images: np.ndarray, encoder: Encoder) -> np.ndarray:
    """Images of a split and then the twins of each, which are drawn here, as an encoder has them.

    Args:
      images: [N, ...], of the split.
    Returns:
      [N (1 + number), ...], what the rows of `twins` are of.
    """
    drawn = [draw(other) for about in split.truth or () for other in about["distractors"][:number]]
    found = [
        np.asarray(encoder.apply(_sized(drawn[first : first + BATCH], encoder.size)))
        for first in range(0, len(drawn), BATCH)
    ]
    return np.concatenate([np.asarray(images), *found]).astype(images.dtype)


def shown(split: Split, distractors: Distractors, image: int, place: int) -> tuple[str, np.ndarray]:
    """The name and the picture of one of an image's distractors: uint8 [H, W, 3]."""
    if distractors.kind != "twins":
        row = int(distractors.rows[image, place])
        return split.ids[row], split.image(row)
    assert split.truth is not None
    return f"twin {1 + place}", draw(split.truth[image]["distractors"][place])


def _sized(drawn: Sequence[np.ndarray], size: int) -> np.ndarray:
    return np.stack([resized(picture, size) for picture in drawn])


def easy(images: np.ndarray, count: int) -> np.ndarray:
    """The images nearest to each in feature space: int32[N, count]."""
    return nearest(images, count)


def hard(images: np.ndarray, captions: Sequence[str], count: int) -> np.ndarray:
    """Of the nearest images those that a captioner says most the same of: int32[N, count].

    Vedantam et al. (2017, sec. 5.2), with the share of different words that two captions have in
    common (Jaccard); of equally alike ones the nearer.

    Args:
      captions: what it says of each image, spoken without distractors.
    """
    near = nearest(images, min(max(AMONG, count), len(images) - 1))
    words = [frozenset(tokenize(text)) for text in captions]
    found = np.empty((len(near), count), np.int32)
    for i, row in enumerate(near):
        common = [len(words[i] & words[j]) / max(1, len(words[i] | words[j])) for j in row]
        found[i] = row[np.argsort(-np.array(common), kind="stable")[:count]]
    return found


def digest_of(split: Split, distractors: Distractors) -> str:
    """The digest of what each image is told from, and of the caption by which people tell it."""
    count, names = len(split.ids), plain(split.ids)
    rows = [
        (
            *(i, split.captions[n][0]),
            *sorted(names[j] if j < count else "a twin" for j in row),
        )
        for n, (i, row) in enumerate(zip(names, distractors.rows, strict=True))
    ]
    return digest(sorted(rows))


def picked(judge: Judge, images: np.ndarray, rows: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """Whether a listener picks each image by its caption out of it and its distractors: bool[N].

    Args:
      images: as the listener takes them.
      rows: int[N, M], the distractors of each image.
      texts: a caption of each.
    """
    captions = judge.read(texts)
    picks = jax.jit(partial(listen, judge.evaluator))
    every = np.concatenate([np.arange(len(rows))[:, None], rows], 1)
    size = min(BATCH, len(rows))

    def one(first: int) -> np.ndarray:
        part = np.minimum(np.arange(first, first + size), len(rows) - 1)
        seen = np.asarray(images[every[part].ravel()])
        seen = seen.reshape(size, every.shape[1], *seen.shape[1:])
        log_p = np.asarray(picks(judge.params, {"image": seen}, captions[part]))
        return log_p[:, 0] > log_p[:, 1:].max(1)

    return np.concatenate(list(shared_out(one, range(0, len(rows), size))))[: len(rows)]
