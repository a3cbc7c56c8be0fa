"""Why of this class and not of that: against all captions of a tiny vocabulary."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.decoding.beam import beam_search
from capjax.decoding.justify import justify
from capjax.models.generator import generator
from capjax.speaker import log_probs

V, D, T, N, CLASSES = 4, 3, 3, 3, 5
TARGET, DISTRACTOR = np.array([0, 3, 4], np.int32), np.array([1, 2, 0], np.int32)
speaker = generator(V, ("features", D), dim=8, concepts=CLASSES)
unseeing = generator(V, ("features", 1), dim=8, concepts=CLASSES)
ENDS = {words: (*words, 0).index(0) for words in itertools.product(range(V), repeat=T)}
CAPTIONS = np.array([words for words, end in ENDS.items() if not any(words[end:])], np.int32)


@pytest.fixture(scope="module")
def params():
    keys = jax.random.split(jax.random.key(3))
    inits = speaker.init, unseeing.init
    return [jax.tree.map(lambda x: 3 * x, jax.jit(i)(k)) for i, k in zip(inits, keys, strict=True)]


IMAGES = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)


read = jax.jit(log_probs, static_argnums=0)


def told(mine, params, images, classes):
    """log p of every caption of every image: float64[N, C]."""
    rows = []
    for image, one in zip(images, classes, strict=True):
        count = len(CAPTIONS)
        context = {"image": np.repeat(image[None], count, 0), "concept": np.full(count, one)}
        rows.append(read(mine, params, context, CAPTIONS).sum(1))
    return np.array(rows, np.float64)


def scores(params, rationality, how):
    seeing, blind = params
    emitter = told(speaker, seeing, IMAGES, TARGET)
    dark = np.zeros((N, 1), np.float32)
    likely, other = (told(unseeing, blind, dark, c) for c in (TARGET, DISTRACTOR))
    if how == "introspective":
        return emitter - (1 - rationality) * told(speaker, seeing, IMAGES, DISTRACTOR)
    if how == "semi-blind":
        return rationality * emitter + (1 - rationality) * (likely - other)
    return likely - (1 - rationality) * other


def search(params, rationality, how, width):
    seeing, blind = params
    options = {"rationality": rationality, "width": width, "max_len": T}
    if how == "blind":
        context = {"image": jnp.zeros((N, 1))}
        return justify(unseeing, blind, context, TARGET, DISTRACTOR, **options)
    ear = (unseeing, blind) if how == "semi-blind" else None
    return justify(speaker, seeing, {"image": IMAGES}, TARGET, DISTRACTOR, blind=ear, **options)


@pytest.mark.parametrize("how", ["introspective", "semi-blind", "blind"])
@pytest.mark.parametrize("rationality", [0.0, 0.4])
def test_a_beam_as_wide_as_the_search_finds_all_captions_in_order(params, rationality, how):
    width = len(CAPTIONS)
    found = jax.jit(lambda p: search(p, rationality, how, width))(params)
    want = scores(params, rationality, how)
    index = {tuple(words): c for c, words in enumerate(CAPTIONS.tolist())}
    for i in range(N):
        order = [index[tuple(words)] for words in np.asarray(found.words[i]).tolist()]
        assert sorted(order) == list(range(width))
        np.testing.assert_allclose(found.log_prob[i], want[i][order], atol=2e-5)
        np.testing.assert_allclose(found.log_prob[i], np.sort(want[i])[::-1], atol=2e-5)


@pytest.mark.parametrize("how", ["introspective", "semi-blind"])
def test_full_rationality_is_beam_search_to_the_bit(params, how):
    got = search(params, 1.0, how, 3)
    context = {"image": IMAGES, "concept": TARGET}
    plain = beam_search(speaker, params[0], context, width=3, max_len=T)
    np.testing.assert_array_equal(got.words, plain.words)
    np.testing.assert_array_equal(got.log_prob, plain.log_prob)


@pytest.mark.parametrize("how", ["introspective", "semi-blind"])
def test_what_does_not_fit_is_named(params, how):
    with pytest.raises(ValueError, match=r"rationality=1\.5"):
        search(params, 1.5, how, 3)
    with pytest.raises(ValueError, match="width=0"):
        search(params, 0.5, how, 0)
