"""Adversarial training: its gradient is that of the expected reward, on any number of devices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from enumerated import every_caption

from capjax.decoding.noise import Noise
from capjax.judging import judge
from capjax.models.evaluator import evaluator
from capjax.models.generator import generator
from capjax.objectives import losses
from capjax.objectives.adversarial import (
    FEEDBACK,
    AdversarialSettings,
    AdversarialState,
    adversarial,
    speaker_gradient,
)
from capjax.objectives.baselines import baseline_of, of_the_next_image
from capjax.objectives.evaluator_training import evaluator_training
from capjax.parallel.devices import over_devices
from capjax.speaker import SENTENCE, log_probs, scored

V, D, T, B = 3, 2, 3, 2
BATCHES = 1000  # independent gradients
speaker = generator(V, ("features", D), dim=4, dropout=0.0)
critic = evaluator(V, ("features", D), dim=4)


@pytest.fixture(scope="module")
def params():
    return jax.tree.map(lambda x: 2 * x, jax.jit(speaker.init)(jax.random.key(1)))


@pytest.fixture(scope="module")
def judged():
    return jax.tree.map(lambda x: 4 * x, jax.jit(critic.init)(jax.random.key(2)))


IMAGES = jax.random.normal(jax.random.key(3), (B, D))


@pytest.fixture(scope="module")
def exact(params, judged):
    """Minus the gradient of the expected r, a mean over images."""
    captions = every_caption(V, T)

    def expected(params):
        total = jnp.float32(0)
        for image in IMAGES:
            context = {"image": jnp.broadcast_to(image, (len(captions), D))}
            log_p = log_probs(speaker, params, context, captions).sum(1)
            r = jax.nn.sigmoid(judge(critic, judged, context, captions))
            total += (jnp.exp(log_p) * r).sum()
        return -total / B

    return jax.jit(jax.grad(expected))(params)


@pytest.mark.parametrize(
    ("baseline", "samples", "feedback"),
    [
        pytest.param("none", 1, "word", marks=pytest.mark.slow),
        pytest.param("none", 1, "sentence", marks=pytest.mark.slow),
        pytest.param("leave_one_out", 2, "word", marks=pytest.mark.slow),
        pytest.param("leave_one_out", 2, "sentence", marks=pytest.mark.slow),
        ("prefix", 2, "word"),
        pytest.param("prefix", 2, "sentence", marks=pytest.mark.slow),
    ],
)
def test_the_gradient_is_that_of_the_expected_reward(
    params, judged, exact, baseline, samples, feedback
):
    batch = {"image": IMAGES, "caption": jnp.zeros((B, T), jnp.int32)}

    settings = AdversarialSettings(
        rollouts=2, lanes=4, samples=samples, baseline=baseline, feedback=feedback
    )
    state = AdversarialState(params, (), (), (), judged, ())

    def one(_, key):
        return speaker_gradient(speaker, critic, state, batch, key, settings, Noise())[0]

    # A device each: every one has keys of its own.
    many = jax.jit(jax.vmap(one, (0, None), axis_name="data"))(
        jnp.arange(BATCHES), jax.random.key(4)
    )
    worst = 0.0
    for got, wanted in zip(jax.tree.leaves(many), jax.tree.leaves(exact), strict=True):
        error = np.std(got, axis=0) / np.sqrt(BATCHES)
        worst = max(worst, float((np.abs(got.mean(0) - wanted) / (error + 1e-6)).max()))
        # Not all of it is noise: the bound would notice a gradient of zero somewhere.
    assert worst < 5.0  # of several hundred numbers, a right one is as far off 1 time in 5,000
    flat = jnp.concatenate([x.reshape(BATCHES, -1) for x in jax.tree.leaves(many)], 1)
    true = jnp.concatenate([x.reshape(-1) for x in jax.tree.leaves(exact)])
    noise = np.linalg.norm(np.std(flat, axis=0)) / np.sqrt(BATCHES)
    assert noise < 0.5 * np.linalg.norm(true)


def test_a_sentence_has_one_advantage():
    """Its value, less that of what stood before it; less the other samples' first for a first."""
    words = jnp.array([[3, 2, 3, 3, 2, 0], [3, 3, 0, 0, 0, 0], [2, 2, 3, 2, 3, 3], [3] * 6])
    values = jnp.array(
        [
            [0.1, 0.1, 0.4, 0.4, 0.4, 0.9],
            [0.3, 0.3, 0.3, 0.0, 0.0, 0.0],
            [0.2, 0.5, 0.6, 0.6, 0.8, 0.8],
            [0.7] * 6,
        ]
    )
    expected = [
        [0.1 - 0.3] * 2 + [0.4 - 0.1] * 3 + [0.9 - 0.4],
        [0.3 - 0.1] * 3,
        [0.2 - 0.7, 0.5 - 0.2, 0.6 - 0.5, 0.6 - 0.5, 0.8 - 0.6, 0.8 - 0.6],
        [0.7 - 0.2] * 6,
    ]
    got = values - baseline_of(values, words, 2, "prefix", SENTENCE)
    for row, wanted in zip(got, expected, strict=True):
        np.testing.assert_allclose(row[: len(wanted)], wanted, atol=1e-6)


def test_values_of_another_image_are_those_of_its_sentence_of_the_same_number():
    """By hand; where the other caption has no such sentence, its own verdict."""
    words = jnp.array([[3, 2, 3, 3, 2, 0], [3, 3, 0, 0, 0, 0], [2, 3, 2, 3, 2, 3]])
    values = jnp.array(
        [[1, 1, 2, 2, 2, 3], [4, 4, 4, 0, 0, 0], [5, 6, 6, 7, 7, 8]], dtype=jnp.float32
    )
    got = of_the_next_image(values, words, 1, SENTENCE)  # 0 has 2's, 1 has 0's and 2 has 1's
    np.testing.assert_array_equal(got[0], [5, 5, 6, 6, 6, 7])
    np.testing.assert_array_equal(got[1], [1, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(got[2], [4, 4, 4, 4, 4, 4])
    by_word = of_the_next_image(values, words, 1)
    np.testing.assert_array_equal(by_word[0], values[2])
    np.testing.assert_array_equal(by_word[1], [1, 1, 2, 0, 0, 0])
    np.testing.assert_array_equal(by_word[2], [4, 4, 4, 4, 4, 4])


def states_and_batch(noise, units, feedback):
    talker = generator(V, ("features", D), dim=4, noise=noise, dropout=0.5)
    algorithm = adversarial(
        talker,
        critic,
        optax.sgd(0.1),
        optax.sgd(0.1),
        rollouts=2,
        lanes=4,
        samples=2,
        evaluator_steps=units - 1,
        noise=Noise(noise),
        baseline="prefix",
        entropy=0.01,
        likelihood=0.1,
        dropout=True,
        lag=0.5,
        feedback=feedback,
        average=0.9,
    )
    state = jax.jit(algorithm.init)(
        jax.random.key(0),
        jax.jit(talker.init)(jax.random.key(1)),
        jax.jit(critic.init)(jax.random.key(2)),
    )
    keys = jax.random.split(jax.random.key(3), 3)
    batch = {
        "image": jax.random.normal(keys[0], (4, units, D)),
        "caption": jax.random.randint(keys[1], (4, units, T), 0, V),
        "mismatched": jax.random.randint(keys[2], (4, units, T), 0, V),
    }
    return algorithm, state, batch


@pytest.mark.slow
@pytest.mark.parametrize("feedback", FEEDBACK)
def test_one_update_is_the_same_on_any_number_of_devices(feedback):
    algorithm, state, batch = states_and_batch(2, 3, feedback)
    found = []
    for n in (1, 4):
        step = over_devices(
            lambda state, _, batch, key: algorithm.update(state, batch, key),
            devices=jax.devices()[:n],
        )
        new, metrics = step(jax.tree.map(jnp.copy, state), (), batch, jax.random.key(7))
        for name in ("busy",):  # how queues fill differs
            metrics.pop(name)
        found.append(jax.tree.map(np.asarray, (new, metrics)))
    jax.tree.map(partial(np.testing.assert_allclose, atol=2e-6, rtol=1e-4), *found)
    moved = jax.tree.map(lambda a, b: float(abs(a - b).max()), found[0][0].params, state.params)
    assert max(jax.tree.leaves(moved)) > 1e-4


def test_an_evaluator_learns_to_tell_three_sources_apart():
    """Words tell the image's sign; the speaker says nothing, which no person does."""
    talker = speaker._replace(logits=lambda p, h: speaker.logits(p, h).at[..., 0].add(20.0))
    algorithm = evaluator_training(talker, critic, optax.adam(0.05))
    state = algorithm.init(jax.random.key(0), speaker.init(jax.random.key(1)))
    sign = jnp.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    batch = {
        "image": jnp.broadcast_to(sign[:, None], (8, D)),
        "caption": jnp.where(sign[:, None] > 0, jnp.array([[1, 0, 0]]), jnp.array([[2, 0, 0]])),
        "mismatched": jnp.where(sign[:, None] > 0, jnp.array([[2, 0, 0]]), jnp.array([[1, 0, 0]])),
    }
    update = jax.jit(jax.vmap(algorithm.update, (None, 0, None), out_axes=None, axis_name="data"))
    one = jax.tree.map(lambda x: x[None], batch)
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam takes an int to the power of a float
        for i in range(100):
            state, metrics = update(state, one, jax.random.key(i))
    assert metrics["r_real"] > 0.9
    assert metrics["r_generated"] < 0.1
    assert metrics["r_mismatched"] < 0.1


def test_losses_are_their_formulas():
    r = jax.nn.sigmoid(jnp.array([0.3, -1.2, 2.0]))
    wanted = -jnp.log(r[0]) - 0.5 * jnp.log(1 - r[1]) - 2.0 * jnp.log(1 - r[2])
    got = losses.evaluator(
        jnp.float32(0.3), jnp.float32(-1.2), jnp.float32(2.0), alpha=0.5, beta=2.0
    )
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    far = losses.evaluator(jnp.float32(-1e4), jnp.float32(1e4), jnp.float32(-1e4))
    np.testing.assert_allclose(far, 2e4)
    caption, values = jnp.array([2, 0, 0]), jnp.array([0.5, 0.25, 9.0])
    log_p = jnp.array([-1.0, -2.0, -7.0])
    np.testing.assert_allclose(losses.policy_gradient(log_p, values, caption), 0.5 + 0.5)
    slope = jax.grad(lambda v: losses.policy_gradient(log_p, v, caption))(values)
    assert not slope.any()  # nothing is learnt by making values up
    assert scored(caption).sum() == 2


def test_what_cannot_be_is_refused():
    steps = optax.sgd(0.1), optax.sgd(0.1)
    with pytest.raises(ValueError, match="reward='praise' must be one of"):
        adversarial(speaker, critic, *steps, reward="praise")
    with pytest.raises(ValueError, match="feedback='page' must be one of word, sentence"):
        adversarial(speaker, critic, *steps, feedback="page")
    with pytest.raises(ValueError, match="a baseline needs at least 2 samples"):
        adversarial(speaker, critic, *steps, baseline="prefix")
    with pytest.raises(TypeError, match="praise"):
        adversarial(speaker, critic, *steps, praise=1)


def test_settings_are_one_value_and_changes_by_name():
    assert AdversarialSettings() == AdversarialSettings(rollouts=16, lanes=None, samples=1)
    settings = AdversarialSettings(samples=2, baseline="prefix")
    steps = optax.sgd(0.1), optax.sgd(0.1)
    adversarial(speaker, critic, *steps, settings, entropy=0.1)
    with pytest.raises(ValueError, match="a baseline needs at least 2 samples"):
        adversarial(speaker, critic, *steps, settings, samples=1)
