"""Evaluators of paragraphs: against their equations in float64, and read along or at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.judging import judge
from capjax.models.paragraph_evaluator import paragraph_evaluator
from capjax.speaker import END, SENTENCE, scored

V, D, DIM, S, T = 6, 5, 6, 3, 8

CAPTIONS = np.array(
    [
        [0, 0, 0, 0, 0, 0, 0, 0],  # nothing but the end
        [3, 4, 2, 5, 3, 0, 0, 0],
        [3, 4, 2, 5, 3, 2, 4, 0],  # as many sentences as there may be
        [2, 2, 3, 0, 4, 2, 1, 1],  # empty ones; and words after the end, which are not read
        [3, 2, 0, 0, 0, 0, 0, 0],  # the last one is empty
        [3, 2, 4, 2, 5, 2, 4, 3],  # more sentences than there may be, cut
        [4, 2, 2, 2, 2, 2, 2, 2],
        [5, 4, 3, 2, 4, 1, 3, 5],  # cut within a sentence
    ],
    np.int32,
)
N = len(CAPTIONS)

model = paragraph_evaluator(V, ("features", D), dim=DIM, sentences=S)
word_by_word = model._replace(recite=None, read_on=None)
judge_ = jax.jit(judge, static_argnums=0)


@pytest.fixture(scope="module")
def params():
    """Biases moved away from zero so that they count."""
    leaves, tree = jax.tree.flatten(jax.jit(model.init)(jax.random.key(1)))
    keys = jax.random.split(jax.random.key(2), len(leaves))
    leaves = [x + 0.3 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, leaves)


def naive_logit(params, image, caption):
    """<ReLU(W f + b), the sentence LSTM's state>, as the equations stand."""
    p = params["params"]
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731

    def lstm(layer, x, state):
        gates = np.concatenate([x, state[0]]) @ layer["kernel"] + layer["bias"]
        enter, forget, show, new = np.split(gates, 4)
        cell = sigmoid(forget + 1) * state[1] + sigmoid(enter) * np.tanh(new)
        return sigmoid(show) * np.tanh(cell), cell

    zero = np.zeros(DIM), np.zeros(DIM)
    sentences = [[]]
    for word in caption:
        sentences[-1].append(word)
        if word == END:
            break
        if word == SENTENCE and len(sentences) < S:
            sentences.append([])
    tale = zero
    for sentence in sentences:
        state = zero
        for word in sentence:
            state = lstm(p["gates"], p["table"]["embedding"][word], state)
        tale = lstm(p["tale"]["gates"], state[0], tale) if sentence else tale
    return np.maximum(image @ p["project"]["kernel"] + p["project"]["bias"], 0) @ tale[0]


@pytest.mark.parametrize("reader", [model, word_by_word], ids=["recite", "read"])
def test_judge_is_two_plain_float64_lstms_and_a_dot_product(reader, params, key):
    """Whatever the captions; and nothing of them is dropped past the S-th sentence."""
    image = jax.random.normal(key, (N, D))
    got = judge_(reader, params, {"image": image}, CAPTIONS)
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    rows = zip(np.asarray(image, np.float64), CAPTIONS, strict=True)
    expected = [naive_logit(wide, *row) for row in rows]
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_both_ways_to_read_have_the_same_gradient(params, key, form):
    """Of the parameters and of the image."""
    images, weights = jax.random.split(key)
    image, weight = jax.random.normal(images, (N, D)), jax.random.normal(weights, (N,))

    def gradient(reader):
        def loss(params, image):
            return weight @ judge(reader, params, {"image": image}, jnp.asarray(CAPTIONS))

        return jax.jit(jax.grad(loss, (0, 1)))(params, image)

    got, expected = gradient(model), gradient(word_by_word)
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    assert all(jnp.abs(x).max() > 1e-3 for x in jax.tree.leaves(expected))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), got, expected)


def test_a_score_is_of_the_words_so_far_and_reading_goes_on_from_anywhere(params, key, form):
    """After each word: as the words so far are judged; and all the rest read at once from there: as
    the whole caption is."""
    context = {"image": jax.random.normal(key, (N, D))}
    image = model.image(params, context)
    captions, lengths = jnp.asarray(CAPTIONS), scored(jnp.asarray(CAPTIONS)).sum(1)
    whole = judge_(word_by_word, params, context, CAPTIONS)
    recited = jax.jit(lambda t: model.recite(params, captions, jnp.minimum(lengths, t)))
    read, score = jax.jit(model.read), jax.jit(model.score)

    @jax.jit
    def rest(carry, t):
        words = captions[:, jnp.minimum(t + jnp.arange(T), T - 1)]
        return model.read_on(params, carry, words, lengths - t)

    carry = model.start(params, N)
    for t in range(T):
        on = np.asarray(lengths) >= t
        for got, expected in (
            (score(params, image, carry), score(params, image, recited(t))),
            (score(params, image, rest(carry, t)), whole),
        ):
            np.testing.assert_allclose(got[on], expected[on], atol=1e-5)
        carry = read(params, carry, captions[:, t])


def test_what_does_not_fit_is_named():
    for option in {"vocab_size": 2}, {"sentences": 0}, {"dim": 0}:
        ((name, value),) = option.items()
        options = {"vocab_size": V, "image": ("features", D)} | option
        with pytest.raises(ValueError, match=f"{name}={value}"):
            paragraph_evaluator(**options)
