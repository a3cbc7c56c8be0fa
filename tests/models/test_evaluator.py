"""Evaluators: against a plain LSTM in float64, and the fast way to read against the plain one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.judging import judge
from capjax.models.convnet import ConvNet
from capjax.models.evaluator import evaluator

V, D, DIM, T = 7, 5, 6, 5

# Empty, ended, ended in the last place, cut at T (no end), words after the end (not read).
CAPTIONS = np.array(
    [[0, 0, 0, 0, 0], [5, 0, 0, 0, 0], [3, 1, 4, 1, 0], [6, 2, 6, 5, 3], [2, 4, 0, 6, 1]], np.int32
)
N = len(CAPTIONS)

model = evaluator(V, ("features", D), dim=DIM)
step_by_step = model._replace(recite=None)
judge_ = jax.jit(judge, static_argnums=0)


@pytest.fixture(scope="module")
def params():
    """Biases moved away from zero so that they count."""
    leaves, tree = jax.tree.flatten(jax.jit(model.init)(jax.random.key(1)))
    keys = jax.random.split(jax.random.key(2), len(leaves))
    leaves = [x + 0.3 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, leaves)


def naive_logit(params, image, caption):
    """<ReLU(W f + b), h> with the LSTM's last state, as the equations stand."""
    p = params["params"]
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    hidden, cell = np.zeros(DIM), np.zeros(DIM)
    for word in caption:
        x = np.concatenate([p["table"]["embedding"][word], hidden])
        enter, forget, show, new = np.split(x @ p["gates"]["kernel"] + p["gates"]["bias"], 4)
        cell = sigmoid(forget + 1) * cell + sigmoid(enter) * np.tanh(new)
        hidden = sigmoid(show) * np.tanh(cell)
        if word == 0:
            break
    return np.maximum(image @ p["project"]["kernel"] + p["project"]["bias"], 0) @ hidden


@pytest.mark.parametrize("reader", [model, step_by_step], ids=["recite", "read"])
def test_judge_is_a_plain_float64_lstm_and_a_dot_product(reader, params, key):
    image = jax.random.normal(key, (N, D))
    got = judge_(reader, params, {"image": image}, CAPTIONS)
    assert got.dtype == jnp.float32
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

    got, expected = gradient(model), gradient(step_by_step)
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    assert all(jnp.abs(x).max() > 1e-3 for x in jax.tree.leaves(expected))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), got, expected)


def test_what_follows_the_end_is_not_read(params, key):
    context = {"image": jax.random.normal(key, (N, D))}
    padded = np.where((CAPTIONS == 0).cumsum(1) > 0, 0, CAPTIONS)
    assert (padded != CAPTIONS).any()
    got, expected = (judge_(model, params, context, x) for x in (CAPTIONS, padded))
    np.testing.assert_array_equal(got, expected)


def test_regions_are_seen_as_their_mean(params, key):
    regions = jax.random.normal(key, (N, 3, D))
    got = evaluator(V, ("regions", 3, D), dim=DIM).image(params, {"image": regions})
    expected = model.image(params, {"image": regions.mean(1)})
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_pixels_are_seen_through_a_convnet(key):
    """ReLU(W c + b) of the network's output c."""
    pixels = jax.random.randint(key, (2, 16, 16, 3), 0, 256).astype(jnp.uint8)
    seeing = evaluator(V, ("pixels", 16, 16), dim=DIM)
    params = jax.jit(seeing.init)(key)
    got = jax.jit(seeing.image)(params, {"image": pixels})
    layers = params["params"]
    seen = np.asarray(jax.jit(ConvNet(DIM).apply)({"params": layers["see"]}, pixels))
    expected = seen @ np.asarray(layers["project"]["kernel"]) + layers["project"]["bias"][None]
    np.testing.assert_allclose(got, np.maximum(expected, 0), atol=1e-5)
    assert np.ptp(np.asarray(got), 0).max() > 1e-3


def test_dropout_has_a_mask_for_each_key_and_none_without(key):
    """Through a projection that changes nothing: each unit is gone, or is what makes the mean."""
    width, rate = 2048, 0.25
    dropping = evaluator(V, ("features", width), dim=width, dropout=rate)
    project = {"kernel": jnp.eye(width), "bias": jnp.zeros(width)}
    ones, keys = jnp.ones((3, width)), jax.random.split(key, 2)

    def look(**context):
        params = {"params": {"project": project}}
        return np.asarray(dropping.image(params, {"image": ones, **context}))

    got = look(dropout=keys[jnp.array([0, 1, 0])])
    np.testing.assert_array_equal(got[0], got[2])
    assert (got[0] != got[1]).mean() > 0.2  # 0.375 are expected
    np.testing.assert_allclose(got[got > 0], 1 / (1 - rate), rtol=1e-4)
    error = 5 * np.sqrt(rate * (1 - rate) / (2 * width))
    assert abs((got[:2] == 0).mean() - rate) < error
    np.testing.assert_array_equal(look(), ones)


def test_what_does_not_fit_is_named():
    for image in ("features",), ("sound", 3), ("regions", 3), ("features", 0), ("pixels", 20, 16):
        with pytest.raises(ValueError, match=image[0]):
            evaluator(V, image)
    for option in {"vocab_size": 1}, {"dim": 0}, {"dropout": 1.0}, {"dropout": -0.1}:
        ((name, value),) = option.items()
        options = {"vocab_size": V, "image": ("features", D)} | option
        with pytest.raises(ValueError, match=f"{name}={value}"):
            evaluator(**options)
