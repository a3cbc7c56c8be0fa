"""Paragraphs out of a vocabulary so small that all can be listed: two sentences of two words."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from enumerated import every_caption
from scipy import stats

from capjax.decoding.beam import beam_search
from capjax.decoding.sample import sample
from capjax.models.paragraphs import paragraph_generator
from capjax.speaker import log_probs

V, D, T, N = 4, 3, 5, 5_000
SPACE = every_caption(V, T)  # "w w 2 w w" is the longest of two sentences
FALSE_ALARM = 1e-6  # a right sampler's chance of failing, were the keys not fixed


@pytest.fixture(
    scope="module",
    params=[False, pytest.param(True, marks=pytest.mark.slow)],
    ids=["planned", "hears"],
)
def told(request):
    """A speaker, its parameters, an image, and log-probabilities of the whole space, float64[C].

    Words are far from equally likely.
    """
    speaker = paragraph_generator(V, ("features", D), dim=6, sentences=2, hears=request.param)
    params = jax.tree.map(lambda x: 3 * x, jax.jit(speaker.init)(jax.random.key(1)))
    image = jax.random.normal(jax.random.key(2), (1, D))
    log_p = np.zeros(len(SPACE))
    memory, carry = jax.jit(speaker.start)(params, {"image": jnp.repeat(image, len(SPACE), 0)})

    @jax.jit
    def next_words(carry, words):
        carry, hidden = speaker.step(params, memory, carry, words)
        return carry, jax.nn.log_softmax(speaker.logits(params, hidden))

    over, fed = np.zeros(len(SPACE), bool), np.zeros(len(SPACE), np.int32)
    for words in SPACE.T:
        carry, after = next_words(carry, jnp.asarray(fed))
        chosen = np.asarray(after, np.float64)[np.arange(len(SPACE)), words]
        log_p += np.where(over, 0, chosen)
        over, fed = over | (words == 0), words
    return speaker, params, image, log_p


def test_the_space_holds_two_sentences_of_two_words():
    assert len(SPACE) == sum((V - 1) ** k for k in range(T)) + (V - 1) ** T
    assert any((SPACE == [3, 3, 2, 3, 3]).all(1))


def test_log_probs_are_those_of_single_steps_and_sum_to_one(told):
    speaker, params, image, expected = told
    context = {"image": jnp.repeat(image, len(SPACE), 0)}
    got = np.asarray(jax.jit(partial(log_probs, speaker))(params, context, jnp.asarray(SPACE)))
    np.testing.assert_allclose(got.sum(1), expected, atol=1e-4)
    assert np.exp(np.float64(got).sum(1)).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "form", [pytest.param("cpu", marks=pytest.mark.slow), "accelerator"], indirect=True
)
def test_draws_have_the_probabilities_of_the_enumeration(told, form):
    speaker, params, image, log_p = told
    draw = jax.jit(partial(sample, speaker, max_len=T))
    words = np.asarray(draw(params, {"image": jnp.repeat(image, N, 0)}, jax.random.key(3)).words)
    place = {tuple(caption): i for i, caption in enumerate(SPACE.tolist())}
    counts = np.bincount([place[tuple(x)] for x in words.tolist()], minlength=len(SPACE))
    # Rare captions are counted together: a chi-squared test wants five of each.
    p = np.exp(log_p)
    often = p * N >= 5
    assert often.sum() > 20
    found = [*counts[often], counts[~often].sum()]
    wanted = N * np.array([*p[often], p[~often].sum()])
    assert stats.chisquare(found, wanted * N / wanted.sum()).pvalue > FALSE_ALARM


def test_a_beam_as_wide_as_the_space_lists_it_in_order(told):
    speaker, params, image, log_p = told
    search = jax.jit(partial(beam_search, speaker, width=len(SPACE), max_len=T))
    found = search(params, {"image": image})
    order = np.argsort(-log_p)
    np.testing.assert_allclose(found.log_prob[0], log_p[order], atol=1e-4)
    assert {*map(tuple, np.asarray(found.words[0]).tolist())} == {*map(tuple, SPACE.tolist())}
    np.testing.assert_array_equal(found.words[0, :5], SPACE[order[:5]])
