"""Best of n keeps the caption that scores highest among those that were drawn."""

import jax.numpy as jnp
import numpy as np
import pytest

import capjax
from capjax.decoding.best_of import best_of
from capjax.speaker import log_probs, spoken

SPEAKER = capjax.generator(7, ("features", 3), dim=8)


@pytest.fixture
def params(key):
    return SPEAKER.init(key)


@pytest.fixture
def context():
    return {"image": jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)}


def words(context, captions):
    return spoken(captions).sum(-1).astype(jnp.float32)


def test_the_highest_score_wins(params, context, key):
    n = 6
    best = best_of(SPEAKER, params, context, key, words, n, max_len=9)
    repeated = {"image": jnp.repeat(context["image"], n, 0)}
    drawn = capjax.sample(SPEAKER, params, repeated, key, max_len=9)
    lengths = np.asarray(words(repeated, drawn.words)).reshape(5, n)
    for row, caption in enumerate(best.words):
        mine = drawn.words[row * n : row * n + n]
        first = int(np.argmax(lengths[row]))  # of equals the first
        np.testing.assert_array_equal(caption, mine[first])
    assert len(set(lengths.max(1) - lengths.min(1))) > 1  # there was something to choose from


def test_the_log_probability_is_that_of_the_caption_kept(params, context, key):
    best = best_of(SPEAKER, params, context, key, words, 4, max_len=9)
    told = log_probs(SPEAKER, params, context, best.words).sum(-1)
    np.testing.assert_allclose(best.log_prob, told, rtol=1e-5)


def test_one_is_a_sample(params, context, key):
    best = best_of(SPEAKER, params, context, key, words, 1, max_len=9, temperature=0.7)
    drawn = capjax.sample(SPEAKER, params, context, key, max_len=9, temperature=0.7)
    np.testing.assert_array_equal(best.words, drawn.words)


def test_a_score_that_is_no_number_never_wins(params, context, key):
    def broken(context, captions):
        score = words(context, captions)
        return jnp.where(score >= score.reshape(-1, 4).max(-1).repeat(4), jnp.nan, score)

    best = best_of(SPEAKER, params, context, key, broken, 4, max_len=9)
    repeated = {"image": jnp.repeat(context["image"], 4, 0)}
    drawn = capjax.sample(SPEAKER, params, repeated, key, max_len=9)
    scores = np.asarray(broken(repeated, drawn.words)).reshape(5, 4)
    kept = np.where(np.isnan(scores), -1, scores)
    for row, caption in enumerate(best.words):
        np.testing.assert_array_equal(caption, drawn.words[row * 4 + int(np.argmax(kept[row]))])


def test_none_is_refused(params, context, key):
    with pytest.raises(ValueError, match="n=0"):
        best_of(SPEAKER, params, context, key, words, 0)
