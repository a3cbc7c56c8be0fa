"""All captions of a vocabulary so small that there is no need to draw any."""

import itertools

import numpy as np


def every_caption(vocabulary: int, length: int) -> np.ndarray:
    """All captions of at most so many words, each once, 0s after its end: int32[C, length]."""
    every = itertools.product(range(vocabulary), repeat=length)
    ends = [(words, (*words, 0).index(0)) for words in every]
    return np.array([words for words, end in ends if not any(words[end:])], np.int32)
