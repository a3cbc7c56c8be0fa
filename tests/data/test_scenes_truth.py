"""Captions are judged as people judge, and people's captions are true but mostly safe."""

import itertools
from typing import Any

import numpy as np
import pytest

from capjax.data.scenes import describe, holds, identifies, parse, random_distractors, random_scene
from capjax.data.scenes.drawing import BACKGROUNDS, COLOURS, RADII, SHAPES, TEXTURES
from capjax.data.scenes.people import detailed, relational, safe


def thing(words: str, x: int, y: int) -> dict[str, Any]:
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

TRUE = """
a red circle
A red circle.
red circle
circles
an orange square
a orange square !
there is a small circle
there are two circles
two circles and a square
three shapes on grey
three objects on a grey background
on a grey background, there is a red circle and an orange square
one square
some circles at the top
two circles at the top on a grey background
a circle on grey on the left
a picture of a little plain red circle
a dotted large circle with a red circle
a blue spotted big circle
a square, a circle, and a circle
a square and a circle and a shape
a red circle left of a blue circle
a red circle is to the left of a blue circle
a blue circle right of a circle
two circles above a square
a square is below two circles
a square under a red circle and a blue circle
a red circle above an orange square below a blue circle
one red circle on the left
a square at the bottom
an image of a square with a grey background
a blue circle on the right above a square at the bottom
""".strip().splitlines()

FALSE = """
a green circle
a large red circle
a circle on white
one circle
three circles
two shapes
four objects
five shapes
two squares
squares
a red circle and a red circle
a square and two shapes and a circle
a circle and a circle and a circle
two circles and a red circle
a blue circle left of a red circle
a red circle above a blue circle
two circles left of a square
a square at the top
a circle in the middle
a red circle on the right
a green square and a red circle
a circle and a circle and a circle and a circle and a circle and a circle and a circle
""".strip().splitlines()

NOT_CAPTIONS = [
    "", " ", ".", "a", "red", "a red", "circle a", "a circles", "two circle", "a red red circle",
    "a small large circle", "a red blue circle", "a <unk> circle", "<unk>", "a red circle a square",
    "a red circle and", "and a circle", "a circle left of", "a circle on", "on grey", "there is",
    "a circle on grey on grey", "a circle on a grey circle", "the the the", "a red dog",
    "there is there is a circle", "a circle left a square", "a red circle , , a square",
]  # fmt: skip


@pytest.mark.parametrize("text", TRUE)
def test_true_statements_hold(text: str) -> None:
    assert holds(text, SCENE)


@pytest.mark.parametrize("text", FALSE)
def test_false_statements_are_understood_and_do_not_hold(text: str) -> None:
    assert parse(text) is not None
    assert not holds(text, SCENE)


@pytest.mark.parametrize("text", NOT_CAPTIONS)
def test_what_states_nothing_does_not_hold(text: str) -> None:
    assert parse(text) is None
    assert not holds(text, SCENE)


def scenes(count: int, seed: int = 0) -> list[tuple[np.random.Generator, dict[str, Any]]]:
    streams = [np.random.default_rng([seed, i]) for i in range(count)]
    return [(rng, random_scene(rng)) for rng in streams]


def test_noun_phrases_hold_exactly_when_some_object_answers_them() -> None:
    for (_, scene), background in zip(scenes(10), itertools.cycle(BACKGROUNDS), strict=False):
        for size, texture, colour, shape in itertools.product(RADII, TEXTURES, COLOURS, SHAPES):
            wanted = {"size": size, "texture": texture, "colour": colour, "shape": shape}
            there = any(wanted.items() <= each.items() for each in scene["objects"])
            text = f"a {size} {texture} {colour} {shape}"
            assert holds(text, scene) == there
            on_it = there and scene["background"] == background
            assert holds(f"{text} on {background}", scene) == on_it


def test_numbers_count_exactly() -> None:
    words = ["one {}", "two {}s", "three {}s", "four {}s", "five {}s"]
    for _, scene in scenes(60):
        for noun in ("object", "circle", "square", "star"):
            shapes = [each["shape"] for each in scene["objects"]]
            count = len(shapes) if noun == "object" else shapes.count(noun)
            for number, text in enumerate(words, start=1):
                assert holds(text.format(noun), scene) == (number == count)


def test_relations_are_opposites_and_follow_the_centres() -> None:
    opposite = {"left of": "right of", "above": "below"}
    seen = 0
    for _, scene in scenes(300):
        objects = scene["objects"]
        if len({each["shape"] for each in objects}) < len(objects):
            continue  # a shape must name its object
        for one, other in itertools.permutations(objects, 2):
            x, y = other["x"] - one["x"], other["y"] - one["y"]
            for (relation, back), along, across in zip(
                opposite.items(), (x, y), (y, x), strict=True
            ):
                truth = holds(f"a {one['shape']} {relation} a {other['shape']}", scene)
                assert truth == (along >= 6 and along >= abs(across) / 2)
                assert truth == holds(f"a {other['shape']} {back} a {one['shape']}", scene)
                seen += truth
    assert seen > 100


def test_all_that_people_write_holds() -> None:
    words: set[str] = set()
    for rng, scene in scenes(400):
        captions = describe(rng, scene)
        assert len(captions) == len(set(captions)) == 5
        for caption in captions:
            assert holds(caption, scene), (caption, scene)
            assert 2 <= len(caption.split()) <= 16
            words |= set(caption.split())
    assert 50 <= len(words) <= 70


def test_safe_captions_seldom_identify_and_others_often_do() -> None:
    told: dict[str, list[bool]] = {"safe": [], "detailed": [], "relational": []}
    length: dict[str, list[int]] = {kind: [] for kind in told}
    for rng, scene in scenes(500, seed=1):
        distractors = random_distractors(rng, scene)
        for kind, write in (("safe", safe), ("detailed", detailed), ("relational", relational)):
            caption = write(rng, scene)
            if caption is not None:
                told[kind].append(identifies(caption, scene, distractors))
                length[kind].append(len(caption.split()))
    share = {kind: np.mean(each) for kind, each in told.items()}
    # The shares are 0.03, 0.18 and 0.14; the bounds lie four standard errors away.
    assert share["safe"] < 0.06
    assert min(share["detailed"], share["relational"]) > max(0.08, 2 * share["safe"])
    assert np.mean(length["safe"]) < 5 < 7 < np.mean(length["detailed"])


def test_identifies_needs_the_target_and_no_distractor() -> None:
    other = {**SCENE, "background": "white"}
    assert identifies("a circle on grey", SCENE, [other])
    assert not identifies("a circle", SCENE, [other])
    assert not identifies("a circle on white", SCENE, [other])
    assert not identifies("a circle on grey", SCENE, [other, SCENE])
