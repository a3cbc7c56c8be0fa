"""Which images is each image to be told from? Its distractors, and whether a listener finds it."""

from collections.abc import Sequence
from functools import partial

import jax
import numpy as np

from capjax.data.neighbours import nearest
from capjax.data.tokens import tokenize
from capjax.judging import listen
from capjax.verdicts import Judge

AMONG = 20  # nearest images that hard distractors are chosen from
BATCH = 100


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
    found = np.empty(len(rows), bool)
    size = min(BATCH, len(rows))
    for first in range(0, len(rows), size):
        part = np.minimum(np.arange(first, first + size), len(rows) - 1)
        seen = np.asarray(images[every[part].ravel()])
        seen = seen.reshape(size, every.shape[1], *seen.shape[1:])
        log_p = np.asarray(picks(judge.params, {"image": seen}, captions[part]))
        right = log_p[:, 0] > log_p[:, 1:].max(1)
        found[first : first + size] = right[: len(rows) - first]
    return found
