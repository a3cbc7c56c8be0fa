"""Floating-point work of matrix products that the hot loops need: for real words, never padding."""

from typing import NamedTuple

import numpy as np

from capjax.compiled.lengths import LENGTHS, STEPS


class Networks(NamedTuple):
    """A speaker and an evaluator of one width."""

    dim: int
    image: int
    vocabulary: int

    @property
    def lstm(self) -> float:
        return 2 * (2 * self.dim) * (4 * self.dim)

    @property
    def project(self) -> float:
        return 2 * self.dim * self.vocabulary

    def words(self, words: float, rows: float) -> float:
        """Forward: so many words read and scored, so many images taken in."""
        return words * (self.lstm + self.project) + rows * (2 * self.image * self.dim + self.lstm)

    def speak(self, lengths: np.ndarray, rows: float) -> float:
        """Captions of some lengths drawn or chosen, their ends included."""
        return self.words(float(scored(lengths).sum()), rows)

    def train(self, captions: np.ndarray, rows: float) -> float:
        """Captions int32[N, T] learnt from."""
        return 3 * self.speak((captions > 0).sum(1), rows)

    def search(self, lengths: np.ndarray, width: int) -> float:
        """A beam's first step has one hypothesis an image."""
        words = (1 + width * (scored(lengths) - 1)).sum()
        return self.words(float(words), len(lengths))

    def rollouts(self, captions: np.ndarray, n: int) -> float:
        """n completions of each prefix, as many words as expected by COCO's odds."""
        fed, through = completions(captions)
        words, rows = float((captions > 0).sum()), len(captions)
        once = rows * (4 * self.image * self.dim + 2 * self.lstm)
        once += words * (3 * self.lstm + self.project)
        return once + n * (fed * (2 * self.lstm + self.project) + through * self.lstm)

    def gan(self, drawn: np.ndarray, images: int, n: int, evaluator_steps: int) -> float:
        """A G-GAN update that draws such captions, 1 or more an image."""
        lengths = (drawn > 0).sum(1)
        samples = len(drawn) // images
        mean = float(scored(lengths).sum()) / len(drawn)
        speak = self.words(images * mean, images)
        judge = 3 * (images * 2 * self.image * self.dim + 3 * images * mean * self.lstm)
        learn = self.words(samples * images * mean, samples * images)
        own = learn + self.rollouts(drawn, n) + 3 * learn  # drawn, valued, learnt from
        return evaluator_steps * (speak + judge) + own


def scored(lengths: np.ndarray) -> np.ndarray:
    """Words and ends of captions of some lengths."""
    return np.minimum(lengths + 1, STEPS)


def end_odds() -> np.ndarray:
    """The share of COCO's captions of t words or more that have t: float[T + 1]."""
    shares = np.array(LENGTHS) / sum(LENGTHS)
    return shares / np.maximum(shares[::-1].cumsum()[::-1], 1e-9)


def completions(captions: np.ndarray) -> tuple[float, float]:
    """Of a completion of each prefix of captions: words fed in, and how many are not over at once.

    Expected numbers, of all prefixes together.
    """
    odds = end_odds()
    fed = np.zeros(STEPS + 1)  # words that a completion feeds whose next word stands at t
    for t in reversed(range(STEPS - 1)):
        fed[t] = (1 - odds[t]) * (1 + fed[t + 1])
    lengths = (captions > 0).sum(1)
    next_word = [t for length in lengths for t in range(1, min(length, STEPS - 1) + 1)]
    return float(fed[next_word].sum()), float((1 - odds[next_word]).sum())
