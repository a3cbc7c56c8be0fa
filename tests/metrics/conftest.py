"""Captions to measure: real ones, and ones made to be awkward; as texts and as ids."""

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from capjax.metrics import encode


class Corpus(NamedTuple):
    """Candidates and references of the same images."""

    spoken: list[str]  # the candidate of each image
    truth: list[list[str]]
    candidates: np.ndarray  # int32[N, T]
    references: np.ndarray  # int32[N, R, T]

    def by_id(self) -> tuple[dict, dict]:
        """As pycocoevalcap's scorers take them: (references, candidates)."""
        return dict(enumerate(self.truth)), {i: [text] for i, text in enumerate(self.spoken)}


def corpus(spoken: list[str], truth: list[list[str]], max_len: int | None = None) -> Corpus:
    references, words = encode(truth, max_len=max_len)
    candidates, _ = encode([[text] for text in spoken], words, max_len=max_len)
    return Corpus(spoken, truth, candidates[:, 0], references)


@pytest.fixture(scope="session")
def flickr() -> Corpus:
    """5,000 images of Flickr8k. Half are described by a caption of their own, held against the four
    others, and half by another image's, held against all five."""
    here = Path(__file__).parents[2] / ".." / "shared" / "data" / "flickr8k"
    folder = Path(os.environ.get("CAPJAX_FLICKR8K", here))
    path = folder / "dataset_flickr8k.json"
    if not path.exists():
        pytest.skip("needs Flickr8k's captions: set CAPJAX_FLICKR8K to the folder that holds them")
    images = json.loads(path.read_text(encoding="utf-8"))["images"][:5001]
    captions = [[" ".join(x["tokens"]) for x in image["sentences"]] for image in images]
    spoken = [captions[i + i % 2][0] for i in range(5000)]
    return corpus(spoken, [captions[i][1 - i % 2 :] for i in range(5000)])


@pytest.fixture(scope="session")
def awkward() -> list[Corpus]:
    """Five corpora of 100 images: few words, many repeats; empty, short and ragged references and
    candidates, and candidates with words of their own."""
    rng = np.random.default_rng(0)
    made = []
    for size in (2, 3, 5, 12, 30):
        words = np.array([f"w{i}" for i in range(size)])

        def text(words=words):
            length = rng.choice([0, 1, 2, 3, rng.integers(4, 12)])
            return " ".join(rng.choice(words, length))

        truth = [[text() for _ in range(rng.integers(1, 5))] for _ in range(100)]
        strange = np.concatenate([words, ["x", "y"]])
        spoken = [text(strange) if rng.random() < 0.3 else text() for _ in range(100)]
        for i in range(0, 100, 5):
            spoken[i] = truth[i][-1]
        made.append(corpus(spoken, truth, max_len=12))
    return made
