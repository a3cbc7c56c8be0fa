"""Distractors are the images that they should be, and a listener's picks are its own."""

import jax
import numpy as np
import pytest

from capjax.data.vocabulary import Vocabulary
from capjax.evaluation.distractors import easy, hard, picked
from capjax.evaluation.verdicts import Judge
from capjax.judging import listen
from capjax.models.listener import listener

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(30, 4)).astype(np.float32)
WORDS = ["red", "blue", "dog", "cat", "runs", "sits"]
SAID = [" ".join(RNG.choice(WORDS, 3)) for _ in range(30)]


def test_hard_ones_are_near_and_captioned_most_alike():
    near = easy(IMAGES, 20)
    rows = hard(IMAGES, SAID, 3)
    for i in range(30):
        words = set(SAID[i].split())

        def common(j, words=words):
            other = set(SAID[j].split())
            return len(words & other) / len(words | other)

        assert len(set(rows[i])) == 3
        assert set(rows[i]) <= set(near[i])
        left = sorted((common(j) for j in near[i]), reverse=True)
        assert [common(j) for j in rows[i]] == left[:3]
    same = hard(IMAGES, ["a dog"] * 30, 3)
    np.testing.assert_array_equal(same, near[:, :3])  # where all are alike, the nearest


@pytest.mark.parametrize("batch", [7, 100])
def test_what_a_listener_picks(batch, monkeypatch):
    monkeypatch.setattr("capjax.evaluation.distractors.BATCH", batch)
    vocabulary = Vocabulary.build(WORDS, 1)
    ear = listener(len(vocabulary), ("features", 4), dim=8)
    params = jax.jit(ear.init)(jax.random.key(0))
    rows = easy(IMAGES, 2)
    got = picked(Judge(ear, params, vocabulary, 4, picks=True), IMAGES, rows, SAID)
    contexts = {"image": np.stack([IMAGES, IMAGES[rows[:, 0]], IMAGES[rows[:, 1]]], 1)}
    log_p = listen(ear, params, contexts, vocabulary.encode_all(SAID, 4))
    np.testing.assert_array_equal(got, np.asarray(log_p).argmax(1) == 0)
    assert 0 < got.mean() < 1
    twice = np.arange(30)[:, None]  # an image's own double cannot be told from it
    assert not picked(Judge(ear, params, vocabulary, 4), IMAGES, twice, SAID).any()
