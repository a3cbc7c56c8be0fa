"""The number of devices, and how they are mapped, do not change an update."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding

from capjax.models.generator import generator
from capjax.objectives.maximum_likelihood import maximum_likelihood
from capjax.parallel.devices import over_devices

V, D, B, T, STEPS = 7, 4, 8, 5, 3


@pytest.fixture(scope="module")
def train():
    """(how, number of devices) -> (state, metrics of each step) after STEPS updates by SGD.

    With dropout, words of the speaker's own, label smoothing and averaging, on captions of unequal
    lengths: the devices' shares hold unequal numbers of words.
    """
    key = jax.random.key(0)
    algorithm = maximum_likelihood(
        generator(V, ("features", D), dim=8, dropout=0.5),
        optax.sgd(0.5),
        label_smoothing=0.1,
        scheduled_sampling=lambda step: 0.5,
        average=0.9,
    )
    images = jax.random.normal(key, (20, D))
    captions = jax.random.randint(key, (20, T), 1, V)
    captions = jnp.where(jnp.arange(T)[None] < jnp.arange(20)[:, None] // 2, captions, 0)
    data = {"image": images, "caption": captions}

    def update(state, data, rows, key):
        return algorithm.update(state, jax.tree.map(lambda x: x[rows], data), key)

    def run(how, n):
        devices = jax.devices()[:n]
        run = over_devices(update, how=how, devices=devices)
        everywhere = NamedSharding(Mesh(devices, ("data",)), jax.P())  # spares a compilation
        state = jax.device_put(jax.jit(algorithm.init)(key), everywhere)
        history = []
        for step in range(STEPS):
            rows = (jnp.arange(B) + 5 * step) % 20
            state, metrics = run(state, data, rows, jax.random.fold_in(key, step))
            history.append(jax.device_get(metrics))  # blocks: queued collectives can starve
        return jax.device_get((state, history))

    return run


@pytest.fixture(scope="module")
def on_one(train):
    return train("pmap", 1)


@pytest.mark.parametrize(("how", "n"), [("pmap", 4), ("shard_map", 1), ("shard_map", 4)])
def test_every_mapping_trains_the_same_state(how, n, train, on_one):
    got = train(how, n)
    assert jax.tree.structure(got) == jax.tree.structure(on_one)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6, rtol=1e-5), got, on_one)


def test_the_state_moves_and_metrics_are_scalars(on_one):
    """Nothing above would hold of an update that does nothing."""
    state, history = on_one
    assert state.step == STEPS
    assert all(metrics["gradient_norm"] > 0.1 for metrics in history)
    assert {x.shape for metrics in history for x in metrics.values()} == {()}


@pytest.mark.parametrize("how", ["pmap", "shard_map"])
def test_each_device_gets_its_share_of_rows_in_order(how):
    def update(state, data, batch, key):
        place = jax.lax.axis_index("data").astype(jnp.float32)
        total = jax.lax.psum((place + 1) * batch.sum(), "data")
        return state + total, {"rows": jax.lax.pmean(jnp.float32(batch.shape[0]), "data")}

    batch = jnp.array([1.0, 2, 3, 4, 5, 6, 7, 8])
    run = over_devices(update, how=how, devices=jax.devices()[:4])
    state, metrics = run(jnp.float32(0), {}, batch, jax.random.key(0))
    assert state == 1 * (1 + 2) + 2 * (3 + 4) + 3 * (5 + 6) + 4 * (7 + 8)
    assert metrics["rows"] == 2


@pytest.mark.parametrize("how", ["pmap", "shard_map"])
def test_rows_that_do_not_divide_by_the_devices_are_refused(how):
    run = over_devices(lambda s, d, b, k: (s, {}), how=how, devices=jax.devices()[:4])
    with pytest.raises(ValueError, match=r"6.*4"):
        run(jnp.float32(0), {}, jnp.zeros((6, 2)), jax.random.key(0))


def test_an_unknown_mapping_is_refused():
    with pytest.raises(ValueError, match="vmap"):
        over_devices(lambda s, d, b, k: (s, {}), how="vmap")
