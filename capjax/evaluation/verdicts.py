"""What does an evaluator say of captions as text? E-NGAN and E-GAN (Dai et al., 2017)."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from capjax.data.vocabulary import Vocabulary
from capjax.judging import Evaluator, read_all, score_all, score_read
from capjax.speaker import Params

BATCH = 400  # captions read, or images looked at, at once
TOGETHER = 16  # images that a batch of captions is scored with at once


class Judge(NamedTuple):
    """A trained evaluator with the words it knows: what any captioner's text can be judged by."""

    evaluator: Evaluator
    params: Params
    vocabulary: Vocabulary
    max_len: int = 20  # words it reads of a caption, as when it was trained
    images: np.ndarray | None = None  # [M, ...] as it takes them, where the speaker's are others
    picks: bool = False  # a listener: its scores rank images, and their logistic means nothing

    def read(self, texts: Sequence[str]) -> np.ndarray:
        """Texts as its captions: int32[N, T]."""
        return self.vocabulary.encode_all(texts, self.max_len)


def verdicts(
    evaluator: Evaluator,
    params: Params,
    vocabulary: Vocabulary,
    images: np.ndarray,
    captions: Sequence[Sequence[str]],
    max_len: int = 20,
    batch: int = BATCH,
    over: Callable[..., Iterable] = map,
) -> np.ndarray:
    """r(I, S) of each caption with its image, the mean of which is E (Dai et al., 2017, sec. 4).

    Args:
      vocabulary: the evaluator's own: captions come from anyone.
      images: [N, ...], as the evaluator takes them.
      captions: the texts of each of the N images, any number of them.
      max_len: words that are read of a caption.
      batch: about how many captions are read at once.
      over: what maps the work over batches: several processes share it by `parallel.shared_out`.
    Returns:
      float32[N, S] in (0, 1) on the host, S the most captions of an image; NaN where an image has
      fewer.
    Raises:
      ValueError: there are not as many lists of captions as images, or no caption at all.
    """
    if len(captions) != len(images):
        raise ValueError(f"{len(captions)} lists of captions do not fit {len(images)} images")
    most = max(map(len, captions), default=0)
    if not most:
        raise ValueError("there is no caption to judge")
    known = np.array([[s < len(texts) for s in range(most)] for texts in captions])
    ids = np.zeros((*known.shape, max_len), np.int32)
    ids[known] = vocabulary.encode_all([text for texts in captions for text in texts], max_len)
    size = min(max(1, batch // most), len(images))

    def one(first: int) -> np.ndarray:
        rows = _filled(first, size, len(images))
        return np.asarray(_verdicts(evaluator, params, images[rows], ids[rows]))

    found = np.concatenate(list(over(one, range(0, len(images), size))))[: len(images)]
    return np.where(known, found, np.float32(np.nan))


def evaluator_scores(
    evaluator: Evaluator,
    params: Params,
    images: np.ndarray,
    captions: np.ndarray,
    over: Callable[..., Iterable] = map,
) -> np.ndarray:
    """The evaluator's score of every caption with every image, before the logistic.

    Each image is looked at once and each caption read once.

    Args:
      images: [J, ...], as the evaluator takes them.
      captions: int32[Q, T], in the evaluator's own words.
      over: as of `verdicts`.
    Returns:
      float32[Q, J] on the host.
    """
    captions = np.asarray(captions, np.int32)
    some, each = min(BATCH, len(images)), min(BATCH, len(captions))

    def look(first: int) -> np.ndarray:
        return np.asarray(_look(evaluator, params, images[_filled(first, some, len(images))]))

    looks = list(over(look, range(0, len(images), some)))
    seen = jnp.asarray(np.concatenate(looks)[: len(images)])

    def one(first: int) -> np.ndarray:
        rows = _filled(first, each, len(captions))
        return np.asarray(_pairs(evaluator, params, seen, captions[rows]))

    return np.concatenate(list(over(one, range(0, len(captions), each))))[: len(captions)]


def _filled(first: int, size: int, count: int) -> np.ndarray:
    """Rows of a batch; the last one is filled up with its last row: one program serves all."""
    return np.minimum(np.arange(first, first + size), count - 1)


@partial(jax.jit, static_argnums=0)
def _look(evaluator: Evaluator, params: Params, images: Any) -> jax.Array:
    return evaluator.image(params, {"image": images})


@partial(jax.jit, static_argnums=0)
def _verdicts(evaluator: Evaluator, params: Params, images: Any, captions: Any) -> jax.Array:
    """r of captions int32[B, S, T] with their images [B, ...]: float32[B, S]."""
    rows, each, steps = captions.shape
    seen = jnp.repeat(evaluator.image(params, {"image": images}), each, 0)
    logits = score_read(evaluator, params, seen, captions.reshape(rows * each, steps))
    return jax.nn.sigmoid(logits).reshape(rows, each)


@partial(jax.jit, static_argnums=0)
def _pairs(evaluator: Evaluator, params: Params, seen: Any, captions: Any) -> jax.Array:
    """Scores of captions int32[B, T] with all images [J, D]: float32[B, J]."""
    carry = read_all(evaluator, params, captions)
    return score_all(evaluator, params, seen, carry, together=TOGETHER)
