"""A batch that is learnt from part by part teaches what it does as a whole, in less memory."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from capjax.decoding.noise import Noise
from capjax.models.evaluator import evaluator
from capjax.models.generator import generator
from capjax.objectives.adversarial import adversarial
from capjax.objectives.contrastive import contrastive
from capjax.objectives.evaluator_training import evaluator_training
from capjax.objectives.maximum_likelihood import maximum_likelihood
from capjax.objectives.parts import in_parts
from capjax.objectives.self_critical import self_critical
from capjax.parallel.devices import over_devices

V, D, B, K, T = 7, 4, 16, 2, 4
RATE = 0.5
rng = np.random.default_rng(0)
# Of unequal lengths, so that parts hold unequal numbers of words.
WORDS = np.where(np.arange(T) < rng.integers(0, T + 1, (B, 1 + K, 1)), 1, 0)
CAPTIONS = (WORDS * rng.integers(1, V, WORDS.shape)).astype(np.int32)
BATCH = {
    "image": rng.normal(size=(B, D)).astype(np.float32),
    "caption": CAPTIONS[:, 0],
    "mismatched": CAPTIONS[:, 1:],
}
speaker = generator(V, ("features", D), dim=8, dropout=0.5)
noisy = generator(V, ("features", D), dim=8, dropout=0.5, noise=2)


def long_with_3(batch, captions):
    """A reward: whether a caption has word 3, and its length."""
    return jnp.where((captions == 3).any(-1), 2.0, 0.0) + (captions > 0).sum(-1).astype(jnp.float32)


def likelihood(several: bool, **options):
    made = maximum_likelihood(
        speaker,
        optax.sgd(RATE),
        label_smoothing=0.1,
        scheduled_sampling=lambda step: 0.5,
        average=0.9,
        **options,
    )
    words = BATCH["mismatched"] if several else BATCH["caption"]
    return made, {"image": BATCH["image"], "caption": words}, made.init


def against(pairs: str, **options):
    made = contrastive(
        speaker,
        speaker,
        optax.sgd(RATE),
        pairs=pairs,
        likelihood=0.0 if pairs == "introspective" else 0.5,
        **options,
    )
    other = speaker.init(jax.random.key(5))
    return made, BATCH, lambda key: made.init(key, speaker.init(key), other)


def rewarded(told: Noise, **options):
    captioner = noisy if told.width else speaker
    made = self_critical(
        captioner,
        optax.sgd(RATE),
        {"long": (1.0, long_with_3)},
        samples=3,
        likelihood=0.3,
        dropout=True,
        max_len=T,
        noise=told,
        **options,
    )
    return made, BATCH, lambda key: made.init(key, captioner.init(key))


def adversary(**options):
    critic = evaluator(V, ("features", D), dim=8)
    made = adversarial(
        noisy,
        critic,
        optax.sgd(RATE),
        optax.sgd(RATE),
        rollouts=2,
        samples=2,
        evaluator_steps=1,
        baseline="prefix",
        likelihood=0.3,
        dropout=True,
        noise=Noise(2, "normal"),
        **options,
    )
    units = jax.tree.map(lambda x: np.stack([x, np.roll(x, 3, 0)], 1), BATCH)
    units["mismatched"] = units["mismatched"][:, :, 0]
    return made, units, lambda key: made.init(key, noisy.init(key), critic.init(key))


def judging(**options):
    critic = evaluator(V, ("features", D), dim=8, dropout=0.5)
    made = evaluator_training(noisy, critic, optax.sgd(RATE), noise=Noise(2, "normal"), **options)
    batch = BATCH | {"mismatched": BATCH["mismatched"][:, 0]}
    return made, batch, lambda key: made.init(key, noisy.init(key), critic.init(key))


ALGORITHMS = {
    "likelihood": partial(likelihood, False),
    "several captions an image": partial(likelihood, True),
    "contrastive": partial(against, "both"),
    "introspective": partial(against, "introspective"),
    "self-critical": partial(rewarded, Noise()),
    "self-critical with noise": partial(rewarded, Noise(2, "normal")),
    "evaluator": judging,
    "adversarial": adversary,
}
QUICK = "likelihood", 1


def after_two_steps(algorithm, devices: int, parts: int):
    """The state, and the metrics of both steps: by plain descent, so that gradients show."""
    made, batch, init = ALGORITHMS[algorithm](accumulate=parts)
    step = over_devices(
        lambda state, _, batch, key: made.update(state, batch, key), devices=jax.devices()[:devices]
    )
    state, history = jax.jit(init)(jax.random.key(1)), []
    for number in range(2):
        state, metrics = step(state, (), batch, jax.random.key(number))
        history.append(jax.device_get(metrics))
    return jax.device_get((state, history))


@pytest.mark.parametrize(
    ("algorithm", "devices"),
    [
        pytest.param(name, devices, marks=[pytest.mark.slow] * ((name, devices) != QUICK))
        for name in ALGORITHMS
        for devices in (1, 4)
    ],
)
def test_four_parts_teach_what_the_whole_does(algorithm, devices):
    whole, parted = (after_two_steps(algorithm, devices, parts) for parts in (1, 4))
    assert all(metrics["gradient_norm"] > 0.01 for metrics in whole[1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), whole, parted)


def test_parts_are_means_of_rows_that_stand_together():
    keys = jax.random.split(jax.random.key(0), 8)
    rows = {"one": jnp.arange(8.0), "two": jnp.arange(16.0), "key": keys}

    def means(rows):
        drawn = jax.vmap(jax.random.normal)(rows["key"])
        each = rows["one"] * rows["two"].reshape(-1, 2).sum(1) * drawn
        return {"each": each.mean(), "first": rows["one"][:1]}

    whole, parted = in_parts(means, rows, 1), in_parts(means, rows, 4)
    np.testing.assert_allclose(parted["each"], whole["each"], rtol=1e-6)
    np.testing.assert_array_equal(parted["first"], [(0 + 2 + 4 + 6) / 4])


def test_rows_that_parts_cannot_share_are_refused():
    with pytest.raises(ValueError, match=r"6 rows cannot be shared by 4 parts"):
        in_parts(lambda x: x.mean(), jnp.ones((6, 2)), 4)


@pytest.mark.slow
def test_parts_need_less_memory():
    def temporary(parts: int) -> int:
        made = maximum_likelihood(
            generator(400, ("features", 64), dim=128), optax.sgd(RATE), accumulate=parts
        )
        update = over_devices(
            lambda state, _, batch, key: made.update(state, batch, key), devices=jax.devices()[:1]
        )
        key = jax.random.key(0)
        batch = {"image": jnp.zeros((512, 64)), "caption": jnp.ones((512, 20), jnp.int32)}
        program = update.lower(jax.eval_shape(made.init, key), (), batch, key).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert temporary(4) < 0.4 * temporary(1)
