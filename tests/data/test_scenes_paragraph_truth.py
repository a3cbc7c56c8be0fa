"""What a paragraph tells of a scene, against what is found by looking at every small scene."""

from itertools import combinations, combinations_with_replacement, product

import numpy as np
import pytest

from capjax.data.scenes import describe, holds, random_scene
from capjax.data.scenes.contradictions import contradictions, possible
from capjax.data.scenes.language import parse
from capjax.data.scenes.paragraph_truth import covered, named, true_sentences
from capjax.data.scenes.truth import states_truly


def thing(words: str, x: int, y: int) -> dict:
    size, texture, colour, shape = words.split()
    return {"size": size, "texture": texture, "colour": colour, "shape": shape, "x": x, "y": y}


# Two circles side by side at the top, a square under them.
SCENE = {
    "background": "grey",
    "objects": [
        thing("small plain red circle", 12, 14),
        thing("large dotted blue circle", 46, 18),
        thing("medium striped orange square", 30, 48),
    ],
}


@pytest.mark.parametrize(
    ("sentence", "objects"),
    [
        ("a red circle", {0}),
        ("a green circle", set()),  # false
        ("a red dog", set()),
        ("a circle", set()),  # which?
        ("a circle is right of a red circle", {0, 1}),
        ("a circle is above a square", {2}),
        ("a circle and a circle", {0, 1}),
        ("circles", {0, 1}),
        ("two circles and a square", {0, 1, 2}),
        ("there are three shapes on a grey background", set()),
        ("three objects and a square", set()),  # false: there is no fourth
        ("a shape is below a red circle", {0}),
        ("a shape at the bottom", {2}),
        ("some shapes at the top", {0, 1}),
        ("a striped shape", {2}),
    ],
)
def test_which_objects_a_sentence_names(sentence, objects):
    assert named(sentence, SCENE) == objects
    assert covered(f"three stars. {sentence}.", SCENE) == len(objects) / 3


def test_of_a_paragraph():
    text = "there are three shapes. A red circle! a blue star. a dog. A red circle."
    assert true_sentences(text, SCENE) == (True, True, False, False, True)
    assert covered(text, SCENE) == 1 / 3
    assert not holds(text, SCENE)
    assert holds("three shapes. a red circle. a square on grey.", SCENE)
    assert contradictions("a circle on grey. <unk>. two circles on white. a star on grey.") == [
        (0, 2),
        (2, 3),
    ]
    for one in ("three shapes.", ". three shapes.", "three shapes. . ."):  # empty ones count not
        assert holds(one, SCENE)
        assert true_sentences(one, SCENE) == (True,)
    for nothing in ("", " . "):
        assert true_sentences(nothing, SCENE) == ()
        assert (covered(nothing, SCENE), contradictions(nothing)) == (0, [])
        assert not holds(nothing, SCENE)


def test_an_object_is_named_where_the_sentence_were_false_without_it():
    rng = np.random.default_rng(0)
    count = 0
    for _ in range(300):
        scene = random_scene(rng)
        for text in describe(rng, scene):
            stated = parse(text)
            if not all(phrase.attributes or phrase.place for phrase in stated.phrases):
                continue
            objects = scene["objects"]
            without = {
                i
                for i in range(len(objects))
                if not holds(text, {**scene, "objects": objects[:i] + objects[i + 1 :]})
            }
            assert named(text, scene) == without
            count += len(without)
    assert count > 1000


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("two shapes", "three objects"),
        ("one circle", "a red circle and a blue circle"),
        ("one circle", "two circles on the left"),
        ("a circle on white", "a star on grey"),
        ("one circle left of one square", "a square is left of a circle"),
        ("one shape is in the middle", "one shape and a circle on the left"),
        ("one red circle", "a red circle on the left and a red circle on the right"),
        ("four circles", "a square"),
        ("circles and squares", "a star"),
        ("two shapes", "a circle left of a square left of a star"),
        ("one circle at the bottom", "one circle above one star at the top"),
    ],
)
def test_what_cannot_both_be_true(one, other):
    text = f"{one}. {other}."
    alone = [possible(parse(one)), possible(parse(other))]
    assert contradictions(text) == ([(0, 1)] if all(alone) else [])
    assert not possible(parse(one), parse(other))
    assert not possible(parse(other), parse(one))


def test_contradictions_are_those_of_which_no_small_scene_is():
    """Every scene of one to four objects of three shapes, two colours and three places in a row."""
    kinds = [
        thing(f"small plain {colour} {shape}", x, 32)
        for shape, colour, x in product(("circle", "star", "cross"), ("red", "blue"), (16, 32, 48))
    ]
    scenes = [
        {"background": "white", "objects": objects}
        for number in (1, 2, 3, 4)
        for objects in combinations_with_replacement(kinds, number)
    ]
    texts = """
    one shape | two shapes | four shapes | a red circle | one red circle | two red circles
    one shape on the left | two circles | one circle and a star | some stars on the right
    a circle and a circle | a red circle left of a blue circle | one blue circle in the middle
    one star right of one circle | a red shape and a blue shape | one circle left of two stars
    a cross left of one star on the right | three red shapes | a star in the middle
    """
    stated = [parse(text) for line in texts.strip().splitlines() for text in line.split("|")]
    true = np.array([[states_truly(each, scene) for scene in scenes] for each in stated])
    assert true.any(1).all()
    pairs = list(combinations(range(len(stated)), 2))
    found = [possible(stated[i], stated[j]) for i, j in pairs]
    assert found == [(true[i] & true[j]).any() for i, j in pairs]
    assert 20 < found.count(False) < len(pairs) / 2


def test_true_sentences_never_contradict_one_another():
    rng = np.random.default_rng(1)
    for _ in range(150):
        scene = random_scene(rng)
        said = [text for _ in range(3) for text in describe(rng, scene)]
        assert contradictions(". ".join(said)) == []
