"""Beam search guided by an evaluator, against the verdicts on all captions there are."""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.decoding.guided import guided_search
from capjax.decoding.sample import greedy
from capjax.judging import judge
from capjax.models.evaluator import evaluator
from capjax.models.generator import generator
from capjax.speaker import UNKNOWN

V, D, T, N = 4, 3, 3, 2
speaker = generator(V, ("features", D), dim=8)
critic = evaluator(V, ("features", D), dim=6)
params = jax.tree.map(lambda x: x * 3, jax.jit(speaker.init)(jax.random.key(1)))
critic_params = jax.tree.map(lambda x: x * 3, jax.jit(critic.init)(jax.random.key(2)))
context = {"image": jax.random.normal(jax.random.key(3), (N, D))}

# All captions: of T words, or with an end and nothing after it.
EVERY = [c for c in product(range(V), repeat=T) if 0 not in c or not any(c[c.index(0) :])]


def find(key=0, **options):
    run = jax.jit(partial(guided_search, speaker, max_len=T, **options), static_argnums=1)
    return run(params, critic, critic_params, context, jax.random.key(key))


read = jax.jit(judge, static_argnums=0)


def verdicts(words):
    """r of captions int32[N, W, T]: float[N, W]."""
    many = jax.tree.map(lambda x: jnp.repeat(x, words.shape[1], 0), context)
    score = read(critic, critic_params, many, jnp.asarray(words).reshape(-1, T))
    return np.asarray(jax.nn.sigmoid(score)).reshape(words.shape[:2])


def test_a_search_that_keeps_everything_ranks_all_captions_by_their_verdict():
    found = find(width=len(EVERY), branch=V, rollouts=1)
    for i in range(N):
        assert {tuple(c) for c in np.asarray(found.words[i])} == set(EVERY)
    best_first = verdicts(found.words)
    np.testing.assert_allclose(found.r, best_first, atol=1e-6)
    assert (np.diff(best_first) <= 1e-6).all()


def test_a_narrow_search_tells_the_verdict_on_what_it_found():
    found = find(width=2, branch=3, rollouts=3)
    np.testing.assert_allclose(found.r, verdicts(found.words), atol=1e-6)


def test_one_word_tried_of_one_hypothesis_is_the_greedy_caption():
    found = find(width=1, branch=1, rollouts=1)
    np.testing.assert_array_equal(
        found.words[:, 0], jax.jit(partial(greedy, speaker, max_len=T))(params, context).words
    )


def test_the_unknown_word_can_be_forbidden():
    found = find(width=3, branch=V, rollouts=1, forbid_unknown=True)
    assert not (np.asarray(found.words)[np.isfinite(found.r)] == UNKNOWN).any()


def test_sizes_below_one_are_refused():
    with pytest.raises(ValueError, match=r"branch=0, .* must be at least 1"):
        find(width=1, branch=0, rollouts=1)
