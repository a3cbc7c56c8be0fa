"""Paragraphs of scenes: every sentence true, most objects named, images shared with `scenes`."""

from pathlib import Path

import numpy as np
import pytest

from capjax.data import Vocabulary, scenes
from capjax.data.contents import read_contents
from capjax.data.prepare import prepare
from capjax.data.scenes.builder import example, paragraphs
from capjax.data.sentences import sentence_words, sentences
from capjax.models.encoders import encoder_named

SMALL = {"train": 6, "val": 2, "test": 2}
COUNT = 150
VERSION_1_PARAGRAPH = (
    "a picture of three objects on white. there is a purple diamond."
    " there is a medium brown star on the right."
)


@pytest.fixture(scope="module")
def written() -> list[tuple[dict, list[str]]]:
    """Scenes, and the paragraphs on each."""
    return [(example("train", i)["scene"], paragraphs("train", i)) for i in range(COUNT)]


def test_all_that_people_write_at_length_is_true(written):
    for scene, texts in written:
        assert len(set(texts)) == len(texts) == 5
        for text in texts:
            assert scenes.holds(text, scene), (text, scene)
            assert scenes.contradictions(text) == []
            assert scenes.false_words(text, scene) == ()
            assert 3 <= len(scenes.true_sentences(text, scene)) <= 5


def test_people_name_most_objects_but_not_all_and_say_little_twice(written):
    every = [(text, scene) for scene, texts in written for text in texts]
    of = {n: [] for n in (1, 2, 3, 4)}
    for text, scene in every:
        of[len(scene["objects"])].append(scenes.covered(text, scene))
    shares = [np.mean(of[n]) for n in (1, 2, 3, 4)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.99
    assert 0.6 < shares[3] < 0.85
    said = [sentences(text) for text, _ in every]
    assert np.mean([len(each) - len(set(each)) for each in said]) < 0.01
    words = [sum(map(len, sentence_words(text))) for text, _ in every]
    assert 23 < np.mean(words) < 29
    assert max(words) < 60
    known = {word for text, _ in every for one in sentence_words(text) for word in one}
    assert 60 <= len(known) <= 70


def test_the_version_is_raised_when_the_paragraphs_change():
    # Caches outlive the code: where this fails, raise CapjaxScenesParagraphs.VERSION.
    assert paragraphs("test", 7)[0] == VERSION_1_PARAGRAPH


def test_images_truth_and_features_are_those_of_scenes(tmp_path: Path):
    flat, long = (load(tmp_path, sizes=SMALL) for load in (scenes.load, scenes.load_paragraphs))
    assert long.sentences
    assert not flat.sentences
    assert flat.fingerprint != long.fingerprint
    assert long == scenes.load_paragraphs(tmp_path, sizes=SMALL)._replace(splits=long.splits)
    for name, split in long.splits.items():
        other = flat.splits[name]
        assert split.captions == tuple(tuple(paragraphs(name, i)) for i in range(SMALL[name]))
        assert split.truth == other.truth
        assert split._replace(captions=(), image=None) == other._replace(captions=(), image=None)
        np.testing.assert_array_equal(split.image(1), other.image(1))
    found = [read_contents(data, tmp_path) for data in (flat, long)]
    assert found[0][1] == found[1][1]
    assert found[0][0]["val"].images == found[1][0]["val"].images
    assert found[0][0]["val"].captions != found[1][0]["val"].captions
    encoder = encoder_named("pixels64")
    for name, data in (("scenes", flat), ("scenes-paragraphs", long)):
        prepare(name, None, tmp_path, encoder, dataset=data)
    assert len(list(tmp_path.rglob("*.npy"))) == len(SMALL)


def test_paragraphs_survive_their_vocabulary(written):
    texts = [text for _, each in written for text in each]
    vocabulary = Vocabulary.build(texts, min_count=1, sentences=True)
    for text in texts:
        assert vocabulary.decode(vocabulary.encode(text, 80)) == text.replace(",", "")
