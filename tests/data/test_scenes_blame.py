"""The words that are marked are those that make a caption false."""

import time

import numpy as np
import pytest

from capjax.data.scenes import describe, false_words, holds, random_scene
from capjax.data.scenes.drawing import BACKGROUNDS, COLOURS, SHAPES
from capjax.data.scenes.language import PLACE_WORDS, SIZE_WORDS, TEXTURE_WORDS, parse, worded


def thing(words: str, x: int, y: int) -> dict:
    size, texture, colour, shape = words.split()
    return {"size": size, "texture": texture, "colour": colour, "shape": shape, "x": x, "y": y}


SCENE = {
    "background": "grey",
    "objects": [
        thing("small plain red circle", 12, 14),
        thing("large dotted blue circle", 46, 18),
        thing("medium striped orange square", 30, 48),
    ],
}


@pytest.mark.parametrize(
    "marked",
    [
        "a red circle",
        "a [green] circle",
        "a red [star]",
        "A [large] red circle.",
        "a dotted blue circle at the [bottom] on grey",
        "a circle on [white]",
        "on [black], there is a red circle",
        "a red circle [right] of a blue circle",
        "a red circle is to the [right] of a blue circle",
        "a square [above] two circles",
        "[three] circles and a square",
        "[one] circle",
        "[two] squares",
        "[squares]",
        "[some] squares",
        "there are [two] shapes with a grey background",
        "a [striped] circle and a [dotted] square",
        "a [large] striped orange [star]",
        "a red circle, a square and [a] [green] [circle] and a blue circle",
        "three shapes on grey. a [green] circle. . a red circle. a [star] at the top.",
        ". [four] shapes. .",
        "[four] shapes. [a] [red] [dog.] a blue circle.[Two] squares.",
    ],
)
def test_words_that_make_a_caption_false(marked):
    text = marked.replace("[", "").replace("]", "")
    wrong = [i for i, word in enumerate(marked.split()) if "[" in word]
    assert false_words(text, SCENE) == tuple(wrong)


@pytest.mark.parametrize("text", ["", "a", "red", "<unk> circle", "a a circle", "two circle"])
def test_what_is_no_caption_of_scenes_is_told_as_such(text):
    assert false_words(text, SCENE) is None
    assert parse(text) is None


def test_a_true_caption_has_none_and_a_false_one_has_some():
    rng = np.random.default_rng(0)
    for _ in range(100):
        scene, other = random_scene(rng), random_scene(rng)
        for text in describe(rng, scene):
            assert false_words(text, scene) == ()
            assert bool(false_words(text, other)) is not holds(text, other)


# Words that a caption can say in the place of one another.
LIKE = [COLOURS, SHAPES, BACKGROUNDS, *map(list, zip(*SIZE_WORDS.values(), strict=False))]
LIKE += [[words[0] for words in TEXTURE_WORDS.values()]]
LIKE += [[words.split()[-1] for words in PLACE_WORDS.values() if words.startswith("at")]]
LIKE += [[words.split()[-1] for words in PLACE_WORDS.values() if words.startswith("on")]]
LIKE += [["above", "below"]]


def test_of_one_object_the_word_that_was_edited_is_marked():
    """Where nothing else could be meant: whatever word of a true caption is made false."""
    rng, edited = np.random.default_rng(1), set()
    for _ in range(400):
        scene = random_scene(rng)
        if len(scene["objects"]) > 1:
            continue
        for text in describe(rng, scene):
            words = text.split()
            for i, word in enumerate(words):
                for other in (x for like in LIKE if word in like for x in like if x != word):
                    changed = " ".join([*words[:i], other, *words[i + 1 :]])
                    if parse(changed) and not holds(changed, scene):
                        assert false_words(changed, scene) == (i,)
                        edited.add(other)
    assert len(edited) > 25


def test_what_is_marked_is_as_little_as_makes_the_rest_true():
    """By removing the marked adjectives, of those captions in which nothing else is false."""
    rng, seen = np.random.default_rng(2), 0
    for _ in range(300):
        scene = random_scene(rng)
        for text in describe(rng, random_scene(rng)):
            wrong, words = false_words(text, scene), text.split()
            said = worded(text)
            shapes = {where.attributes[-1] for where in said.phrases if where.attributes}
            plain = {i for where in said.phrases for i in where.attributes} - shapes
            if wrong and set(wrong) <= plain:
                seen += 1
                left = [word for i, word in enumerate(words) if i not in wrong]
                assert holds(" ".join(left), scene)
                for one in wrong:
                    kept = [w for i, w in enumerate(words) if i not in wrong or i == one]
                    assert not holds(" ".join(kept), scene)
    assert seen > 100


def test_a_caption_of_any_length_is_answered_soon():
    begun = time.monotonic()
    text = " and ".join(["a small red striped circle left of a large star"] * 30)
    assert len(false_words(text, SCENE)) > 30
    assert time.monotonic() - begun < 20
