"""Eyes learn by the plain gradient of what is asked, whatever the number of devices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from capjax.objectives.seeing import seeing

D, B, RATE, DECAY = 3, 8, 0.25, 0.75


def distances(params, batch):
    """float[B], of each image from what the parameters say of it."""
    return ((batch["image"] @ params["see"] - batch["truth"]) ** 2).sum(-1)


algorithm = seeing(distances, optax.sgd(RATE), average=DECAY)
mapped = jax.jit(jax.vmap(algorithm.update, (None, 0, None), out_axes=None, axis_name="data"))


@pytest.fixture
def batch(key):
    images, truth = jax.random.split(key)
    return {"image": jax.random.normal(images, (B, D)), "truth": jax.random.normal(truth, (B, 2))}


def updated(state, batch, devices):
    """One update by so many devices, each with its share of the batch."""
    share = jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), batch)
    return mapped(state, share, jax.random.key(0))


@pytest.mark.parametrize("devices", [1, 4])
def test_an_update_is_the_formula_and_the_average_follows(batch, devices):
    first = jnp.full((D, 2), 0.5)
    state, metrics = updated(algorithm.init(jax.random.key(1), {"see": first}), batch, devices)
    x, y = (np.asarray(batch[name], np.float64) for name in ("image", "truth"))
    away = x @ np.asarray(first, np.float64) - y
    gradient = 2 * x.T @ away / B
    np.testing.assert_allclose(metrics["loss"], (away**2).sum() / B, rtol=1e-5)
    np.testing.assert_allclose(metrics["gradient_norm"], np.linalg.norm(gradient), rtol=1e-5)
    np.testing.assert_allclose(state.params["see"], first - RATE * gradient, atol=1e-5)
    average = DECAY * first + (1 - DECAY) * state.params["see"]
    np.testing.assert_allclose(state.average["see"], average, atol=1e-5)


def test_what_can_be_seen_is_learnt(batch):
    """To where no gradient is left, which is where least squares end."""
    state = algorithm.init(jax.random.key(1), {"see": jnp.zeros((D, 2))})
    for _ in range(300):
        state, _ = updated(state, batch, 1)
    expected = np.linalg.lstsq(np.asarray(batch["image"]), np.asarray(batch["truth"]))[0]
    np.testing.assert_allclose(state.average["see"], expected, atol=1e-3)


def test_a_batch_without_images_is_named(batch):
    state = algorithm.init(jax.random.key(1), {"see": jnp.zeros((D, 2))})
    with pytest.raises(ValueError, match=r"the batch lacks \['image'\]"):
        updated(state, {"truth": batch["truth"]}, 1)
