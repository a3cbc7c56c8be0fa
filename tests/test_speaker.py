"""Speakers: teacher forcing against plain formulas, the fast paths against the plain ones."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax import teacher_forcing
from capjax.decoding.beam import beam_search
from capjax.decoding.sample import greedy, sample
from capjax.models import blocks
from capjax.models.convnet import ConvNet
from capjax.models.dropout import drop
from capjax.models.generator import generator
from capjax.speaker import (
    Speaker,
    caption_score,
    log_probs,
    score,
    scored,
    shift,
    spoken,
    weighted_score,
)

V, D, NOISE, CONCEPTS, DIM, T = 11, 5, 3, 4, 8, 6

# The end first, ragged lengths, cut at T (no end), words after the end (not scored).
CAPTIONS = np.array(
    [
        [0, 0, 0, 0, 0, 0],
        [5, 0, 0, 0, 0, 0],
        [3, 1, 4, 1, 5, 0],
        [9, 2, 6, 5, 3, 5],
        [8, 9, 0, 7, 9, 3],
    ],
    np.int32,
)


read = jax.jit(log_probs, static_argnums=0)


class Model(NamedTuple):
    speaker: Speaker
    params: dict


@pytest.fixture(scope="module")
def nic() -> Model:
    """A generator with all inputs; biases moved away from zero so that they count."""
    speaker = generator(V, ("features", D), dim=DIM, noise=NOISE, concepts=CONCEPTS, dropout=0.3)
    leaves, tree = jax.tree.flatten(jax.jit(speaker.init)(jax.random.key(1)))
    keys = jax.random.split(jax.random.key(2), len(leaves))
    leaves = [x + 0.3 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return Model(speaker, jax.tree.unflatten(tree, leaves))


def make_context(key, n, **more):
    keys = jax.random.split(key, 3)
    return {
        "image": jax.random.normal(keys[0], (n, D)),
        "noise": jax.random.normal(keys[1], (n, NOISE)),
        "concept": jax.random.randint(keys[2], (n,), 0, CONCEPTS),
        **more,
    }


def as_float64(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def naive_log_probs(params, image, noise, concept, caption):
    """Show and Tell on one example, as its equations stand: float64[T]."""
    p = params["params"]
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    dense = lambda name, x: x @ p[name]["kernel"] + p[name]["bias"]  # noqa: E731

    def lstm(x, hidden, cell):
        enter, forget, show, new = np.split(dense("gates", np.concatenate([x, beside, hidden])), 4)
        cell = sigmoid(forget + 1) * cell + sigmoid(enter) * np.tanh(new)
        return sigmoid(show) * np.tanh(cell), cell

    beside = p["concept"]["embedding"][concept]
    first = np.maximum(dense("project", np.concatenate([image, noise])), 0)
    hidden, cell = lstm(first, np.zeros(DIM), np.zeros(DIM))
    out, word = np.zeros(len(caption)), 0
    for t, next_word in enumerate(caption):
        hidden, cell = lstm(p["table"]["embedding"][word], hidden, cell)
        z = dense("words", hidden)
        out[t] = z[next_word] - np.log(np.exp(z).sum())
        if next_word == 0:
            break
        word = next_word
    return out


def naive_rows(params, context, captions):
    params, image, noise = as_float64((params, context["image"], context["noise"]))
    rows = zip(image, noise, np.asarray(context["concept"]), np.asarray(captions), strict=True)
    return np.array([naive_log_probs(params, *row) for row in rows])


def test_words_and_their_end_are_scored_and_the_end_starts_them():
    yes = lambda *rows: np.array([[c == "x" for c in row] for row in rows])  # noqa: E731
    captions = jnp.asarray(CAPTIONS)
    expected = yes("x.....", "xx....", "xxxxxx", "xxxxxx", "xxx...")
    np.testing.assert_array_equal(scored(captions), expected)
    expected = yes("......", "x.....", "xxxxx.", "xxxxxx", "xx....")
    np.testing.assert_array_equal(spoken(captions), expected)
    np.testing.assert_array_equal(shift(captions)[3], [0, 9, 2, 6, 5, 3])


def test_log_probs_are_those_of_a_plain_float64_lstm(nic, key):
    context = make_context(key, len(CAPTIONS))
    got = read(*nic, context, jnp.asarray(CAPTIONS))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, naive_rows(nic.params, context, CAPTIONS), atol=1e-5)
    assert (np.asarray(got)[~np.asarray(scored(jnp.asarray(CAPTIONS)))] == 0).all()


def test_captions_may_be_of_numpy(nic, key):
    context = make_context(key, len(CAPTIONS))
    got = log_probs(*nic, context, CAPTIONS)  # not compiled, as a user calls it
    np.testing.assert_allclose(got, read(*nic, context, jnp.asarray(CAPTIONS)), atol=1e-6)


def test_log_probs_are_those_of_torchs_lstm_cell(nic, key):
    torch = pytest.importorskip("torch", reason="torch is the reference implementation here")
    context = make_context(key, len(CAPTIONS))
    p = jax.tree.map(lambda x: torch.tensor(np.asarray(x)), nic.params["params"])

    def gate_order(x):  # ours is in, forget, out, new; torch's in, forget, new, out
        enter, forget, show, new = x.chunk(4)
        return torch.cat([enter, forget, new, show])

    cell = torch.nn.LSTMCell(2 * DIM, DIM)
    kernel = gate_order(p["gates"]["kernel"].T)
    bias = p["gates"]["bias"].clone()
    bias[DIM : 2 * DIM] += 1  # the forget gate's
    with torch.no_grad():
        cell.weight_ih.copy_(kernel[:, : 2 * DIM])
        cell.weight_hh.copy_(kernel[:, 2 * DIM :])
        cell.bias_ih.copy_(gate_order(bias))
        cell.bias_hh.zero_()
        seen = np.concatenate([context["image"], context["noise"]], 1)
        first = torch.relu(torch.tensor(seen) @ p["project"]["kernel"] + p["project"]["bias"])
        beside = p["concept"]["embedding"][torch.tensor(np.asarray(context["concept"]))]
        state = cell(torch.cat([first, beside], 1))
        expected = []
        for word, target in zip(np.array(shift(CAPTIONS)).T, CAPTIONS.T, strict=True):
            x = p["table"]["embedding"][torch.tensor(word)]
            state = cell(torch.cat([x, beside], 1), state)
            z = torch.log_softmax(state[0] @ p["words"]["kernel"] + p["words"]["bias"], -1)
            expected.append(z[torch.arange(len(z)), torch.tensor(target)])
        expected = torch.stack(expected, 1).numpy() * np.asarray(scored(jnp.asarray(CAPTIONS)))
    got = read(*nic, context, jnp.asarray(CAPTIONS))
    np.testing.assert_allclose(got, expected, atol=1e-5)


def all_captions(vocabulary, length):
    """Every caption once, its end padded."""
    grid = np.stack(np.meshgrid(*[np.arange(vocabulary)] * length, indexing="ij"), -1)
    grid = grid.reshape(-1, length)
    return np.unique(np.where(np.cumprod(grid != 0, 1), grid, 0), axis=0).astype(np.int32)


def test_probabilities_of_all_captions_sum_to_one(key):
    length = 4
    speaker = generator(4, ("features", D), dim=DIM)
    captions = all_captions(4, length)
    context = {"image": jnp.tile(jax.random.normal(key, (1, D)) * 3, (len(captions), 1))}
    total = read(speaker, jax.jit(speaker.init)(key), context, jnp.asarray(captions)).sum(-1)
    assert len(captions) == sum(3**n for n in range(length + 1))
    np.testing.assert_allclose(np.exp(total).sum(), 1, rtol=1e-5)


def test_what_follows_the_end_has_no_influence(nic, key):
    context = make_context(key, len(CAPTIONS))
    ended = np.where(np.asarray(spoken(jnp.asarray(CAPTIONS))), CAPTIONS, 0)
    got = [read(*nic, context, jnp.asarray(c)) for c in (CAPTIONS, ended)]
    np.testing.assert_array_equal(*got)


def test_a_prefix_has_the_log_probs_of_the_whole(nic, key):
    """A caption cut at T scores its T words and nothing else."""
    context = make_context(key, len(CAPTIONS))
    whole = read(*nic, context, jnp.asarray(CAPTIONS))
    cut = read(*nic, context, jnp.asarray(CAPTIONS[:, :3]))
    np.testing.assert_allclose(cut, whole[:, :3], atol=1e-6)


def test_several_captions_an_image_are_scored_as_if_the_image_were_repeated(nic, key):
    captions = jnp.asarray(np.stack([CAPTIONS, CAPTIONS[::-1], CAPTIONS], 1))  # [5, 3, T]
    context = make_context(key, 5)
    read_several = jax.jit(score, static_argnums=0)
    together = read_several(nic.speaker, nic.params, context, shift(captions), captions)[0]
    repeated = jax.tree.map(lambda x: jnp.repeat(x, 3, 0), context)
    apart = read(nic.speaker, nic.params, repeated, captions.reshape(15, T))
    np.testing.assert_allclose(together.reshape(15, T), apart, atol=1e-6)


def test_one_word_at_a_time_gives_the_log_probs(nic, key):
    keys = jax.random.split(key, len(CAPTIONS))
    for context in make_context(key, len(CAPTIONS)), make_context(key, len(CAPTIONS), dropout=keys):
        captions = jnp.asarray(CAPTIONS)
        step = jax.jit(nic.speaker.step)
        memory, carry = jax.jit(nic.speaker.start)(nic.params, context)
        got = []
        for word, target in zip(shift(captions).T, captions.T, strict=True):
            carry, hidden = step(nic.params, memory, carry, word)
            z = jax.nn.log_softmax(nic.speaker.logits(nic.params, hidden))
            got.append(jnp.take_along_axis(z, target[:, None], 1)[:, 0])
        got = jnp.where(scored(captions), jnp.stack(got, 1), 0)
        np.testing.assert_allclose(read(*nic, context, captions), got, atol=1e-5)


def compiled_gradients(speaker):
    """Log-probs, and gradients of their weighted sum wrt. all parameters, the image and noise."""

    def f(params, image, noise, context, captions, weights):
        context = context | {"image": image, "noise": noise}
        out = log_probs(speaker, params, context, captions)
        return (out * weights).sum(), out

    f = jax.jit(jax.value_and_grad(f, (0, 1, 2), has_aux=True))

    def run(params, context, captions, weights):
        (_, out), gradients = f(
            params, context["image"], context["noise"], context, captions, weights
        )
        return out, gradients

    return run


def assert_close(got, expected, tolerance):
    """Each leaf within tolerance of its own largest entry."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(expected), strict=True
    ):
        scale = np.abs(y).max()
        assert scale > 0, jax.tree_util.keystr(path)
        np.testing.assert_allclose(
            x, y, atol=tolerance * scale, rtol=0, err_msg=jax.tree_util.keystr(path)
        )


@pytest.fixture(scope="module")
def plain_scan(nic):
    """13 examples with random words (lengths from 0 to cut at T), read by the plain scan."""
    keys = jax.random.split(jax.random.key(3), 4)
    context = make_context(keys[0], 13, dropout=jax.random.split(keys[1], 13))
    captions = jax.random.randint(keys[2], (13, T), 0, V)
    weights = jax.random.normal(keys[3], (13, T))
    plain = Model(nic.speaker._replace(recite=None), nic.params)
    values_and_gradients = compiled_gradients(plain.speaker)

    def first(n):
        counted = jnp.where((jnp.arange(13) < n)[:, None], weights, 0)
        out, (params, *seen) = values_and_gradients(plain.params, context, captions, counted)
        given = jax.tree.map(lambda x: x[:n], (context, captions, weights))
        return given, (out[:n], (params, *(x[:n] for x in seen)))

    return first


# In blocks of 4 rows, none of these fills the last one.
@pytest.mark.parametrize("n", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 13))])
def test_recite_and_the_plain_scan_agree_in_values_and_gradients(
    n, plain_scan, nic, form, monkeypatch
):
    """Under dropout; the plain scan of the first n rows is that of all with no weight on others."""
    monkeypatch.setattr(blocks, "ROWS", 4)
    given, expected = plain_scan(n)
    got = compiled_gradients(nic.speaker)(nic.params, *given)
    np.testing.assert_allclose(got[0], expected[0], atol=1e-6)
    assert_close(got[1], expected[1], 1e-5)


@pytest.mark.slow
def test_gradients_are_the_finite_differences_of_the_plain_lstm(nic, key):
    """Along a random direction in each parameter, the image and the noise; in float64."""
    context = make_context(key, len(CAPTIONS))
    weights = np.random.default_rng(0).normal(size=CAPTIONS.shape)
    given = nic.params, context, jnp.asarray(CAPTIONS), jnp.asarray(weights, jnp.float32)
    _, gradients = compiled_gradients(nic.speaker)(*given)
    point = as_float64((nic.params, context["image"], context["noise"]))
    leaves, tree = jax.tree.flatten(point)

    def f(leaves):
        params, image, noise = jax.tree.unflatten(tree, leaves)
        there = context | {"image": image, "noise": noise}
        return (naive_rows(params, there, CAPTIONS) * weights).sum()

    for i, gradient in enumerate(jax.tree.leaves(gradients)):
        direction = np.random.default_rng(i).normal(size=leaves[i].shape)
        before, after = (
            [x + e * direction if j == i else x for j, x in enumerate(leaves)]
            for e in (-1e-5, 1e-5)
        )
        slope = (f(after) - f(before)) / 2e-5
        bound = 1e-5 * np.abs(gradient * direction).sum() + 1e-6
        assert abs((gradient * direction).sum() - slope) < bound


def test_gradients_of_the_mean_over_the_vocabulary_are_those_of_log_softmax(key, form):
    """Both outputs of word_log_probs, in more than one chunk, with some words not wanted."""
    keys = jax.random.split(key, 6)
    hidden = jax.random.normal(keys[0], (100, T, DIM))
    params = {"w": jax.random.normal(keys[1], (DIM, V)), "b": jax.random.normal(keys[2], (V,))}
    targets = jax.random.randint(keys[3], (100, T), 0, V)
    real = jax.random.bernoulli(keys[4], 0.7, (100, T))
    weights = jax.random.normal(keys[5], (2, 100, T))

    def logits(params, hidden):
        z = jnp.einsum("...x,xv->...v", hidden, params["w"])
        return z + jnp.broadcast_to(params["b"], z.shape)

    def fast(params, hidden):
        out = teacher_forcing.word_log_probs(logits, params, hidden, targets, real, mean=True)
        return (jnp.stack(out) * weights).sum(), jnp.stack(out)

    def plain(params, hidden):
        z = jax.nn.log_softmax(logits(params, hidden))
        out = jnp.take_along_axis(z, targets[..., None], -1)[..., 0], z.mean(-1)
        out = jnp.where(real[None], jnp.stack(out), 0)
        return (out * weights).sum(), out

    def at_once(params, hidden):
        total, out = teacher_forcing.weighted_log_prob(
            logits, params, hidden, targets, real, *weights
        )
        return total, jnp.stack(out)

    got, once, expected = (
        jax.jit(jax.value_and_grad(f, (0, 1), has_aux=True))(params, hidden)
        for f in (fast, at_once, plain)
    )
    for found in (got, once):
        np.testing.assert_allclose(found[0][0], expected[0][0], rtol=1e-5)
        np.testing.assert_allclose(found[0][1], expected[0][1], atol=1e-5)
        assert_close(found[1], expected[1], 1e-5)


@pytest.mark.parametrize("each", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_weighted_score_and_its_gradient_are_those_of_the_scores(each, nic, key):
    """Of one or several captions an image, scaled by what comes after it."""
    keys = jax.random.split(key, 3)
    context = make_context(keys[0], 4, dropout=jax.random.split(keys[1], 4))
    captions = jax.random.randint(keys[2], (4, each, T), 0, V)
    captions = captions[:, 0] if each == 1 else captions
    weights = jax.random.normal(key, captions.shape)
    even = jnp.float32(0.3)

    def apart(params):
        chosen, mean = score(nic.speaker, params, context, shift(captions), captions, True)
        return jnp.tanh((weights * chosen).sum() + even * mean.sum()), chosen

    def at_once(params):
        total, (chosen, _) = weighted_score(
            nic.speaker, params, context, shift(captions), captions, weights, even
        )
        return jnp.tanh(total), chosen

    expected, got = (
        jax.jit(jax.value_and_grad(f, has_aux=True))(jax.tree.map(lambda x: 0.1 * x, nic.params))
        for f in (apart, at_once)
    )
    np.testing.assert_allclose(got[0][0], expected[0][0], rtol=1e-5)
    np.testing.assert_allclose(got[0][1], expected[0][1], atol=1e-5)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), got[1], expected[1])


@pytest.mark.parametrize(
    ("rows", "each"),
    [
        (T, 3),
        *(
            pytest.param(*s, marks=pytest.mark.slow)
            for s in [(T, 1), (10, 1), (10, 3), (384, 1), (384, 3)]
        ),
    ],
)
def test_a_function_of_whole_captions_and_its_gradient(each, rows, nic, key, monkeypatch):
    """Chunks of whole captions, one or several or all in each; ends and cut captions among them."""
    monkeypatch.setattr(teacher_forcing, "ROWS", rows)
    keys = jax.random.split(key, 4)
    context = make_context(keys[0], 5, dropout=jax.random.split(keys[1], 5))
    captions = jnp.concatenate([jnp.asarray(CAPTIONS)[:, None]] * each, 1)
    captions = jnp.where(jax.random.uniform(keys[2], captions.shape) < 0.2, 2, captions)
    captions = captions[:, 0] if each == 1 else captions
    beside = jax.random.normal(keys[3], (*captions.shape[:-1], 2))

    def value(log_p, beside):
        return beside[0] * jax.nn.softplus(0.3 * log_p + beside[1])

    def apart(params):
        told = score(nic.speaker, params, context, shift(captions), captions)[0].sum(-1)
        each_one = value(told.reshape(-1), beside.reshape(-1, 2).T)
        return jnp.tanh(each_one.sum()), told

    def at_once(params):
        total, told = caption_score(nic.speaker, params, context, captions, value, beside)
        return jnp.tanh(total), told

    expected, got = (
        jax.jit(jax.value_and_grad(f, has_aux=True))(jax.tree.map(lambda x: 0.1 * x, nic.params))
        for f in (apart, at_once)
    )
    np.testing.assert_allclose(got[0][0], expected[0][0], rtol=1e-5)
    np.testing.assert_allclose(got[0][1], expected[0][1], rtol=1e-5)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), got[1], expected[1])


def hidden_states(model, context, captions):
    """float[N, T, H], by step."""
    step = jax.jit(model.speaker.step)
    memory, carry = jax.jit(model.speaker.start)(model.params, context)
    hidden = []
    for word in shift(captions).T:
        carry, h = step(model.params, memory, carry, word)
        hidden.append(h)
    return jnp.stack(hidden, 1)


def test_a_dropout_key_names_its_masks(nic, key):
    """Rows with the same key are masked alike, whatever their place; others, and words, are not."""
    one = make_context(key, 1)
    context = {name: jnp.repeat(x, 4, 0) for name, x in one.items()}
    captions = jnp.full((4, T), 3)
    a, b = jax.random.split(key)
    keys = jnp.stack([a, b, a, jax.random.fold_in(a, 0)])
    hidden = np.asarray(hidden_states(nic, context | {"dropout": keys}, captions))
    np.testing.assert_array_equal(hidden[0], hidden[2])
    masks = hidden != 0
    for row in masks[1], masks[3]:
        assert (row != masks[0]).any()
    assert len({mask.tobytes() for mask in masks[0]}) > 1  # not one mask for all words
    plain = hidden_states(nic, context, captions)
    # The rate is one of 2**16.
    np.testing.assert_allclose(hidden, np.where(masks, plain / 0.7, 0), rtol=2**-16, atol=1e-6)


def test_inputs_are_dropped_by_their_share_and_alike_in_every_reading(key):
    speaker = generator(V, ("features", D), dim=DIM, dropout=0.0, input_dropout=0.4)
    params = jax.jit(speaker.init)(key)
    context = {"image": jax.random.normal(key, (5, D)), "dropout": jax.random.split(key, 5)}
    captions = jax.random.randint(key, (5, T), 0, V)
    plain = speaker._replace(recite=None)

    def total(speaker, params):
        return log_probs(speaker, params, context, captions).sum()

    for got, expected in zip(
        *(
            jax.jit(jax.value_and_grad(total, 1), static_argnums=0)(s, params)
            for s in (speaker, plain)
        ),
        strict=True,
    ):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=2e-5), got, expected)
    keys = jax.random.split(key, 4000)
    kept = np.asarray(drop(keys, jnp.ones((4000, DIM)), 0.4))
    assert set(np.unique(kept > 0)) == {False, True}
    # Four standard deviations of a mean of 4000 * DIM draws.
    bound = 4 * np.sqrt(0.4 * 0.6 / kept.size)
    assert abs((kept > 0).mean() - 0.6) < bound
    assert abs(kept.mean() - 1) < bound / 0.6


def test_dropout_leaves_the_mean_of_the_hidden_state(nic, key):
    """Each unit is h / keep with probability keep: its mean over n keys is h within 5 sigma."""
    n, keep = 4000, 0.7
    one = make_context(key, 1)
    context = {name: jnp.repeat(x, n, 0) for name, x in one.items()}
    context["dropout"] = jax.random.split(key, n)
    dropped = hidden_states(nic, context, jnp.zeros((n, 1), jnp.int32))[:, 0]
    plain = np.asarray(hidden_states(nic, one, jnp.zeros((1, 1), jnp.int32))[0, 0])
    bound = 5 * np.abs(plain) * np.sqrt((1 - keep) / keep / n)
    assert (np.abs(dropped.mean(0) - plain) < bound).all()


def test_regions_are_seen_as_their_mean(key):
    regions = jax.random.normal(key, (3, 7, D))
    of_regions = generator(V, ("regions", 7, D), dim=DIM)
    of_features = generator(V, ("features", D), dim=DIM)
    params = jax.jit(of_regions.init)(key)
    got = read(of_regions, params, {"image": regions}, jnp.asarray(CAPTIONS[2:]))
    mean = {"image": regions.mean(1)}
    expected = read(of_features, params, mean, jnp.asarray(CAPTIONS[2:]))
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_pixels_are_seen_as_the_features_of_the_convolutional_network(key):
    pixels = jax.random.randint(key, (3, 16, 32, 3), 0, 256).astype(jnp.uint8)
    of_pixels = generator(V, ("pixels", 16, 32), dim=DIM)
    of_features = generator(V, ("features", DIM), dim=DIM)
    layers = dict(jax.jit(of_pixels.init)(key)["params"])
    got = read(of_pixels, {"params": layers}, {"image": pixels}, jnp.asarray(CAPTIONS[2:]))
    features = ConvNet(DIM).apply({"params": layers.pop("see")}, pixels)
    context = {"image": features}
    expected = read(of_features, {"params": layers}, context, jnp.asarray(CAPTIONS[2:]))
    np.testing.assert_allclose(got, expected, atol=1e-5)


def plain_speaker(vocabulary) -> Speaker:
    """A speaker without Flax: p(w | image, the words so far) from a leaky memory of words."""

    def init(key):
        a, b, c = jax.random.split(key, 3)
        return {
            "read": jax.random.normal(a, (vocabulary, DIM)),
            "see": jax.random.normal(b, (D, DIM)),
            "say": jax.random.normal(c, (DIM, vocabulary)),
        }

    def start(params, context):
        return context["image"] @ params["see"], jnp.zeros((context["image"].shape[0], DIM))

    def step(params, memory, carry, words):
        carry = 0.5 * carry + params["read"][words]
        return carry, jnp.tanh(carry + memory)

    def logits(params, hidden):
        return hidden @ params["say"]

    return Speaker(init, start, step, logits)


def test_a_speaker_in_plain_jax_is_read_and_decoded(key):
    """Its log-probs are its formula's, and decoders speak by them."""
    vocabulary, length, n = 4, 3, 2
    speaker = plain_speaker(vocabulary)
    params = jax.jit(speaker.init)(key)
    image = jax.random.normal(key, (n, D))
    p, seen = as_float64((params, image))
    captions = all_captions(vocabulary, length)

    def formula(image, caption):
        carry, out, word = 0, [], 0
        for next_word in caption:
            carry = 0.5 * carry + p["read"][word]
            z = np.tanh(carry + image @ p["see"]) @ p["say"]
            out.append(z[next_word] - np.log(np.exp(z).sum()))
            word = next_word
            if word == 0:
                break
        return np.pad(out, (0, length - len(out)))

    for row in range(n):
        context = {"image": jnp.repeat(image[row : row + 1], len(captions), 0)}
        got = read(speaker, params, context, jnp.asarray(captions))
        expected = np.array([formula(seen[row], c) for c in captions])
        np.testing.assert_allclose(got, expected, atol=1e-5)
        total = expected.sum(-1)
        order = np.argsort(-total)
        found = beam_search(
            speaker, params, {"image": image[row : row + 1]}, width=len(captions), max_len=length
        )
        np.testing.assert_array_equal(found.words[0], captions[order])
        np.testing.assert_allclose(found.log_prob[0], total[order], atol=1e-5)
    context = {"image": image}
    spoken_ = [
        greedy(speaker, params, context, max_len=length),
        sample(speaker, params, context, key, max_len=length),
    ]
    for words, log_prob in spoken_:
        again = read(speaker, params, context, words).sum(-1)
        np.testing.assert_allclose(log_prob, again, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"cell": "gru"}, "cell"),
        ({"image": ("photo", 5)}, "image"),
        ({"image": ()}, "image"),
        ({"image": None}, "image"),
        ({"image": ("features", 0)}, "image"),
        ({"image": ("features", 4, 4)}, "image"),
        ({"image": ("pixels", 16, 20)}, "image"),
        ({"vocab_size": 1}, "vocab_size"),
        ({"dim": 0}, "dim"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"noise": -1}, "noise"),
        ({"concepts": -1}, "concepts"),
    ],
)
def test_generator_names_the_argument_that_does_not_fit(change, named):
    with pytest.raises(ValueError, match=named):
        generator(**({"vocab_size": V, "image": ("features", D)} | change))


@pytest.mark.parametrize("lacks", ["image", "noise", "concept"])
def test_a_context_that_lacks_an_input_is_named(lacks, nic, key):
    context = make_context(key, 2)
    del context[lacks]
    with pytest.raises(ValueError, match=lacks):
        nic.speaker.start(nic.params, context)
