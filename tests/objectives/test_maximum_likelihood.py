"""Maximum likelihood: one update is the plain formula's, and captions are learnt by heart."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from capjax.decoding.sample import greedy
from capjax.models.dense import DTYPES
from capjax.models.generator import generator
from capjax.objectives import losses
from capjax.objectives.algorithm import decoded
from capjax.objectives.maximum_likelihood import maximum_likelihood, own_words
from capjax.speaker import log_probs, scored, shift

V, D, B, T, RATE = 7, 4, 5, 4, 0.5
FALSE_ALARM = 1e-6  # a right sampler's chance of failing a comparison, were the keys not fixed

# The end first, ragged, cut at T, words after the end.
CAPTIONS = jnp.array([[0, 0, 0, 0], [5, 0, 0, 0], [3, 1, 4, 0], [6, 2, 6, 5], [1, 0, 5, 5]])
speaker = generator(V, ("features", D), dim=8, dropout=0.0)


@pytest.fixture(scope="module")
def params():
    return jax.tree.map(lambda x: 3 * x, jax.jit(speaker.init)(jax.random.key(1)))


@pytest.fixture(scope="module")
def batch():
    return {"image": jax.random.normal(jax.random.key(2), (B, D)), "caption": CAPTIONS}


def on_one_device(update):
    """Gives an update its axis "data", of size 1."""
    mapped = jax.jit(jax.vmap(update, (None, 0, None), out_axes=None, axis_name="data"))
    return lambda state, batch, key: mapped(state, jax.tree.map(lambda x: x[None], batch), key)


@jax.jit
def next_words(params, image, inputs):
    """log p float[N, T, V] of each next word while the words `inputs` are fed in, step by step."""
    memory, carry = speaker.start(params, {"image": image})
    _, hidden = jax.lax.scan(partial(speaker.step, params, memory), carry, inputs.T)
    return jax.nn.log_softmax(jnp.moveaxis(speaker.logits(params, hidden), 0, 1))


def cross_entropy(params, batch, smoothing):
    """-sum_v q(v) log p(v), a mean over the scored words; q is smoothed one-hot."""
    log_p = next_words(params, batch["image"], shift(batch["caption"]))
    q = (1 - smoothing) * jax.nn.one_hot(batch["caption"], V) + smoothing / V
    each = jnp.where(scored(batch["caption"]), -(q * log_p).sum(-1), 0)
    return each.sum() / scored(batch["caption"]).sum().astype(jnp.float32)


def assert_same(got, expected, tolerance=1e-5):
    jax.tree.map(partial(np.testing.assert_allclose, atol=tolerance), got, expected)


def test_the_loss_is_minus_the_sum_over_the_words_and_their_end():
    each = -jnp.arange(1.0, 5.0)
    got = [losses.maximum_likelihood(each, caption) for caption in CAPTIONS]
    np.testing.assert_array_equal(got, [1, 3, 10, 10, 3])


def test_the_loss_of_log_probs_is_the_captions_improbability(params, batch):
    each = jax.jit(partial(log_probs, speaker))(params, {"image": batch["image"]}, CAPTIONS)
    got = jax.vmap(losses.maximum_likelihood)(each, CAPTIONS)
    np.testing.assert_allclose(got, -each.sum(-1), rtol=1e-6)


@pytest.fixture(scope="module")
def algorithms():
    """{label smoothing: an algorithm and its update}, one of them with an average."""
    made = {
        0.0: maximum_likelihood(speaker, optax.sgd(RATE)),
        0.2: maximum_likelihood(speaker, optax.sgd(RATE), label_smoothing=0.2, average=0.9),
    }
    return {share: (a, on_one_device(a.update)) for share, a in made.items()}


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_an_sgd_update_goes_down_the_gradient_of_the_cross_entropy(
    smoothing, algorithms, params, batch, key
):
    algorithm, update = algorithms[smoothing]
    state, metrics = update(algorithm.init(key, params), batch, key)
    formula = jax.jit(jax.value_and_grad(cross_entropy))
    loss, gradient = formula(params, batch, smoothing)
    assert_same(state.params, jax.tree.map(lambda p, g: p - RATE * g, params, gradient))
    assert state.step == 1
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["nll"], formula(params, batch, 0.0)[0], rtol=1e-5)
    squares = sum((np.asarray(g) ** 2).sum() for g in jax.tree.leaves(gradient))
    np.testing.assert_allclose(metrics["gradient_norm"], np.sqrt(squares), rtol=1e-5)


@pytest.mark.parametrize("weight", [5.0, pytest.param(0.0, marks=pytest.mark.slow)])
def test_where_a_sentence_ends_going_on_or_stopping_has_a_weight_of_its_own(weight, params, key):
    """log p(the sentence ends) + weight * log p(2 or 0 | it does), and other words as they were."""
    captions = jnp.array([[5, 2, 6, 0], [2, 2, 0, 0], [3, 1, 4, 6], [0, 2, 2, 2], [6, 6, 6, 2]])
    batch = {"image": jax.random.normal(key, (B, D)), "caption": captions}

    def formula(params):
        log_p = next_words(params, batch["image"], shift(captions))
        said = jnp.take_along_axis(log_p, captions[..., None], -1)[..., 0]
        ends = jnp.logaddexp(log_p[..., 0], log_p[..., 2])
        heavy = ends + weight * (said - ends)
        each = jnp.where((captions == 0) | (captions == 2), heavy, said)
        real = scored(captions)
        return -jnp.where(real, each, 0).sum() / real.sum().astype(jnp.float32)

    algorithm = maximum_likelihood(speaker, optax.sgd(RATE), stop_weight=weight)
    state, metrics = on_one_device(algorithm.update)(algorithm.init(key, params), batch, key)
    loss, gradient = jax.jit(jax.value_and_grad(formula))(params)
    assert_same(state.params, jax.tree.map(lambda p, g: p - RATE * g, params, gradient), 2e-5)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["nll"], cross_entropy(params, batch, 0.0), rtol=1e-5)


def test_the_average_is_the_weighted_mean_of_all_parameters_so_far(algorithms, params, batch, key):
    """Decay s / (s + 10) at step s weighs parameters by (s + 1)...(s + 9)."""
    algorithm, update = algorithms[0.2]
    state, seen = algorithm.init(key, params), []
    for _ in range(5):
        state, _ = update(state, batch, key)
        seen.append(state.params)
    weights = np.array([np.prod(s + np.arange(1.0, 10)) for s in range(5)])
    weights /= weights.sum()
    mean = jax.tree.map(lambda *p: sum(w * x for w, x in zip(weights, p, strict=True)), *seen)
    assert_same(state.average, mean)
    assert_same(decoded(state), mean)


def test_the_average_decays_once_it_is_old(algorithms, params, batch, key):
    algorithm, update = algorithms[0.2]
    state = algorithm.init(key, params)._replace(step=jnp.int32(1000))
    after, _ = update(state, batch, key)
    expected = jax.tree.map(lambda a, p: 0.9 * a + 0.1 * p, params, after.params)
    assert_same(after.average, expected, 1e-6)


def test_without_an_average_the_parameters_are_decoded(params, key):
    state = maximum_likelihood(speaker, optax.sgd(RATE)).init(key, params)
    assert decoded(state) is state.params


@jax.jit
def fed(params, image, captions, rate, key):
    context = {"image": jnp.broadcast_to(image, (len(captions), D))}
    keys = jax.random.split(key, len(captions))
    return own_words(speaker, params, context, captions, keys, rate)


def test_own_words_are_the_captions_at_rate_0_and_the_speakers_at_rate_1(params, key):
    """Drawn from the speaker given its own words before; in between, a share `rate` is drawn."""
    n, length = 20_000, 3
    image = jax.random.normal(key, (D,))
    captions = jnp.tile(jnp.array([5, 6, 2]), (n, 1))  # the last word is never fed in
    taught = fed(params, image, captions, 0.0, key)
    np.testing.assert_array_equal(taught, shift(captions))

    # p(a, b): a and b are drawn with probability rate, else 5 and 6.
    pairs = jnp.stack([jnp.zeros(V, jnp.int32), jnp.arange(V)], 1)
    log_p = next_words(params, jnp.broadcast_to(image, (V, D)), pairs)
    first, second = np.exp(np.asarray(log_p, np.float64)).swapaxes(0, 1)
    for rate in 1.0, 0.3:
        words = np.asarray(fed(params, image, captions, rate, key))
        assert words.shape == (n, length)
        assert (words[:, 0] == 0).all()
        p_first = rate * first[0] + (1 - rate) * np.eye(V)[5]
        p_second = rate * second + (1 - rate) * np.eye(V)[6]
        expected = (p_first[:, None] * p_second).reshape(-1) * n
        seen = np.bincount(words[:, 1] * V + words[:, 2], minlength=V * V)
        rare = expected < 5
        expected = np.append(expected[~rare], expected[rare].sum())
        seen = np.append(seen[~rare], seen[rare].sum())
        assert seen[expected == 0].sum() == 0
        seen, expected = seen[expected > 0], expected[expected > 0]
        statistic = ((seen - expected) ** 2 / expected).sum()
        assert stats.chi2.sf(statistic, len(expected) - 1) > FALSE_ALARM


@pytest.mark.parametrize(
    "dtype", [x if x == "float32" else pytest.param(x, marks=pytest.mark.slow) for x in DTYPES]
)
def test_eight_captions_are_learnt_by_heart(dtype, key):
    """The loss goes to nearly nothing, and the averaged speaker recites them."""
    learner = generator(V, ("features", D), dim=16, dropout=0.1, dtype=dtype)
    batch = {
        "image": jax.random.normal(key, (8, D)),
        "caption": jax.random.randint(key, (8, T), 1, V).at[::2, 2:].set(0),
    }
    algorithm = maximum_likelihood(learner, optax.adam(0.03), average=0.9)
    update, state = on_one_device(algorithm.update), jax.jit(algorithm.init)(key)
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam raises a float to an integer
        for step in range(120):
            state, metrics = update(state, batch, jax.random.fold_in(key, step))
    assert metrics["nll"] < 0.1
    context = {"image": batch["image"]}
    assert (greedy(learner, decoded(state), context, max_len=T).words == batch["caption"]).all()
