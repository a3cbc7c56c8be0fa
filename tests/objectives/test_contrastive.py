"""Contrastive learning: its limits, its gradient, and that any speaker can be taught by it."""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from capjax.models.generator import generator
from capjax.objectives import losses
from capjax.objectives.algorithm import decoded
from capjax.objectives.contrastive import MASKS, contrastive
from capjax.parallel.devices import over_devices
from capjax.speaker import END, Speaker, log_probs

V, D, B, K, T, RATE = 7, 4, 8, 3, 4, 0.5
speaker = generator(V, ("features", D), dim=8, dropout=0.5)
rng = np.random.default_rng(0)
CAPTIONS = rng.integers(0, V, (B, 1 + K, T)).astype(np.int32)
BATCH = {
    "image": rng.normal(size=(B, D)).astype(np.float32),
    "caption": CAPTIONS[:, 0],
    "mismatched": CAPTIONS[:, 1:],
}


@pytest.fixture(scope="module")
def params():
    return jax.tree.map(lambda x: 3 * x, jax.jit(speaker.init)(jax.random.key(1)))


@lru_cache
def descent(teach, devices, **options):
    """One step of plain gradient descent: (init, step)."""
    algorithm = contrastive(teach, teach, optax.sgd(RATE), **options)
    step = over_devices(
        lambda state, _, batch, key: algorithm.update(state, batch, key),
        devices=jax.devices()[:devices],
    )
    return algorithm.init, step


def updated(params, reference, devices=1, teach=speaker, **options):
    """The state and metrics after one step."""
    init, step = descent(teach, devices, **{"pairs": "both", "masks": "shared"} | options)
    state = init(jax.random.key(0), params, reference)
    new = step(state, (), jax.tree.map(jnp.asarray, BATCH), jax.random.key(2))
    return jax.tree.map(np.asarray, new)


def test_at_the_reference_the_loss_is_two_ln_two_and_its_gradient_half_of_each_side():
    with jax.enable_x64(True):
        p, q = np.float64(-31.0), rng.normal(-40, 9, 5)
        value, slopes = jax.value_and_grad(losses.contrastive, (0, 2))(p, p, q, q)
        np.testing.assert_allclose(value, 2 * np.log(2), rtol=1e-15)
        np.testing.assert_allclose(slopes[0], -1 / 2, rtol=1e-15)
        np.testing.assert_allclose(slopes[1], np.full(5, 1 / 2 / 5), rtol=1e-15)


def test_the_loss_is_the_papers_and_overflows_nowhere():
    true, mismatched, nu = -1.5, np.array([0.5, 2.0]), 0.7
    h = lambda g: 1 / (1 + nu * np.exp(-g))  # noqa: E731
    expected = -np.log(h(true)) - np.log(1 - h(mismatched)).mean()
    zero = jnp.zeros(2)
    got = losses.contrastive(jnp.float32(true), 0.0, jnp.asarray(mismatched), zero, nu=nu)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    far = jnp.array([1e4, -1e4])
    for g, loss in ((1e4, 5e3), (-1e4, 1.5e4)):
        value, slope = jax.value_and_grad(losses.contrastive)(jnp.float32(g), 0.0, far, zero)
        np.testing.assert_allclose(value, loss)
        np.testing.assert_allclose(slope, -1 if g < 0 else 0)


def test_many_mismatched_captions_are_the_mean_of_single_ones():
    p, q = rng.normal(0, 3, (2, 6)).astype(np.float32)
    one = [losses.contrastive(p[0], q[0], p[k : k + 1], q[k : k + 1]) for k in range(1, 6)]
    together = losses.contrastive(p[0], q[0], p[1:], q[1:])
    np.testing.assert_allclose(together, np.mean(one), rtol=1e-6)


SIDES = ("positive", "negative")


@pytest.mark.parametrize(
    "pairs", ["both", *(pytest.param(f"{s}_only", marks=pytest.mark.slow) for s in SIDES)]
)
def test_one_update_is_the_gradient_of_the_loss(params, pairs):
    reference = jax.tree.map(lambda x: 0.9 * x, params)

    def ratios(params):
        many = {"image": jnp.repeat(BATCH["image"], 1 + K, 0)}
        score = partial(log_probs, speaker, context=many, captions=CAPTIONS.reshape(-1, T))
        g = (score(params=params) - score(params=reference)).sum(-1)
        return g.reshape(B, 1 + K)

    def loss(params):
        g = ratios(params)
        true = jnp.log1p(jnp.exp(-g[:, 0])).mean()
        mismatched = jnp.log1p(jnp.exp(g[:, 1:])).mean()
        both = true + mismatched
        return {"both": both, "positive_only": true, "negative_only": mismatched}[pairs]

    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    state, metrics = updated(params, reference, pairs=pairs, masks="none")
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
    expected = jax.tree.map(lambda x, g: x - RATE * g, params, gradient)
    jax.tree.map(partial(np.testing.assert_allclose, atol=2e-6), state.params, expected)
    jax.tree.map(np.testing.assert_array_equal, state.reference, reference)


def test_likelihood_beside_it_is_the_smoothed_one_of_the_true_captions(params):
    """Its part of the update, by plain log-probabilities over the whole vocabulary."""
    captions, weight, smoothing = CAPTIONS[:, 0], 0.7, 0.2
    inputs = jnp.pad(captions, ((0, 0), (1, 0)), constant_values=END)[:, :-1]

    def nats(params):
        memory, carry = speaker.start(params, {"image": BATCH["image"]})
        total = 0.0
        alive = jnp.ones(B)
        for t in range(T):
            carry, hidden = speaker.step(params, memory, carry, inputs[:, t])
            log_p = jax.nn.log_softmax(speaker.logits(params, hidden))
            word = jnp.take_along_axis(log_p, captions[:, t : t + 1], 1)[:, 0]
            total += (alive * ((1 - smoothing) * word + smoothing * log_p.mean(1))).sum()
            alive = jnp.where(captions[:, t] == END, 0.0, alive)
        return -weight * total / B

    value, gradient = jax.jit(jax.value_and_grad(nats))(params)
    without, plain = updated(params, params, masks="none")
    both, told = updated(params, params, masks="none", likelihood=weight, label_smoothing=smoothing)
    np.testing.assert_allclose(told["loss"] - plain["loss"], value, rtol=1e-5)
    added = jax.tree.map(lambda x, y: (x - y) / RATE, without.params, both.params)
    jax.tree.map(partial(np.testing.assert_allclose, atol=2e-6), added, gradient)


def test_shared_masks_leave_equal_models_equal(params):
    ratio = {m: updated(params, params, masks=m)[1]["log_ratio"] for m in MASKS}
    np.testing.assert_allclose([ratio["shared"], ratio["none"]], 0, atol=1e-5)
    assert abs(ratio["target"]) > 0.1  # a target with dropout against a reference without


def test_an_update_is_the_same_on_any_number_of_devices(params):
    one, four = (updated(params, params, devices) for devices in (1, 4))
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), one, four)


def test_an_introspective_update_is_the_gradient_of_its_loss(params):
    """Each caption with its own image and with the next K of the batch."""

    def loss(params):
        ratios = []
        for k in range(1, 1 + K):
            other = np.roll(BATCH["image"], -k, 0)
            own, mixed = (
                log_probs(speaker, params, {"image": image}, BATCH["caption"]).sum(1)
                for image in (BATCH["image"], other)
            )
            ratios.append(own - mixed - jnp.log(0.7))
        return -jax.nn.log_sigmoid(jnp.stack(ratios)).mean()

    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    options = {"pairs": "introspective", "masks": "none", "nu": 0.7}
    state, metrics = updated(params, params, **options)
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
    expected = jax.tree.map(lambda x, g: x - RATE * g, params, gradient)
    jax.tree.map(partial(np.testing.assert_allclose, atol=2e-6), state.params, expected)


@pytest.mark.parametrize("average", [pytest.param(0.0, marks=pytest.mark.slow), 0.9])
def test_the_reference_is_replaced_after_each_round(params, average):
    """By what is decoded; the loss is then that of equal models."""
    algorithm = contrastive(
        speaker, speaker, optax.sgd(RATE), masks="none", replace=2, average=average
    )
    state = jax.jit(algorithm.init)(jax.random.key(0), params, params)
    step = over_devices(
        lambda state, _, batch, key: algorithm.update(state, batch, key),
        devices=jax.devices()[:1],
    )
    batch = jax.tree.map(jnp.asarray, BATCH)
    for i in range(1, 6):
        state, _ = step(state, (), batch, jax.random.key(i))
        after = jax.tree.map(np.asarray, (state.reference, decoded(state)))
        equal = all(jax.tree.leaves(jax.tree.map(np.array_equal, *after)))
        assert equal == (i % 2 == 0)


def test_a_speaker_that_capjax_has_never_seen_learns_whose_caption_is_whose():
    def step(params, memory, carry, words):
        carry = 0.5 * carry + params["words"][words]
        return carry, jnp.tanh(carry + memory)

    stranger = Speaker(
        init=lambda key: {
            "see": jax.random.normal(jax.random.fold_in(key, 0), (D, 16)),
            "words": jax.random.normal(jax.random.fold_in(key, 1), (V, 16)),
            "say": jax.random.normal(jax.random.fold_in(key, 2), (16, V)) / 4,
        },
        start=lambda params, context: (context["image"] @ params["see"], jnp.zeros((B, 16))),
        step=step,
        logits=lambda params, hidden: hidden @ params["say"],
    )
    algorithm = contrastive(stranger, stranger, optax.adam(0.02), masks="none")
    step_fn = jax.jit(jax.vmap(algorithm.update, (None, 0, None), out_axes=None, axis_name="data"))
    start = stranger.init(jax.random.key(0))
    state = algorithm.init(jax.random.key(0), start, start)
    # All captions differ; mismatched are those of the next images.
    own = np.array([[1 + i // 3, 1 + i % 3, 4 + i % 2, 0] for i in range(B)], np.int32)
    others = np.stack([np.roll(own, -k, 0) for k in range(1, 1 + K)], 1)
    batch = {"image": BATCH["image"], "caption": own, "mismatched": others}
    batch = jax.tree.map(lambda x: jnp.asarray(x)[None], batch)
    told = []
    # Optax's Adam takes an integer to the power of a float.
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(100):
            state, metrics = step_fn(state, batch, jax.random.key(0))
            told.append(metrics)
    np.testing.assert_allclose(told[0]["loss"], 2 * np.log(2), rtol=1e-6)
    assert told[-1]["h_true"] > 0.9
    assert told[-1]["h_mismatched"] < 0.1
    assert told[-1]["loss"] < 0.3


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="pairs='all' must be one of both"):
        contrastive(speaker, speaker, optax.sgd(RATE), pairs="all")
