"""Attention cells against their equations on one example, and the fast paths against the plain."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.decoding.beam import beam_search
from capjax.decoding.sample import greedy, sample
from capjax.models.attention import where_looked
from capjax.models.generator import generator
from capjax.speaker import Speaker, log_probs, score, scored, shift, weighted_score

V, R, D, NOISE, CONCEPTS, DIM, T = 11, 6, 5, 3, 4, 8, 6
CELLS = ("att2in", "adaptive")

CAPTIONS = np.array(
    [[0, 0, 0, 0, 0, 0], [5, 0, 0, 0, 0, 0], [3, 1, 4, 1, 5, 0], [9, 2, 6, 5, 3, 5]], np.int32
)
read = jax.jit(log_probs, static_argnums=0)
look = jax.jit(where_looked, static_argnums=0)


class Model(NamedTuple):
    speaker: Speaker
    params: dict
    noisy: bool


@pytest.fixture(
    scope="module",
    params=[
        *((cell, True) for cell in CELLS),
        *(pytest.param((cell, False), marks=pytest.mark.slow) for cell in CELLS),
    ],
)
def model(request) -> Model:
    """A generator, with all inputs or the image alone; its biases count."""
    cell, noisy = request.param
    more = {"noise": NOISE, "concepts": CONCEPTS} if noisy else {}
    speaker = generator(
        V, ("regions", R, D), cell=cell, dim=DIM, dropout=0.3, input_dropout=0.2, **more
    )
    leaves, tree = jax.tree.flatten(jax.jit(speaker.init)(jax.random.key(1)))
    keys = jax.random.split(jax.random.key(2), len(leaves))
    leaves = [x + 0.3 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return Model(speaker, jax.tree.unflatten(tree, leaves), noisy)


def make_context(model, key, n):
    keys = jax.random.split(key, 3)
    image = jax.random.normal(keys[0], (n, R, D))
    if not model.noisy:
        return {"image": image}
    return {
        "image": image,
        "noise": jax.random.normal(keys[1], (n, NOISE)),
        "concept": jax.random.randint(keys[2], (n,), 0, CONCEPTS),
    }


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


class Plain:
    """Both cells on one example, as their equations stand, in float64."""

    def __init__(self, params, image, noise=None, concept=None):
        self.p = params["params"]
        self.values = np.maximum(self.dense("value", image), 0)
        self.hidden, self.cell = np.zeros(DIM), np.zeros(DIM)
        self.beside = [] if concept is None else [self.p["concept"]["embedding"][concept]]
        self.adaptive = "sentinel" in self.p
        if self.adaptive:
            self.whole = np.maximum(self.dense("whole", image.mean(0)), 0)
        if noise is not None:
            self.feed(np.maximum(self.dense("project", noise), 0))

    def dense(self, name, x):
        layer = self.p[name]
        return x @ layer["kernel"] + layer.get("bias", 0)

    def score(self, slot, query):
        return self.p["weigh"] @ np.tanh(self.dense("key", slot) + self.dense("query", query))

    def feed(self, x):
        """One step: (output, weights)."""
        if self.adaptive:
            return self.lu(x)
        weights = softmax(np.array([self.score(v, self.hidden) for v in self.values]))
        attended = sum(w * v for w, v in zip(weights, self.values, strict=True))
        gates = self.dense("gates", np.concatenate([x, *self.beside, self.hidden]))
        enter, forget, show = (
            sigmoid(g) for g in (gates[:DIM], gates[DIM : 2 * DIM] + 1, gates[2 * DIM : 3 * DIM])
        )
        two = gates[3 * DIM :] + self.dense("attended", attended)
        self.cell = forget * self.cell + enter * np.maximum(two[:DIM], two[DIM:])
        self.hidden = show * np.tanh(self.cell)
        return self.hidden, weights

    def lu(self, x):
        inputs = np.concatenate([x, self.whole, *self.beside, self.hidden])
        enter, forget, show, new, gate = np.split(self.dense("gates", inputs), 5)
        self.cell = sigmoid(forget + 1) * self.cell + sigmoid(enter) * np.tanh(new)
        self.hidden = sigmoid(show) * np.tanh(self.cell)
        sentinel = np.maximum(self.dense("sentinel", sigmoid(gate) * np.tanh(self.cell)), 0)
        told = np.tanh(self.dense("told", self.hidden))
        slots = [*self.values, sentinel]
        weights = softmax(np.array([self.score(slot, told) for slot in slots]))
        attended = sum(w * slot for w, slot in zip(weights, slots, strict=True))
        return np.tanh(self.dense("join", attended + told)), weights

    def read(self, caption):
        """(log-probabilities [T], weights [T, slots]), 0 after the end."""
        told, looked, word = np.zeros(len(caption)), [], 0
        for t, following in enumerate(caption):
            x = self.p["table"]["embedding"][word]
            out, weights = self.feed(np.maximum(x, 0) if self.adaptive else x)
            z = self.dense("words", out)
            told[t] = z[following] - np.log(np.exp(z).sum())
            looked.append(weights)
            if following == 0:
                break
            word = following
        looked += [0 * looked[0]] * (len(caption) - len(looked))
        return told, np.array(looked)


def plain_rows(model, context, captions):
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), model.params)
    rows = [{name: np.asarray(x)[i] for name, x in context.items()} for i in range(len(captions))]
    found = [Plain(params, **row).read(c) for row, c in zip(rows, captions, strict=True)]
    return tuple(map(np.array, zip(*found, strict=True)))


def test_words_and_where_each_looked_are_those_of_the_equations(model, key):
    context = make_context(model, key, len(CAPTIONS))
    told, looked = plain_rows(model, context, CAPTIONS)
    got = read(model.speaker, model.params, context, jnp.asarray(CAPTIONS))
    np.testing.assert_allclose(got, told, atol=2e-5)
    where = look(model.speaker, model.params, context, jnp.asarray(CAPTIONS))
    np.testing.assert_allclose(where, looked, atol=1e-5)
    sums = where.sum(-1)
    np.testing.assert_allclose(sums, scored(jnp.asarray(CAPTIONS)), atol=1e-5)


@pytest.mark.parametrize(
    "form", ["cpu", pytest.param("accelerator", marks=pytest.mark.slow)], indirect=True
)
@pytest.mark.parametrize(
    ("each", "dropout"),
    [
        (3, True),
        *(pytest.param(*s, marks=pytest.mark.slow) for s in [(1, True), (1, False), (3, False)]),
    ],
)
def test_the_fast_reading_has_the_values_and_gradients_of_the_plain_one(
    model, key, each, dropout, form
):
    context = make_context(model, key, 2)
    if dropout:
        context["dropout"] = jax.random.split(jax.random.key(4), 2)
    rng = np.random.default_rng(0)
    captions = rng.integers(1, V, (2, each, T))
    captions = np.where(np.arange(T) < rng.integers(0, T + 1, (2, each, 1)), captions, 0)
    captions = jnp.asarray(captions, jnp.int32)
    slow = model.speaker._replace(recite=None)

    def total(speaker, params, image):
        seen = context | {"image": image}
        told, _ = score(speaker, params, seen, shift(captions), captions)
        return (told * jnp.cos(jnp.arange(told.size).reshape(told.shape))).sum()

    both = [
        jax.jit(jax.value_and_grad(lambda p, x, s=s: total(s, p, x), (0, 1)))(
            model.params, context["image"]
        )
        for s in (model.speaker, slow)
    ]
    for fast, plain in zip(*map(jax.tree.leaves, both), strict=True):
        np.testing.assert_allclose(fast, plain, rtol=1e-4, atol=2e-5)
    given = model.params, context, shift(captions), captions
    value, _ = jax.jit(weighted_score, static_argnums=0)(model.speaker, *given, jnp.float32(1))
    told = jax.jit(score, static_argnums=0)(slow, *given)[0]
    np.testing.assert_allclose(value, told.sum(), rtol=1e-5)


def test_what_is_spoken_has_the_log_probability_that_is_read(model, key):
    context = make_context(model, key, 4)
    drawn = sample(model.speaker, model.params, context, jax.random.key(5), max_len=T)
    said = greedy(model.speaker, model.params, context, max_len=T)
    beams = beam_search(model.speaker, model.params, context, width=3, max_len=T)
    for captions in (drawn, said, type(said)(beams.words[:, 0], beams.log_prob[:, 0])):
        told = read(model.speaker, model.params, context, captions.words).sum(1)
        np.testing.assert_allclose(told, captions.log_prob, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cell", CELLS)
def test_equal_regions_are_looked_at_alike_in_any_order(cell, key):
    speaker = generator(V, ("regions", R, D), cell=cell, dim=DIM)
    params = jax.jit(speaker.init)(key)
    regions = jax.random.normal(key, (1, R, D)).at[0, 4].set(0.5).at[0, 1].set(0.5)
    captions = jnp.asarray(CAPTIONS[-1:])
    order = np.array([3, 5, 0, 1, 4, 2])
    looked = look(speaker, params, {"image": regions}, captions)
    np.testing.assert_allclose(looked[..., 1], looked[..., 4], atol=1e-6)
    mixed = look(speaker, params, {"image": regions[:, order]}, captions)
    np.testing.assert_allclose(mixed[..., :R], looked[..., order], atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_pixels_become_regions(cell, key):
    """Of 32 x 48 pixels a grid of 2 x 3; a change in one corner changes where it looks."""
    speaker = generator(V, ("pixels", 32, 48), cell=cell, dim=DIM)
    params = jax.jit(speaker.init)(key)
    pixels = jax.random.randint(key, (2, 32, 48, 3), 0, 256, jnp.uint8)
    looked = look(speaker, params, {"image": pixels}, jnp.asarray(CAPTIONS[2:]))
    assert looked.shape == (2, T, 6 + (cell == "adaptive"))
    other = look(
        speaker, params, {"image": pixels.at[:, 20:, 40:].set(0)}, jnp.asarray(CAPTIONS[2:])
    )
    assert np.abs(looked - other).max() > 1e-4


def test_who_has_no_regions_is_told(key):
    with pytest.raises(ValueError, match="looks at regions"):
        generator(V, ("features", D), cell="att2in")
    speaker = generator(V, ("features", D), dim=DIM)
    with pytest.raises(ValueError, match="looks at no regions"):
        where_looked(
            speaker, speaker.init(key), {"image": jnp.zeros((1, D))}, jnp.zeros((1, T), jnp.int32)
        )
