"""Sampling and greedy decoding, against exact enumeration of a tiny vocabulary."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from capjax.decoding.sample import MANY, greedy, sample
from capjax.models.generator import generator
from capjax.speaker import UNKNOWN, log_probs

V, D, T, N = 5, 4, 3, 20_000
FALSE_ALARM = 1e-6  # a right sampler's chance of failing a comparison, were the keys not fixed

speaker = generator(V, ("features", D), dim=8)
greedy_ = jax.jit(partial(greedy, speaker), static_argnames=("max_len", "forbid_unknown"))
log_probs_ = jax.jit(partial(log_probs, speaker))
step = jax.jit(speaker.step)


@partial(jax.jit, static_argnames=("temperature", "top_k", "top_p", "forbid_unknown"))
def sample_(params, context, key, **options):
    return sample(speaker, params, context, key, max_len=T, **options)


@pytest.fixture(scope="module")
def params():
    """Words far from equally likely, that depend on the image."""
    drawn = jax.jit(speaker.init)(jax.random.key(1))
    return jax.tree.map(lambda x: x * 3, drawn)


def next_words(params, image, inputs):
    """float64[T, V], the distribution of each next word while the words `inputs` are fed in."""
    memory, carry = speaker.start(params, {"image": image[None]})
    out = []
    for word in inputs:
        carry, hidden = step(params, memory, carry, jnp.array([word]))
        z = np.asarray(speaker.logits(params, hidden)[0], np.float64)
        out.append(np.exp(z - z.max()) / np.exp(z - z.max()).sum())
    return np.array(out)


def restricted(p, temperature=1.0, top_k=V, top_p=1.0, forbid_unknown=False):
    """One word's distribution after ban, temperature and truncation."""
    p = p.copy()
    if forbid_unknown:
        p[UNKNOWN] = 0
    p = p ** (1 / temperature)
    p /= p.sum()
    above = p[None] > p[:, None]
    p = np.where((above.sum(1) < top_k) & ((above * p).sum(1) < top_p), p, 0)
    return p / p.sum()


def enumerate_captions(params, image, **options):
    """{caption: its probability when words are drawn one after another}."""
    found = {}

    def extend(words, probability):
        if len(words) == T or 0 in words:
            found[words + (0,) * (T - len(words))] = probability
            return
        p = restricted(next_words(params, image, (0, *words))[-1], **options)
        for word in range(V):
            extend((*words, word), probability * p[word])

    extend((), 1.0)
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"forbid_unknown": True}, marks=pytest.mark.slow),
        pytest.param({"temperature": 0.7, "top_k": 4, "top_p": 0.8}, marks=pytest.mark.slow),
    ],
)
def test_captions_are_as_frequent_as_they_are_probable(options, params, form, key):
    image = jax.random.normal(key, (D,))
    context = {"image": jnp.broadcast_to(image, (N, D))}
    words = np.asarray(sample_(params, context, key, **options).words)
    exact = enumerate_captions(params, image, **options)
    assert sum(exact.values()) == pytest.approx(1)
    found, counts = np.unique(words, axis=0, return_counts=True)
    counts = dict(zip(map(tuple, found.tolist()), counts, strict=True))
    assert set(counts) <= {c for c, p in exact.items() if p > 0}
    expected = np.array([p * N for p in exact.values()])
    seen = np.array([counts.get(c, 0) for c in exact])
    rare = expected < 5
    expected = np.append(expected[~rare], max(expected[rare].sum(), 1e-9))
    seen = np.append(seen[~rare], seen[rare].sum())
    statistic = ((seen - expected) ** 2 / expected).sum()
    assert stats.chi2.sf(statistic, len(expected) - 1) > FALSE_ALARM


def test_log_prob_is_that_of_the_speaker_whatever_the_draw(params, key):
    """Temperature, truncation and ban change which words are drawn, not what they are worth."""
    context = {"image": jax.random.normal(key, (64, D))}
    for options in {}, {"forbid_unknown": True}, {"temperature": 0.7, "top_k": 4, "top_p": 0.8}:
        words, log_prob = sample_(params, context, key, **options)
        assert words.shape == (64, T)
        assert words.dtype == jnp.int32
        expected = log_probs_(params, context, words).sum(-1)
        np.testing.assert_allclose(log_prob, expected, atol=1e-5)


def test_forbidden_words_are_never_spoken(params, key):
    """Not even where the unknown word is by far the likeliest."""
    layers = params["params"]
    bias = layers["words"]["bias"].at[UNKNOWN].set(50.0)
    params = {"params": layers | {"words": layers["words"] | {"bias": bias}}}
    context = {"image": jax.random.normal(key, (64, D))}
    assert (greedy_(params, context, max_len=T).words == UNKNOWN).all()
    assert (greedy_(params, context, max_len=T, forbid_unknown=True).words != UNKNOWN).all()
    assert (sample_(params, context, key, forbid_unknown=True).words != UNKNOWN).all()


def test_greedy_takes_the_likeliest_next_word(params, key):
    context = {"image": jax.random.normal(key, (64, D))}
    words, log_prob = greedy_(params, context, max_len=6)
    lengths = set()
    for image, caption, total in zip(context["image"][:10], words, log_prob, strict=False):
        expected, summed = [], 0.0
        while len(expected) < 6 and 0 not in expected:
            p = next_words(params, image, (0, *expected))[-1]
            expected.append(int(p.argmax()))
            summed += np.log(p.max())
        lengths.add(len(expected))
        np.testing.assert_array_equal(caption, np.pad(expected, (0, 6 - len(expected))))
        np.testing.assert_allclose(total, summed, atol=1e-5)
    assert len(lengths) > 1  # some ended and some did not, or later


def test_a_low_temperature_is_greedy(params, key):
    context = {"image": jax.random.normal(key, (64, D))}
    got = sample_(params, context, key, temperature=1e-4, top_k=V, top_p=1.0)
    expected = greedy_(params, context, max_len=T)
    np.testing.assert_array_equal(got.words, expected.words)
    np.testing.assert_allclose(got.log_prob, expected.log_prob, atol=1e-5)


def test_rows_do_not_influence_one_another(params, key):
    """Greedy captions are those of each image alone; a draw depends on its own image only."""
    image = jax.random.normal(key, (64, D))
    together = greedy_(params, {"image": image}, max_len=6)
    for row in 0, 17, 63:
        alone = greedy_(params, {"image": image[row : row + 1]}, max_len=6)
        np.testing.assert_array_equal(alone.words[0], together.words[row])
        np.testing.assert_allclose(alone.log_prob[0], together.log_prob[row], atol=1e-5)
    drawn = sample_(params, {"image": image}, key)
    changed = sample_(params, {"image": image.at[::2].set(-image[::2])}, key)
    np.testing.assert_array_equal(drawn.words[1::2], changed.words[1::2])


@pytest.mark.parametrize("options", [{}, {"temperature": 0.7, "top_k": 4, "top_p": 0.8}])
def test_with_a_key_a_row_a_caption_does_not_depend_on_other_rows(options, params, key):
    image, keys = jax.random.normal(key, (64, D)), jax.random.split(key, 64)
    words, log_prob = sample_(params, {"image": image}, keys, **options)
    assert len(np.unique(words, axis=0)) > 10
    backwards = sample_(params, {"image": image[::-1]}, keys[::-1], **options)
    np.testing.assert_array_equal(backwards.words[::-1], words)
    for row in range(8):  # alone: fewer steps, and fewer words to draw again
        alone = sample_(params, {"image": image[row : row + 1]}, keys[row : row + 1], **options)
        np.testing.assert_array_equal(alone.words[0], words[row])
        np.testing.assert_allclose(alone.log_prob[0], log_prob[row], atol=1e-5)


@pytest.mark.parametrize("forbid_unknown", [pytest.param(False, marks=pytest.mark.slow), True])
def test_one_program_serves_every_temperature_and_top_p(forbid_unknown, params, key):
    context = {"image": jax.random.normal(key, (64, D))}

    @jax.jit
    def dragged(temperature, top_p):
        options = {"max_len": T, "forbid_unknown": forbid_unknown}
        return sample(
            speaker, params, context, key, temperature=temperature, top_p=top_p, **options
        )

    for temperature, top_p in ((0.5, 0.8), (1.0, 1.0)):
        options = {"temperature": temperature, "top_p": top_p, "forbid_unknown": forbid_unknown}
        expected = sample_(params, context, key, **options)
        got = dragged(jnp.float32(temperature), jnp.float32(top_p))
        np.testing.assert_array_equal(got.words, expected.words)
        np.testing.assert_allclose(got.log_prob, expected.log_prob, atol=1e-5)


def test_the_key_decides_the_draw(params, key):
    context = {"image": jax.random.normal(key, (64, D))}
    first, again = (sample_(params, context, key).words for _ in range(2))
    other = sample_(params, context, jax.random.fold_in(key, 1)).words
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(
    "options",
    [{"temperature": 0.0}, {"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}]
    + [{"max_len": 0}],
)
def test_an_option_out_of_range_is_named(options, params, key):
    (name,) = options
    with pytest.raises(ValueError, match=name):
        sample(speaker, params, {"image": jnp.zeros((1, D))}, key, **options)


def test_greedy_names_a_max_len_below_one(params):
    with pytest.raises(ValueError, match="max_len"):
        greedy(speaker, params, {"image": jnp.zeros((1, D))}, max_len=0)


@pytest.mark.parametrize(
    "form", ["cpu", pytest.param("accelerator", marks=pytest.mark.slow)], indirect=True
)
@pytest.mark.parametrize("way", ["sample", pytest.param("greedy", marks=pytest.mark.slow)])
def test_those_that_go_on_alone_say_what_they_would_have_said(way, form):
    """Of many rows most end early; each speaks as in a batch too small to be thinned out."""
    rows, steps = 300 if form == "cpu" else MANY, 12
    parts = 6 if form == "cpu" else 2
    talker = generator(V, ("regions", 3, D), cell="att2in", dim=8)
    params = jax.jit(talker.init)(jax.random.key(1))
    params = jax.tree.map(lambda x: x * 3, params)
    image = jax.random.normal(jax.random.key(2), (rows, 3, D))
    keys = jax.random.split(jax.random.key(3), rows)

    @jax.jit
    def speak(image, keys):
        if way == "greedy":
            return greedy(talker, params, {"image": image}, max_len=steps)
        return sample(talker, params, {"image": image}, keys, max_len=steps)

    together = speak(image, keys)
    few = [speak(*x) for x in zip(*(jnp.split(x, parts) for x in (image, keys)), strict=True)]
    apart = jax.tree.map(lambda *x: jnp.concatenate(x), *few)
    lengths = np.asarray((together.words > 0).sum(1))
    assert np.median(lengths) < steps / 2 < lengths.max()  # or nothing was thinned out
    np.testing.assert_array_equal(together.words, apart.words)
    np.testing.assert_allclose(together.log_prob, apart.log_prob, rtol=1e-5)
