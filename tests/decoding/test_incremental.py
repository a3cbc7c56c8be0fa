"""The incremental speaker, against rational speech acts worked out a word at a time."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from enumerated import every_caption

from capjax.decoding.beam import beam_search
from capjax.decoding.incremental import incremental
from capjax.decoding.sample import greedy, sample
from capjax.decoding.suppressor import together
from capjax.models.generator import generator
from capjax.speaker import log_probs

V, D, T, N, M = 4, 3, 3, 3, 2
speaker = generator(V, ("features", D), dim=8)


@pytest.fixture(scope="module")
def case():
    keys = jax.random.split(jax.random.key(5), 3)
    params = jax.tree.map(lambda x: 3 * x, jax.jit(speaker.init)(keys[0]))
    target = {"image": jax.random.normal(keys[1], (N, D))}
    distractors = {"image": jax.random.normal(keys[2], (N, M, D))}
    return params, target, distractors


CAPTIONS = every_caption(V, T)
begin = jax.jit(speaker.start)
read = jax.jit(log_probs, static_argnums=0)


@jax.jit
def hear(params, memory, carry, word):
    carry, hidden = speaker.step(params, memory, carry, jnp.full(1 + M, word))
    return carry, jax.nn.log_softmax(speaker.logits(params, hidden))


def tables(params, images):
    """log p(w | image, prefix) of every image: {prefix: float64[images, V]}."""
    found = {}
    memory, first = begin(params, {"image": images})

    def grow(prefix, carry, word):
        carry, found[prefix] = hear(params, memory, carry, word)
        if len(prefix) < T - 1:
            for following in range(1, V):
                grow((*prefix, following), carry, following)

    grow((), first, 0)
    return {prefix: np.asarray(values, np.float64) for prefix, values in found.items()}


def by_hand(params, target, distractors, alpha):
    """log S1 of every word of every caption: float64[N, C, T]; 0 after the end."""
    told = np.zeros((N, *CAPTIONS.shape))
    for n in range(N):
        images = jnp.concatenate([target["image"][n][None], distractors["image"][n]])
        table = tables(params, images)
        for c, words in enumerate(CAPTIONS):
            belief = np.full(1 + M, 1 / (1 + M))
            for t, word in enumerate(words):
                literal = np.exp(table[tuple(words[:t].tolist())])  # [1 + M, V]
                heard = literal * belief[:, None]
                heard /= heard.sum(0)
                speaks = literal[0] * heard[0] ** alpha
                told[n, c, t] = np.log(speaks[word] / speaks.sum())
                belief = heard[:, word]
                if word == 0:
                    break
    return told


@pytest.mark.parametrize("rationality", [1 / 6, 0.5, 1.0])
def test_every_caption_is_as_likely_as_rational_speech_acts_say(case, rationality):
    params, target, distractors = case
    reasoning = incremental(speaker, M, rationality)
    want = by_hand(*case, (1 - rationality) / rationality)
    seen = together(target, distractors)
    for n in range(N):
        mine = jax.tree.map(lambda x, n=n: jnp.repeat(x[n : n + 1], len(CAPTIONS), 0), seen)
        np.testing.assert_allclose(read(reasoning, params, mine, CAPTIONS), want[n], atol=2e-5)


def test_a_beam_as_wide_as_the_search_finds_the_best(case):
    want = by_hand(*case, 1.0).sum(2)
    search = jax.jit(
        lambda *x: beam_search(
            incremental(speaker, M), x[0], together(*x[1:]), width=len(CAPTIONS), max_len=T
        )
    )
    found = search(*case)
    np.testing.assert_allclose(found.log_prob[:, 0], want.max(1), atol=2e-5)
    np.testing.assert_array_equal(found.words[:, 0], CAPTIONS[want.argmax(1)])


def test_full_rationality_is_the_speaker_itself(case):
    params, target, distractors = case
    seen = together(target, distractors)
    for decode in (greedy, lambda *x, **y: sample(*x, jax.random.key(1), **y)):
        speak = jax.jit(partial(decode, max_len=T), static_argnums=0)
        got = speak(incremental(speaker, M, 1.0), params, seen)
        plain = speak(speaker, params, target)
        np.testing.assert_array_equal(got.words, plain.words)


def test_from_its_own_likeness_nothing_can_be_told(case):
    params, target, _ = case
    same = jax.tree.map(lambda x: jnp.repeat(x[:, None], M, 1), target)
    seen = jax.tree.map(lambda x: jnp.repeat(x[:1], len(CAPTIONS), 0), together(target, same))
    got = read(incremental(speaker, M, 0.2), params, seen, CAPTIONS)
    image = {"image": jnp.repeat(target["image"][:1], len(CAPTIONS), 0)}
    np.testing.assert_allclose(got, read(speaker, params, image, CAPTIONS), atol=2e-5)


@pytest.mark.parametrize("rationality", [0.0, 1.5])
def test_rationality_out_of_range_is_named(rationality):
    with pytest.raises(ValueError, match=f"rationality={rationality}"):
        incremental(speaker, 1, rationality)
    with pytest.raises(ValueError, match="number=0"):
        incremental(speaker, 0)
