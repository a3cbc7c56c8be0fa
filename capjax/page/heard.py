"""Who listens on the page? A judge of captions, asked about a few images at once."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from capjax.evaluation.verdicts import Judge, evaluator_scores
from capjax.page.pictures import Picture
from capjax.page.ready import DISTRACTORS, MOST_DRAWN


class Heard(NamedTuple):
    """An evaluator or a listener, and how it sees images."""

    who: str  # "the listener of RUN"
    judge: Judge
    encoder: str  # its name in recipes

    def sees(self, pictures: Sequence[Picture]) -> bool:
        """Whether it has seen all of these."""
        return all(self.encoder in picture.seen for picture in pictures)

    def scores(self, pictures: Sequence[Picture], texts: Sequence[str]) -> np.ndarray:
        """How well each caption fits each picture, before any logistic: float32[Q, J].

        Always as many images and captions are asked about, so that one program serves all.
        """
        images = np.stack([picture.seen[self.encoder] for picture in pictures])
        captions = self.judge.read(texts)
        counts = len(captions), len(images)
        images, captions = _filled(images, 1 + DISTRACTORS), _filled(captions, MOST_DRAWN)
        evaluator, params = self.judge.evaluator, self.judge.params
        found = evaluator_scores(evaluator, params, images, captions)
        return found[: counts[0], : counts[1]]

    def chooses(self, pictures: Sequence[Picture], text: str) -> np.ndarray:
        """How probable it holds each picture to be the one that is meant: float64[J] (`listen`)."""
        scores = self.scores(pictures, [text])[0].astype(np.float64)
        chances = np.exp(scores - scores.max())
        return chances / chances.sum()

    def mark(self, score: float) -> dict[str, float]:
        """A score as people read it: an evaluator's r; a listener's, which only ranks, as it is."""
        return {"score": score} if self.judge.picks else {"r": 1 / (1 + math.exp(-score))}


def _filled(rows: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), 0)])
