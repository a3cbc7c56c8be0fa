"""A listener picks the image that a caption is of."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from capjax.judging import judge, listen
from capjax.models.listener import listener
from capjax.objectives.listener_training import listener_training
from capjax.parallel.devices import over_devices

V, D, T, B = 12, 8, 3, 8
ear = listener(V, ("features", D), dim=16, dropout=0.5)


def batch(rng, distractors=0):
    """Images of one bright place each, the caption its name; no place twice."""
    places = rng.permutation(D)[:B]
    image = np.eye(D, dtype=np.float32)[places]
    caption = np.zeros((B, T), np.int32)
    caption[:, 0] = 2 + places
    beside = {}
    if distractors:
        shift = rng.integers(1, D, (B, distractors))
        beside["distractors"] = jnp.eye(D)[(places[:, None] + shift) % D]
    return {"image": jnp.asarray(image), "caption": jnp.asarray(caption)} | beside


@pytest.mark.parametrize("distractors", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_who_knows_nothing_is_off_by_the_logarithm_of_the_number_of_images(distractors):
    params = jax.jit(ear.init)(jax.random.key(0))
    params["params"]["scale"] = jnp.float32(-1e9)  # every score is 0
    algorithm = listener_training(ear, optax.sgd(0.0))
    state = algorithm.init(jax.random.key(0), params)
    step = over_devices(lambda s, _, b, k: algorithm.update(s, b, k), devices=jax.devices()[:4])
    given = batch(np.random.default_rng(0), distractors)
    metrics = step(state, (), given, jax.random.key(1))[1]
    wanted = (np.log(B + distractors) + np.log(B)) / 2
    np.testing.assert_allclose(metrics["loss"], wanted, rtol=1e-6)


def test_an_update_is_the_same_on_one_device_and_on_four():
    algorithm = listener_training(ear, optax.sgd(0.1))
    given = batch(np.random.default_rng(0), 2)
    found = []
    for devices in (jax.devices()[:1], jax.devices()[:4]):
        state = jax.jit(algorithm.init)(jax.random.key(0))
        step = over_devices(lambda s, _, b, k: algorithm.update(s, b, k), devices=devices)
        found.append(jax.tree.map(np.asarray, step(state, (), given, jax.random.key(5))))
    for one, four in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(one, four, rtol=2e-5, atol=2e-6)


def test_it_learns_which_word_is_of_which_image():
    algorithm = listener_training(ear, optax.adam(0.02))
    state = jax.jit(algorithm.init)(jax.random.key(0))
    step = over_devices(lambda s, _, b, k: algorithm.update(s, b, k), devices=jax.devices()[:1])
    rng = np.random.default_rng(0)
    for i in range(60):
        with jax.numpy_dtype_promotion("standard"):
            state, _ = step(state, (), batch(rng, 2), jax.random.key(i))
    given = batch(np.random.default_rng(1))
    contexts = {"image": jnp.broadcast_to(given["image"], (B, B, D))}
    log_p = jax.jit(listen, static_argnums=0)(ear, state.params, contexts, given["caption"])
    np.testing.assert_array_equal(log_p.argmax(1), np.arange(B))


def test_what_a_listener_hears_is_a_softmax_of_its_verdicts():
    params = jax.jit(ear.init)(jax.random.key(0))
    rng = np.random.default_rng(2)
    images = jnp.asarray(rng.normal(size=(4, 5, D)), jnp.float32)
    captions = jnp.asarray(rng.integers(0, V, (4, T)), jnp.int32)
    log_p = jax.jit(listen, static_argnums=0)(ear, params, {"image": images}, captions)
    read = jax.jit(judge, static_argnums=0)
    logits = jnp.stack([read(ear, params, {"image": images[:, c]}, captions) for c in range(5)], 1)
    np.testing.assert_allclose(log_p, jax.nn.log_softmax(logits, 1), rtol=1e-5, atol=1e-5)
