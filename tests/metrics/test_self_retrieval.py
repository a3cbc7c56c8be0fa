"""Every caption with every image: the same numbers as reading the pairs one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import capjax
from capjax.metrics import self_retrieval
from capjax.metrics.prefix_tree import prefix_tree
from capjax.metrics.retrieval import retrieval_ranks, retrieve
from capjax.metrics.self_retrieval import pairwise_log_probs

VOCABULARY, STEPS = 6, 5


def captions(rng, count):
    """Captions that share beginnings; some empty, some cut at STEPS words."""
    lengths = rng.integers(0, STEPS + 1, count)
    words = rng.integers(1, VOCABULARY, (count, STEPS))
    return np.where(np.arange(STEPS) < lengths[:, None], words, 0).astype(np.int32)


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_a_tree_holds_each_beginning_once_and_leads_along_each_caption(rows):
    said = captions(np.random.default_rng(0), 200)
    tree = prefix_tree(said, rows)
    beginnings = {()}
    for caption in said:
        ended = [*caption, 0].index(0)
        beginnings |= {tuple(caption[:n]) for n in range(1, min(ended + 1, STEPS))}
    assert tree.prefixes == len(beginnings)
    # What is fed in and what is scored along a caption's path are its own words.
    scored = {}
    for _, _, word, edge, sources, words in zip(*tree.chunks, strict=True):
        out = [(word[s], w) for s, w in zip(sources, words, strict=True) if s >= 0]
        scored |= {int(edge) + e: fed_and_scored for e, fed_and_scored in enumerate(out)}
    assert len(scored) == tree.edges
    for caption, path in zip(said, tree.path, strict=True):
        read = [scored[int(edge)] for edge in path if int(edge) in scored]
        words = [w for w in caption if w] + [0] * (0 in caption)
        assert [word for _, word in read] == words
        assert [fed for fed, _ in read] == [0, *words][: len(words)]


@pytest.mark.parametrize(
    "form", ["cpu", pytest.param("accelerator", marks=pytest.mark.slow)], indirect=True
)
@pytest.mark.parametrize("image", [("features", 3), ("pixels", 16, 16)])
def test_scores_are_those_of_reading_each_pair(image, key, form, monkeypatch):
    monkeypatch.setattr(self_retrieval, "PREFIXES", 8)
    monkeypatch.setattr(self_retrieval, "IMAGES", 4)  # the last block is filled up
    monkeypatch.setattr(self_retrieval, "ON_CPU", 2)
    rng = np.random.default_rng(1)
    speaker = capjax.generator(VOCABULARY, image, dim=8, concepts=2)
    params = jax.jit(speaker.init)(key)
    read = jax.jit(capjax.log_probs, static_argnums=0)
    images = rng.normal(size=(7, 3)).astype(np.float32)
    if image[0] == "pixels":
        images = rng.integers(0, 256, (7, 16, 16, 3)).astype(np.uint8)
    context = {"image": jnp.asarray(images), "concept": jnp.arange(7, dtype=jnp.int32) % 2}
    said = captions(rng, 11)
    scores = pairwise_log_probs(speaker, params, context, said)
    for q, caption in enumerate(said):
        every = jnp.broadcast_to(jnp.asarray(caption), (7, STEPS))
        told = read(speaker, params, context, every).sum(-1)
        np.testing.assert_allclose(scores[q], told, rtol=1e-4, atol=1e-4)


def test_a_speaker_that_names_its_image_finds_it(key):
    """A speaker in plain JAX that says its image's number, and ranks it first."""
    many = 9

    def start(params, context):
        return {}, context["image"]

    def step(params, memory, carry, words):
        return carry, carry

    speaker = capjax.Speaker(lambda key: (), start, step, lambda params, hidden: 20 * hidden)
    context = {"image": jax.nn.one_hot(jnp.arange(many) + 1, many + 1)}
    spoken = capjax.greedy(speaker, (), context, max_len=3).words
    ranks = retrieval_ranks(pairwise_log_probs(speaker, (), context, np.asarray(spoken)))
    np.testing.assert_array_equal(ranks, np.ones(many))

    def backwards(captions, images):
        return -pairwise_log_probs(speaker, (), {"image": images}, captions)

    told, ranks = retrieve(backwards, np.asarray(spoken), context["image"], "wrong")
    np.testing.assert_array_equal(ranks, np.full(many, many))
    assert told["wrong_retrieval_r5@9"] == 0
    assert told["wrong_retrieval_median_rank@9"] == many
