"""The report's pictures of where words looked stand beside the words that they are of."""

import re
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from capjax.data import Split, Vocabulary
from capjax.data.scenes import random_scene
from capjax.evaluation import Evaluation
from capjax.models.attention import where_looked
from capjax.models.generator import generator
from capjax.training import where_looked as pictures

TEXTS = {
    False: "two shapes a dog",
    True: "two shapes. a dog. a circle.",
}


@pytest.mark.parametrize("paragraph", [False, True])
def test_each_word_has_the_picture_of_its_own_look(paragraph, monkeypatch):
    text = TEXTS[paragraph]
    vocabulary = Vocabulary.build([text], 1, sentences=paragraph)
    speaker = generator(len(vocabulary), ("regions", 4, 3), cell="att2in", dim=4)
    params = speaker.init(jax.random.key(0))
    images = np.random.default_rng(0).normal(size=(1, 4, 3)).astype(np.float32)
    recipe = SimpleNamespace(cell="att2in", noise=0, decoding={"max_len": 12})
    run = SimpleNamespace(
        recipe=recipe, speaker=speaker, params=params, vocabulary=vocabulary, concepts=()
    )
    scene = random_scene(np.random.default_rng(1))
    truth = ({"scene": scene, "distractors": []},)
    split = Split(("a",), ((text,),), lambda i: np.zeros((8, 8, 3), np.uint8), truth, None)
    kept = []
    monkeypatch.setattr(pictures, "looks", lambda every: kept.extend(every) or "")
    pictures.looks_section(run, split, images, Evaluation({}, [{"id": "a", "caption": text}]))
    (found,) = kept
    words = re.findall(r"\w+|\.", text)
    assert found.words == [*(words[:-1] if paragraph else words), pictures.END]
    ids = vocabulary.encode_all([text], 13)
    looked = np.asarray(where_looked(speaker, params, {"image": images}, ids))[0]
    np.testing.assert_allclose(
        np.reshape(found.weights, (-1, 4)), looked[: len(found.words)], atol=1e-6
    )
    if paragraph:  # "a dog" states nothing of a scene
        assert {3, 4} <= set(found.false)
        assert not {2, 5} & set(found.false)
