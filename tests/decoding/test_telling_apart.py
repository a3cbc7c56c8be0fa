"""Whole sets of images told apart: each as if it were alone, by whichever speaker."""

import jax
import numpy as np
import pytest

from capjax.data import scenes
from capjax.data.split import Split
from capjax.decoding.beam import beam_search
from capjax.decoding.incremental import incremental
from capjax.decoding.reasoning import introspective_speaker, reasoning_speaker
from capjax.decoding.suppressor import emitter_suppressor, together
from capjax.decoding.telling_apart import TELLERS, Teller, tell_apart
from capjax.errors import InputError
from capjax.evaluation.distractors import twins, with_twins
from capjax.models.encoders import pixels
from capjax.models.generator import generator
from capjax.models.listener import listener
from capjax.speaker import log_probs

V, D, T, N, M = 6, 3, 4, 7, 2
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(N, D)).astype(np.float32)
POOL = RNG.normal(size=(20, D)).astype(np.float32)
ROWS = RNG.integers(0, 20, (N, M))
speaker = generator(V, ("features", D), dim=8)
ear = listener(V, ("features", D), dim=8)
BEAM = {"method": "beam", "width": 3, "max_len": T}


@pytest.fixture(scope="module")
def params():
    return jax.tree.map(lambda x: 3 * x, jax.jit(speaker.init)(jax.random.key(0)))


@pytest.fixture(scope="module")
def heard():
    return jax.jit(ear.init)(jax.random.key(1))


def alone(name, params, heard, target, others):
    """What is said of one image, by the public functions."""
    ranked = {"rationality": 0.3, "candidates": 4, "max_len": T}
    if name == "emitter_suppressor":
        return emitter_suppressor(
            speaker, params, target, others, rationality=0.3, width=3, max_len=T
        )
    if name == "introspective":
        return introspective_speaker(speaker, params, target, others, **ranked)
    if name == "reasoning":
        return reasoning_speaker(speaker, params, ear, heard, target, others, **ranked)
    pair = incremental(speaker, M, 0.3)
    return beam_search(pair, params, together(target, others), width=3, max_len=T)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("emitter_suppressor", "reasoning") else pytest.param(name, marks=SLOW)
        for name in TELLERS
    ],
)
def test_each_image_is_told_apart_as_if_alone(name, params, heard, monkeypatch):
    monkeypatch.setattr(
        "capjax.decoding.telling_apart.STREAMS", 12
    )  # batches of 4: the last is not full
    guide = (ear, heard) if name == "reasoning" else None
    teller = Teller(name, 0.3, 4, guide)
    said = list(tell_apart(speaker, params, IMAGES, ROWS, BEAM, teller=teller, pool=POOL))
    words = np.concatenate([words for words, _ in said])[:, 0]
    told = np.concatenate([log_prob for _, log_prob in said])[:, 0]
    of_one = jax.jit(alone, static_argnums=0)
    for i in range(N):
        seen = {"image": IMAGES[i][None]}, {"image": POOL[ROWS[i]][None]}
        one = of_one(name, params, heard, *seen)
        np.testing.assert_array_equal(words[i], one.words[0, 0])
    read = jax.jit(log_probs, static_argnums=0)
    own = read(speaker, params, {"image": IMAGES}, words).sum(1)
    np.testing.assert_allclose(told, own, rtol=1e-4)


def test_more_distractors_than_memory_holds_are_refused_with_the_number_that_fits(params):
    number = 600_000_000
    rows = np.broadcast_to(np.int64(0), (1, number))
    with pytest.raises(InputError, match=r"600000000 distractors of an image need .* fit; give"):
        next(tell_apart(speaker, params, IMAGES[:1], rows, BEAM, pool=POOL))


def test_twins_are_drawn_beside_the_images():
    about = [scenes.random_scene(np.random.default_rng(i)) for i in range(3)]
    others = [scenes.random_distractors(np.random.default_rng(i), s) for i, s in enumerate(about)]
    truth = tuple({"scene": s, "distractors": o} for s, o in zip(about, others, strict=True))
    split = Split(("a", "b", "c"), (("x",),) * 3, lambda i: scenes.draw(about[i]), truth)
    images = np.stack([scenes.draw(scene) for scene in about])
    found = twins(split, 2)
    pool = with_twins(split, 2, images, pixels(64))
    np.testing.assert_array_equal(pool[:3], images)
    for i in range(3):
        for m in range(2):
            np.testing.assert_array_equal(pool[found.rows[i, m]], scenes.draw(others[i][m]))
    with pytest.raises(InputError, match="has 4 near twins"):
        twins(split, 5)
