"""`<unk>` is said by no decoder that is told not to, and by every one that may."""

from itertools import product

import jax
import numpy as np
import pytest

from capjax.decoding.speaking import METHODS, speak_all
from capjax.decoding.telling_apart import RANKED, TELLERS, Teller, tell_apart
from capjax.evaluation.justification import justify_all
from capjax.models.evaluator import evaluator
from capjax.models.generator import generator
from capjax.models.listener import listener
from capjax.speaker import UNKNOWN

V, D, T, N = 7, 3, 4, 4
KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


def fond_of_unknown(speaker):
    """The same speaker with `<unk>` the likeliest word by far, wherever it is."""

    def logits(params, hidden):
        return speaker.logits(params, hidden).at[..., UNKNOWN].add(9.0)

    return speaker._replace(logits=logits)


PLAIN = fond_of_unknown(generator(V, ("features", D), dim=8))
PARAMS = jax.jit(PLAIN.init)(KEY)
LISTENER = listener(V, ("features", D), dim=8)
EAR = jax.jit(LISTENER.init)(KEY)
TOLD = fond_of_unknown(generator(V, ("features", D), dim=8, concepts=3))


def words_of(batches) -> np.ndarray:
    words = np.concatenate([words for words, _ in batches])
    assert words.shape[0] == N
    assert (words != 0).any()
    return words


def test_a_decoder_that_may_says_it():
    spoken = speak_all(PLAIN, PARAMS, IMAGES, {"method": "greedy", "max_len": T})
    assert (words_of(spoken) == UNKNOWN).all()


@pytest.mark.parametrize(
    "method",
    [m if m in ("beam", "sample") else pytest.param(m, marks=pytest.mark.slow) for m in METHODS],
)
def test_no_method_says_unknown_where_it_is_forbidden(method):
    judge = evaluator(V, ("features", D), dim=8)
    several = {"samples": 2} if "samples" in METHODS[method] else {}
    decoding = {"method": method, "max_len": T, "forbid_unknown": True, **several}
    asked = (judge, jax.jit(judge.init)(KEY))
    spoken = speak_all(PLAIN, PARAMS, IMAGES, decoding, judge=asked)
    assert (words_of(spoken) != UNKNOWN).all()


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *(("emitter_suppressor", "beam"), ("incremental", "sample")),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in product(TELLERS, ("beam", "sample"))
            if case not in (("emitter_suppressor", "beam"), ("incremental", "sample"))
        ),
    ],
)
def test_no_speaker_that_tells_apart_says_it(name, method):
    teller = Teller(name, candidates=4, guide=(LISTENER, EAR))
    rows = (np.arange(N)[:, None] + 1) % N
    decoding = {"method": method, "max_len": T, "forbid_unknown": True, "samples": 2}
    spoken = tell_apart(PLAIN, PARAMS, IMAGES, rows, decoding, teller=teller)
    assert (words_of(spoken) != UNKNOWN).all()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["beam", "sample", "greedy"])
@pytest.mark.parametrize("name", TELLERS)
def test_nor_more_than_three_times_where_trigrams_are_blocked(name, method):
    """It would be said T = 4 times running."""
    if method == "greedy" and name in RANKED:
        pytest.skip("the candidates are a beam's or draws")
    teller = Teller(name, candidates=4, guide=(LISTENER, EAR), rationality=0.9)
    rows = (np.arange(N)[:, None] + 1) % N
    decoding = {"method": method, "max_len": T, "block_trigrams": True}
    spoken = words_of(tell_apart(PLAIN, PARAMS, IMAGES, rows, decoding, teller=teller))
    assert (spoken == UNKNOWN).sum(-1).max() == 3


def test_no_justification_says_it():
    decoding = {"method": "beam", "max_len": T, "forbid_unknown": True}
    ours, theirs = np.zeros(N, np.int32), np.ones(N, np.int32)
    spoken = justify_all(TOLD, jax.jit(TOLD.init)(KEY), IMAGES, ours, theirs, decoding)
    assert (words_of(spoken) != UNKNOWN).all()
