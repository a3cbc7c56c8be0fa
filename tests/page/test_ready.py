"""What the page answers is what the library says, and no move of a slider compiles anything."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest

from capjax.decoding.speaking import speak_all
from capjax.decoding.telling_apart import Teller, tell_apart
from capjax.evaluation.verdicts import Judge
from capjax.judging import judge, listen
from capjax.models.encoders import pixels
from capjax.models.listener import listener
from capjax.page.answers import Answers, Voice
from capjax.page.heard import Heard
from capjax.page.pictures import Album, Picture, drawn, words_of
from capjax.page.ready import MOST_DRAWN, How, Ready
from capjax.run import open_run

ENCODERS = {"pixels64": pixels(64)}
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def ready(trained):
    return Ready("a run", open_run(trained))


@pytest.fixture(scope="module")
def ear(ready):
    """A listener that has learnt nothing, in the run's own words."""
    words = ready.run.vocabulary
    heard = listener(len(words), ("features", 3), dim=8)
    params = jax.jit(heard.init)(jax.random.key(3))
    return Heard("the listener of it", Judge(heard, params, words, 5, picks=True), "colour")


def picture(image):
    return Picture("one", image, {"pixels64": image, "colour": colour(image)})


def colour(image):
    """What the listener sees."""
    return np.float32(image.mean((0, 1)) / 9)


def said(ready, decoding, key=None):
    run = ready.run
    common = {"max_len": 5, "forbid_unknown": True}
    spoken = speak_all(run.speaker, run.params, IMAGES[:1], {**decoding, **common}, key=key)
    words, log_prob = next(spoken)
    texts = [run.vocabulary.decode(ids) for ids in words[0]]
    return texts, log_prob[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "decoding"),
    [
        (lambda r: r.beam(IMAGES[0]), {"method": "beam", "width": 3, "samples": 3}),
        (
            lambda r: r.diverse(IMAGES[0], 0.7),
            {"method": "beam", "width": 6, "groups": 3, "samples": 6, "diversity": 0.7},
        ),
        (
            lambda r: r.drawn(IMAGES[0], How(0.7, 0.8, MOST_DRAWN, seed=3)),
            {"method": "sample", "samples": MOST_DRAWN, "temperature": 0.7, "top_p": 0.8},
        ),
    ],
)
def test_plain_captions_are_those_of_speak_all(way, decoding, ready):
    texts, log_prob = said(ready, decoding, jax.random.key(3))
    got = way(ready)
    assert [text for text, _ in got] == texts
    np.testing.assert_allclose([score for _, score in got], log_prob, atol=1e-4)


@pytest.mark.parametrize("rationality", [0.3, pytest.param(0.0, marks=pytest.mark.slow), 1.0])
def test_captions_that_tell_apart_are_those_of_tell_apart(rationality, ready):
    run = ready.run
    decoding = {"method": "beam", "width": 3, "max_len": 5, "forbid_unknown": True}
    rows = np.array([[1, 2]])
    spoken = tell_apart(
        run.speaker,
        run.params,
        IMAGES[:1],
        rows,
        decoding,
        teller=Teller(rationality=rationality),
        pool=IMAGES,
    )
    words, _ = next(spoken)
    got = ready.apart(IMAGES[0], IMAGES[1:3], rationality)
    assert got.text == run.vocabulary.decode(words[0, 0])
    assert [w for w in got.shaded.words if w != "(end)"] == got.text.split()


def test_no_move_of_a_slider_compiles_anything(ready, ear):
    voice = Voice(ready, ear, ear)
    answers = Answers([voice], ENCODERS, [])
    one, other = picture(IMAGES[0]), [picture(IMAGES[1]), picture(IMAGES[2])]
    compiled = []

    def listening(event, duration, **about):
        if "backend_compile" in event:
            compiled.append(event)

    def move(at):
        answers.captions(one, How(0.3 + at, 1 - at / 2, 1 + int(9 * at), at, int(9 * at)))
        return answers.told_apart(one, other, at)

    jax.monitoring.register_event_duration_secs_listener(listening)
    try:
        move(0.5)
        assert compiled
        compiled.clear()
        pages = {move(at) for at in (0.0, 0.25, 0.75, 1.0)}
    finally:
        jax.monitoring.unregister_event_duration_listener(listening)
    assert not compiled
    assert len(pages) == 4


def test_bars_are_the_listeners_choice(ear):
    pictures = [picture(image) for image in IMAGES[:3]]
    text = "a red wall"
    captions = ear.judge.read([text])
    heard, params = ear.judge.evaluator, ear.judge.params
    colours = np.stack([colour(image) for image in IMAGES[:3]])
    expected = jax.jit(partial(listen, heard))(params, {"image": colours[None]}, captions)
    np.testing.assert_allclose(ear.chooses(pictures, text), np.exp(expected[0]), atol=1e-5)
    alone = jax.jit(partial(judge, heard))(params, {"image": colours[:1]}, captions)
    np.testing.assert_allclose(ear.scores(pictures, [text])[0, 0], alone[0], atol=1e-5)


def test_who_sees_features_made_elsewhere_says_so(ready):
    run = ready.run
    data = dataclasses.replace(run.recipe.data, encoder="files:features")
    blind = Ready("blind", run._replace(recipe=dataclasses.replace(run.recipe, data=data)))
    answers = Answers([Voice(blind, None, None)], {}, [])
    page = answers.captions(picture(IMAGES[0]), How())
    assert "features that were made elsewhere, and takes no photos" in page


def test_a_scene_is_told_from_its_near_twins():
    answers = Answers([], ENCODERS, [])
    one = drawn(7, ENCODERS)
    twins = answers.look_alikes(one)
    assert [twin.scene for twin in twins] == list(one.twins)
    assert all((twin.look != one.look).any() for twin in twins)
    np.testing.assert_array_equal(drawn(7, ENCODERS).look, one.look)


def test_images_are_alike_whose_people_say_the_same():
    captions = (("a red wall",), ("a dog runs",), ("a red wall", "a wall"), ("a red house",))
    split = type("", (), {"ids": ("0", "1", "2", "3"), "captions": captions})
    album = Album("some", split, {}, [words_of(texts) for texts in captions])
    assert album.alike(captions[0], 2, but="0") == [2, 3]
    assert album.alike(["a dog"], 1) == [1]
