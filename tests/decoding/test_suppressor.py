"""Emitter-suppressor beam search, against all captions of a tiny vocabulary."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from enumerated import every_caption

from capjax.decoding.beam import beam_search
from capjax.decoding.sample import greedy, sample
from capjax.decoding.suppressor import (
    emitter_suppressor,
    introspective_score,
    suppressed,
    together,
)
from capjax.models.generator import generator
from capjax.speaker import UNKNOWN, log_probs

V, D, R, T, N, M = 4, 3, 2, 3, 3, 2
speaker = generator(V, ("features", D), dim=8, noise=2)
looking = generator(V, ("regions", R, D), cell="att2in", dim=8)


@pytest.fixture(scope="module", params=["nic", pytest.param("att2in", marks=pytest.mark.slow)])
def case(request):
    """(speaker, params, target, distractors)."""
    mine = speaker if request.param == "nic" else looking
    params = jax.tree.map(lambda x: 3 * x, jax.jit(mine.init)(jax.random.key(1)))
    shape = (D,) if request.param == "nic" else (R, D)
    keys = jax.random.split(jax.random.key(2), 4)
    target = {"image": jax.random.normal(keys[0], (N, *shape))}
    distractors = {"image": jax.random.normal(keys[1], (N, M, *shape))}
    if request.param == "nic":
        target["noise"] = jax.random.normal(keys[2], (N, 2))
        distractors["noise"] = jax.random.normal(keys[3], (N, M, 2))
    return mine, params, target, distractors


CAPTIONS = every_caption(V, T)
read = jax.jit(log_probs, static_argnums=0)


def word_by_word(mine, params, target, distractors, rationality):
    """The score of every word of every caption for every target: float64[N, C, T]."""

    def log_p(context):
        rows = [
            read(
                mine,
                params,
                jax.tree.map(lambda x, i=i: jnp.repeat(x[i : i + 1], len(CAPTIONS), 0), context),
                CAPTIONS,
            )
            for i in range(N)
        ]
        return np.array(rows, np.float64)

    held = [log_p(jax.tree.map(lambda x, m=m: x[:, m], distractors)) for m in range(M)]
    return log_p(target) - (1 - rationality) * np.mean(held, 0)


def by_hand(*case_and_rationality):
    """The score of every caption for every target: float64[N, C]."""
    return word_by_word(*case_and_rationality).sum(2)


def some(tree, rows):
    return jax.tree.map(lambda x: x[rows], tree)


@pytest.mark.parametrize(
    "rationality", [0.0, 0.3, *(pytest.param(x, marks=pytest.mark.slow) for x in (0.5, 1.0))]
)
def test_a_beam_as_wide_as_the_search_finds_all_captions_in_order(case, rationality):
    scores = by_hand(*case, rationality)
    width = len(CAPTIONS)
    search = partial(emitter_suppressor, case[0], rationality=rationality, width=width, max_len=T)
    found = jax.jit(search)(*case[1:])
    index = {tuple(words): c for c, words in enumerate(CAPTIONS.tolist())}
    for i in range(N):
        order = [index[tuple(words)] for words in np.asarray(found.words[i]).tolist()]
        assert sorted(order) == list(range(width))
        np.testing.assert_allclose(found.log_prob[i], scores[i][order], atol=2e-5)
        np.testing.assert_allclose(found.log_prob[i], np.sort(scores[i])[::-1], atol=2e-5)


def test_whole_captions_are_worth_what_their_words_are(case):
    scores = by_hand(*case, 0.3)
    captions = CAPTIONS[[5, 17, 30]]
    score = jax.jit(partial(introspective_score, case[0], rationality=0.3))
    got = score(*case[1:], jnp.asarray(captions))
    np.testing.assert_allclose(got, scores[np.arange(N), [5, 17, 30]], atol=2e-5)


def test_full_rationality_is_beam_search_to_the_bit(case):
    mine, params, target, distractors = case
    found = emitter_suppressor(mine, params, target, distractors, rationality=1.0, max_len=T)
    plain = beam_search(mine, params, target, max_len=T)
    jax.tree.map(np.testing.assert_array_equal, found, plain)


def test_one_program_serves_every_rationality(case):
    """Where it is an argument: as on a page whose slider is dragged."""
    mine, params, target, distractors = case

    @jax.jit
    def dragged(rationality):
        found = partial(emitter_suppressor, mine, params, target, distractors)
        return found(rationality=rationality, width=4, max_len=T)

    for rationality in (0.3, 1.0):
        fixed = partial(emitter_suppressor, mine, rationality=rationality, width=4, max_len=T)
        expected = jax.jit(fixed)(params, target, distractors)
        got = dragged(jnp.float32(rationality))
        np.testing.assert_array_equal(got.words, expected.words)
        np.testing.assert_allclose(got.log_prob, expected.log_prob, atol=1e-5)


def test_equal_distractors_are_one_and_a_batch_is_its_rows(case):
    mine, params, target, distractors = case
    search = jax.jit(partial(emitter_suppressor, mine, width=4, max_len=T))
    one = jax.tree.map(lambda x: x[:, :1], distractors)
    three = jax.tree.map(lambda x: jnp.repeat(x, 3, 1), one)
    expected = search(params, target, one)
    got = search(params, target, three)
    np.testing.assert_array_equal(got.words, expected.words)
    np.testing.assert_allclose(got.log_prob, expected.log_prob, atol=1e-5)
    for i in range(N):
        alone = search(params, some(target, slice(i, i + 1)), some(one, slice(i, i + 1)))
        np.testing.assert_array_equal(alone.words[0], expected.words[i])
        np.testing.assert_allclose(alone.log_prob[0], expected.log_prob[i], atol=1e-5)


def test_a_distractor_equal_to_the_target_leaves_the_order_of_captions(case):
    """The score is then rationality times the plain one."""
    mine, params, target, _ = case
    same = jax.tree.map(lambda x: x[:, None], target)
    width = len(CAPTIONS)
    options = {"width": width, "max_len": T}
    held = jax.jit(partial(emitter_suppressor, mine, rationality=0.3, **options))
    found = held(params, target, same)
    plain = jax.jit(partial(beam_search, mine, **options))(params, target)
    np.testing.assert_allclose(found.log_prob, 0.3 * plain.log_prob, atol=2e-5)


def test_greedy_and_draws_by_the_same_scores(case):
    """Greedy takes the best word of each step; a draw's probability is the scores' softmax."""
    mine, params, target, distractors = case
    pair, context = suppressed(mine, M, 0.5), together(target, distractors)
    said = jax.jit(partial(greedy, pair, max_len=T))(params, context).words
    scores = word_by_word(*case, 0.5)

    def prefix_scores(words, t, i):
        """Of each next word after t words."""
        after = [(CAPTIONS[:, : t + 1] == [*words[:t], v]).all(1).argmax() for v in range(V)]
        return scores[i, after, t]

    for i in range(N):
        words = np.asarray(said[i]).tolist()
        for t in range(T):
            best = prefix_scores(words, t, i)
            assert best[words[t]] >= best.max() - 1e-4
            if words[t] == 0:
                break
    keys = jax.random.split(jax.random.key(0), N)
    drawn = jax.jit(partial(sample, pair, max_len=T))(params, context, keys)
    told = read(pair, params, context, drawn.words)
    np.testing.assert_allclose(told.sum(1), drawn.log_prob, atol=2e-5)
    first = prefix_scores([], 0, 0)
    alone = jnp.tile(drawn.words[:1] * 0, (V, 1)).at[:, 0].set(jnp.arange(V))
    rows = jax.tree.map(lambda x: jnp.repeat(x[:1], V, 0), context)
    chance = jnp.exp(read(pair, params, rows, alone)[:, 0])
    np.testing.assert_allclose(chance, np.exp(first) / np.exp(first).sum(), atol=1e-5)


def test_an_unknown_word_can_be_forbidden(case):
    options = {"width": 3, "max_len": T, "forbid_unknown": True}
    found = jax.jit(partial(emitter_suppressor, case[0], **options))(*case[1:])
    assert not (found.words == UNKNOWN).any()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rationality": 1.5}, "rationality=1.5 must be from 0 to 1"),
        ({"rationality": -0.1}, "from 0 to 1"),
        ({"width": 0}, "width=0"),
        ({"distractors": {"image": jnp.zeros((N, D))}}, r"must be \[N, M, ...\]"),
        ({"distractors": {"image": jnp.zeros((N, 0, D))}}, "with M at least 1"),
        ({"distractors": {"image": jnp.zeros((N, 1, D)), "noise": jnp.zeros(N)}}, "give both"),
    ],
)
def test_what_does_not_fit_is_named(change, told):
    settings = {"distractors": {"image": jnp.zeros((N, 1, D))}} | change
    distractors = settings.pop("distractors")
    plain = generator(V, ("features", D), dim=8)
    with pytest.raises(ValueError, match=told):
        emitter_suppressor(plain, {}, {"image": jnp.zeros((N, D))}, distractors, **settings)
