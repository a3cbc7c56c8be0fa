"""Self-critical training: its gradient is the policy gradient, its rewards are what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from enumerated import every_caption
from pycocoevalcap.cider.cider import Cider

from capjax.data.vocabulary import Vocabulary, tokenize
from capjax.decoding.noise import Noise
from capjax.judging import judge, listen
from capjax.metrics import cider_d, ngram_table, pack_references
from capjax.models.evaluator import evaluator
from capjax.models.generator import generator
from capjax.models.listener import listener
from capjax.objectives.rewards import (
    cider_reward,
    evaluator_reward,
    listener_reward,
    self_retrieval_reward,
)
from capjax.objectives.self_critical import self_critical
from capjax.parallel.devices import over_devices
from capjax.speaker import SENTENCE, log_probs
from capjax.training.stages.self_critical import packed_references

V, D, T, B = 3, 2, 3, 2
BATCHES = 1500  # independent gradients
speaker = generator(V, ("features", D), dim=4, dropout=0.0)
IMAGES = jax.random.normal(jax.random.key(3), (B, D))
REFERENCES = jnp.array([[[2, 2, 0], [2, 0, 0]], [[1, 2, 0], [1, 2, 2]]], jnp.int32)
TABLE = ngram_table(REFERENCES)
PACKED = pack_references(REFERENCES, TABLE, count_end=True)
BATCH = {"image": IMAGES, "references": PACKED}


@pytest.fixture(scope="module")
def params():
    return jax.tree.map(lambda x: 2 * x, jax.jit(speaker.init)(jax.random.key(1)))


@pytest.mark.parametrize("count_end", [False, True])
def test_paragraphs_are_rewarded_as_the_official_measure_reads_their_texts(count_end):
    """Which sees no full stops. Empty sentences, one word, nothing said, cut at the last place."""
    texts = ["a dog runs. a cat sits.", "the red dog sits. it runs. a dog.", "a cat.", "it sits."]
    words = Vocabulary.build(texts, min_count=1, sentences=True)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(words), (4, 60, 9)).astype(np.int32)
    drawn[:, 0], drawn[:, 1], drawn[:, 2, :4] = 0, 2, [5, 2, 2, 0]
    drawn[:, 30:] = np.where(rng.random((4, 30, 9)) < 0.4, SENTENCE, drawn[:, 30:])
    drawn = np.where(drawn == 1, 3, drawn)  # an unknown word has no text
    drawn[:, 3] = [words.encode(text, 9) for text in texts]
    beside = packed_references([[text] for text in texts], words.ids, count_end)
    reward = jax.jit(cider_reward(beside["table"], SENTENCE))
    got = reward({"references": beside["references"]}, jnp.asarray(drawn))

    def read(text, cut=False):
        return " ".join([*tokenize(text), *(["<end>"] if count_end and not cut else [])])

    cut = (drawn != 0).all(2)
    truth = {i: [read(text)] for i, text in enumerate(texts)}
    expected = np.zeros(cut.shape)
    for j in range(60):
        said = {i: [read(words.decode(drawn[i, j]), cut[i, j])] for i in truth}
        expected[:, j] = Cider().compute_score(truth, said)[1]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert cut.sum() > 20
    assert (drawn == SENTENCE).any(2).sum() > 100
    assert expected.max() > 5


def lengths(batch, captions):
    """A reward that CIDEr-D knows nothing of."""
    return (captions > 0).sum(-1).astype(jnp.float32)


REWARDS = {"cider": (1.0, cider_reward(TABLE)), "length": (0.3, lengths)}


@pytest.fixture(scope="module")
def exact(params):
    """Minus the gradient of the expected reward, a mean over images."""
    captions = jnp.asarray(every_caption(V, T))
    rewards = []
    for i in range(B):
        each = jnp.repeat(REFERENCES[i : i + 1], len(captions), 0)
        reward = cider_d(captions, each, TABLE, count_end=True)
        rewards.append(reward + 0.3 * lengths(None, captions))

    def expected(params):
        total = jnp.float32(0)
        for image, reward in zip(IMAGES, rewards, strict=True):
            context = {"image": jnp.broadcast_to(image, (len(captions), D))}
            log_p = log_probs(speaker, params, context, captions).sum(1)
            total += (jnp.exp(log_p) * reward).sum()
        return -total / B

    return jax.jit(jax.grad(expected))(params)


@pytest.mark.parametrize(
    ("baseline", "samples"),
    [("leave_one_out", 3), pytest.param("greedy", 1, marks=pytest.mark.slow)],
)
def test_the_gradient_is_that_of_the_expected_reward(params, exact, baseline, samples):
    algorithm = self_critical(
        speaker, optax.sgd(1.0), REWARDS, samples=samples, max_len=T, baseline=baseline
    )

    def one(key):
        state = algorithm.init(key, params)
        alone = jax.tree.map(lambda x: x[None], BATCH)
        step = jax.vmap(algorithm.update, (None, 0, None), axis_name="data")
        new = step(state, alone, key)[0]
        return jax.tree.map(lambda old, x: old - x[0], params, new.params)

    many = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(4), BATCHES))
    worst = 0.0
    for got, wanted in zip(jax.tree.leaves(many), jax.tree.leaves(exact), strict=True):
        error = np.std(got, axis=0) / np.sqrt(BATCHES)
        worst = max(worst, float((np.abs(got.mean(0) - wanted) / (error + 1e-6)).max()))
    assert worst < 5.0  # of several hundred numbers, a right one is as far off 1 time in 5,000
    flat = jnp.concatenate([x.reshape(BATCHES, -1) for x in jax.tree.leaves(many)], 1)
    true = jnp.concatenate([x.reshape(-1) for x in jax.tree.leaves(exact)])
    noise = np.linalg.norm(np.std(flat, axis=0)) / np.sqrt(BATCHES)
    assert noise < 0.5 * np.linalg.norm(true)  # or the bound would notice nothing


def test_the_backward_pass_keeps_no_probabilities():
    """The memory of a step does not hold the vocabulary for every word."""
    vocabulary, images, samples, steps = 4_000, 64, 4, 16
    wide = generator(vocabulary, ("features", D), dim=4, dropout=0.0)
    algorithm = self_critical(
        wide, optax.sgd(0.1), {"length": (1.0, lengths)}, samples=samples, max_len=steps
    )
    step = jax.jit(jax.vmap(algorithm.update, (None, 0, None), axis_name="data"))
    state = jax.eval_shape(lambda k: algorithm.init(k, wide.init(k)), jax.random.key(0))
    batch = {"image": jax.ShapeDtypeStruct((1, images, D), jnp.float32)}
    compiled = step.lower(state, batch, jax.random.key(1)).compile()
    everything = images * samples * steps * vocabulary * 4
    # What is there is one chunk of words, and its gradient.
    assert compiled.memory_analysis().temp_size_in_bytes < 0.5 * everything


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0, 3])
def test_an_update_is_the_same_on_one_device_and_on_four(noise):
    talker = generator(V, ("features", D), dim=4, noise=noise, dropout=0.5)
    ear = listener(V, ("features", D), dim=4)
    judged = jax.jit(ear.init)(jax.random.key(2))
    rewards = REWARDS | {"self_retrieval": (1.0, self_retrieval_reward(ear, judged, 20.0))}
    algorithm = self_critical(
        talker,
        optax.sgd(0.1),
        rewards,
        samples=2,
        max_len=T,
        likelihood=0.5,
        noise=Noise(noise),
        dropout=True,
        average=0.9,
    )
    rng = np.random.default_rng(0)
    references = jnp.asarray(rng.integers(1, V, (8, 2, T)), jnp.int32)
    batch = {
        "image": jnp.asarray(rng.normal(size=(8, D)), jnp.float32),
        "distractors": jnp.asarray(rng.normal(size=(8, 2, D)), jnp.float32),
        "references": pack_references(references, TABLE, count_end=True),
        "caption": references[:, 0],
    }
    found = []
    for devices in (jax.devices()[:1], jax.devices()[:4]):
        state = jax.jit(algorithm.init)(jax.random.key(0), jax.jit(talker.init)(jax.random.key(1)))
        step = over_devices(lambda s, _, b, k: algorithm.update(s, b, k), devices=devices)
        found.append(jax.tree.map(np.asarray, step(state, (), batch, jax.random.key(5))))
    for one, four in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(one, four, rtol=2e-5, atol=2e-6)


def alone(reward, batch, captions):
    """A reward on one device."""
    mapped = jax.vmap(lambda b: reward(b, captions), axis_name="data")
    return jax.jit(mapped)(jax.tree.map(lambda x: x[None], batch))[0]


def test_rewards_by_a_judge_are_its_verdicts():
    rng = np.random.default_rng(1)
    captions = jnp.asarray(rng.integers(0, V, (B, 4, T)), jnp.int32)
    critic = evaluator(V, ("features", D), dim=4)
    judged = jax.tree.map(lambda x: 3 * x, jax.jit(critic.init)(jax.random.key(2)))
    got = alone(evaluator_reward(critic, judged), BATCH, captions)
    read = jax.jit(judge, static_argnums=0)
    for s in range(4):
        logits = read(critic, judged, {"image": IMAGES}, captions[:, s])
        np.testing.assert_allclose(got[:, s], jax.nn.sigmoid(logits), rtol=1e-5)

    ear = listener(V, ("features", D), dim=4)
    heard = jax.jit(ear.init)(jax.random.key(2))
    others = jnp.asarray(rng.normal(size=(B, 3, D)), jnp.float32)
    batch = BATCH | {"distractors": others}
    told = alone(listener_reward(ear, heard), batch, captions)
    hear = jax.jit(listen, static_argnums=0)
    hinge = alone(self_retrieval_reward(ear, heard, 2.0), batch, captions)
    for s in range(4):
        rest = jnp.stack([IMAGES[::-1], *jnp.moveaxis(others, 1, 0)], 1)
        contexts = {"image": jnp.concatenate([IMAGES[:, None], rest], 1)}
        log_p = hear(ear, heard, contexts, captions[:, s])
        np.testing.assert_allclose(told[:, s], log_p[:, 0], rtol=1e-4, atol=1e-5)
        lead = np.asarray(log_p[:, :1] - log_p[:, 1:]).min(1)  # log-odds are score differences
        np.testing.assert_allclose(hinge[:, s], -np.maximum(2 - lead, 0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options", [{"baseline": "mean"}, {"samples": 1}, {"samples": 0, "baseline": "greedy"}]
)
def test_settings_that_do_not_fit(options):
    with pytest.raises(ValueError, match=r"baseline=|samples="):
        self_critical(speaker, optax.sgd(0.1), REWARDS, **options)
