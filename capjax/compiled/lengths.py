"""Captions as long as people's: drawn, and the odds that one of so many words ends."""

import numpy as np

VOCABULARY, STEPS = 9487, 20
# Words of the captions of COCO's val2014, cut at 20 (202,654 captions; mean 10.5).
LENGTHS = [0, 0, 0, 0, 0, 0, 0, 81, 1650, 2188, 2151, 1536, 980, 571, 327, 185, 110, 70, 42, 30, 79]


def captions_like_coco(
    rng: np.random.Generator, count: int, vocabulary: int = VOCABULARY
) -> np.ndarray:
    """Captions of COCO's lengths, words drawn by Zipf's law: int32[count, STEPS]."""
    shares = np.array(LENGTHS) / sum(LENGTHS)
    lengths = rng.choice(len(LENGTHS), count, p=shares)
    weights = 1 / np.arange(1, vocabulary - 1)
    words = rng.choice(np.arange(2, vocabulary), (count, STEPS), p=weights / weights.sum())
    return np.where(np.arange(STEPS) < lengths[:, None], words, 0).astype(np.int32)


def end_logits(vocabulary: int = VOCABULARY) -> np.ndarray:
    """The odds that a caption of so many words ends there, as a logit beside the other words' mass.

    float[STEPS + 1], where the other words' logits are about 0.
    """
    shares = np.array(LENGTHS) / sum(LENGTHS)
    odds = shares / np.maximum(shares[::-1].cumsum()[::-1], 1e-9)
    odds = np.clip(odds, 1e-6, 1 - 1e-6)
    return np.log(odds) - np.log1p(-odds) + np.log(vocabulary)
