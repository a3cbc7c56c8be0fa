"""The reasoning speaker ranks candidates by what they are worth to it and to its listener."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.decoding.beam import beam_search
from capjax.decoding.reasoning import introspective_speaker, reasoning_speaker
from capjax.decoding.suppressor import introspective_score, together
from capjax.judging import listen
from capjax.models.generator import generator
from capjax.models.listener import listener
from capjax.speaker import log_probs

V, D, T, N, M = 5, 3, 4, 3, 2
speaker = generator(V, ("features", D), dim=8)
ear = listener(V, ("features", D), dim=8)


read = jax.jit(log_probs, static_argnums=0)
hear = jax.jit(listen, static_argnums=0)


@pytest.fixture(scope="module")
def case():
    keys = jax.random.split(jax.random.key(2), 4)
    params = jax.tree.map(lambda x: 3 * x, jax.jit(speaker.init)(keys[0]))
    heard = jax.jit(ear.init)(keys[1])
    target = {"image": jax.random.normal(keys[2], (N, D))}
    distractors = {"image": jax.random.normal(keys[3], (N, M, D))}
    return params, heard, target, distractors


@pytest.mark.parametrize(
    ("rationality", "drawn"),
    [
        *[(0.4, True), (1.0, False)],
        *(
            pytest.param(*s, marks=pytest.mark.slow)
            for s in [(0.0, False), (0.4, False), (0.0, True), (1.0, True)]
        ),
    ],
)
def test_candidates_are_ranked_by_likelihood_and_listener(case, drawn, rationality):
    params, heard, target, distractors = case
    key = jax.random.key(0) if drawn else None
    speak = partial(reasoning_speaker, speaker, rationality=rationality, candidates=6, max_len=T)
    found = jax.jit(lambda *x: speak(x[0], ear, *x[1:]))(params, heard, target, distractors, key)
    for c in range(6):
        words = found.words[:, c]
        likely = read(speaker, params, target, words).sum(1)
        clear = hear(ear, heard, together(target, distractors), words)[:, 0]
        score = rationality * likely + (1 - rationality) * clear
        np.testing.assert_allclose(found.log_prob[:, c], score, rtol=1e-4, atol=1e-4)
    assert (np.diff(found.log_prob, axis=1) <= 0).all()
    if not drawn:
        search = partial(beam_search, speaker, width=6, max_len=T)
        beams = jax.jit(search)(params, target)
        if rationality == 1:
            np.testing.assert_array_equal(found.words, beams.words)
        for i in range(N):
            said, tried = (
                set(map(tuple, np.asarray(x[i]).tolist())) for x in (found.words, beams.words)
            )
            assert said == tried


@pytest.mark.parametrize("drawn", [False, True])
def test_the_introspective_speaker_ranks_by_its_own_score(case, drawn):
    params, _, target, distractors = case
    key = jax.random.key(0) if drawn else None
    speak = partial(introspective_speaker, speaker, rationality=0.3, candidates=6, max_len=T)
    found = jax.jit(speak)(params, target, distractors, key)
    score = jax.jit(partial(introspective_score, speaker, rationality=0.3))
    for c in range(6):
        worth = score(params, target, distractors, found.words[:, c])
        np.testing.assert_allclose(found.log_prob[:, c], worth, atol=1e-4)
    assert (np.diff(found.log_prob, axis=1) <= 0).all()


def test_a_beam_that_finds_fewer_says_so(case):
    params, heard, target, distractors = case
    speak = partial(reasoning_speaker, speaker, rationality=0.0, candidates=9, max_len=1)
    found = jax.jit(lambda *x: speak(x[0], ear, *x[1:]))(params, heard, target, distractors)
    assert (np.asarray(found.log_prob == -jnp.inf).sum(1) == 9 - V).all()


def test_what_does_not_fit_is_named(case):
    params, heard, target, distractors = case
    with pytest.raises(ValueError, match="candidates=0"):
        reasoning_speaker(speaker, params, ear, heard, target, distractors, candidates=0)
    with pytest.raises(ValueError, match="rationality=2"):
        reasoning_speaker(speaker, params, ear, heard, target, distractors, rationality=2)
