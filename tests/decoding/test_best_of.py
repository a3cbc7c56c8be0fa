"""Best of n keeps the caption that scores highest among those that were drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import capjax
from capjax.decoding.best_of import best_of
from capjax.speaker import log_probs, spoken

SPEAKER = capjax.generator(7, ("features", 3), dim=8)


draw = jax.jit(capjax.sample, static_argnums=0, static_argnames=("max_len", "temperature"))
best = jax.jit(best_of, static_argnums=(0, 4, 5), static_argnames=("max_len", "temperature"))
read = jax.jit(log_probs, static_argnums=0)


@pytest.fixture
def params(key):
    return jax.jit(SPEAKER.init)(key)


@pytest.fixture
def context():
    return {"image": jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)}


def words(context, captions):
    return spoken(captions).sum(-1).astype(jnp.float32)


def test_the_highest_score_wins(params, context, key):
    n = 6
    kept = best(SPEAKER, params, context, key, words, n, max_len=9)
    repeated = {"image": jnp.repeat(context["image"], n, 0)}
    drawn = draw(SPEAKER, params, repeated, key, max_len=9)
    lengths = np.asarray(words(repeated, drawn.words)).reshape(5, n)
    for row, caption in enumerate(kept.words):
        mine = drawn.words[row * n : row * n + n]
        first = int(np.argmax(lengths[row]))  # of equals the first
        np.testing.assert_array_equal(caption, mine[first])
    assert len(set(lengths.max(1) - lengths.min(1))) > 1  # there was something to choose from


def test_the_log_probability_is_that_of_the_caption_kept(params, context, key):
    kept = best(SPEAKER, params, context, key, words, 4, max_len=9)
    told = read(SPEAKER, params, context, kept.words).sum(-1)
    np.testing.assert_allclose(kept.log_prob, told, rtol=1e-5)


def test_one_is_a_sample(params, context, key):
    kept = best(SPEAKER, params, context, key, words, 1, max_len=9, temperature=0.7)
    drawn = draw(SPEAKER, params, context, key, max_len=9, temperature=0.7)
    np.testing.assert_array_equal(kept.words, drawn.words)


def test_a_score_that_is_no_number_never_wins(params, context, key):
    def broken(context, captions):
        score = words(context, captions)
        return jnp.where(score >= score.reshape(-1, 4).max(-1).repeat(4), jnp.nan, score)

    kept = best(SPEAKER, params, context, key, broken, 4, max_len=9)
    repeated = {"image": jnp.repeat(context["image"], 4, 0)}
    drawn = draw(SPEAKER, params, repeated, key, max_len=9)
    scores = np.asarray(broken(repeated, drawn.words)).reshape(5, 4)
    valid = np.where(np.isnan(scores), -1, scores)
    for row, caption in enumerate(kept.words):
        np.testing.assert_array_equal(caption, drawn.words[row * 4 + int(np.argmax(valid[row]))])


def test_none_is_refused(params, context, key):
    with pytest.raises(ValueError, match="n=0"):
        best_of(SPEAKER, params, context, key, words, 0)
