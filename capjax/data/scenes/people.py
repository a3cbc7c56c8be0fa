"""What would people write under a scene? Mostly something safe, which is the whole problem."""

from typing import Any

import numpy as np

from capjax.data.scenes.drawing import Scene
from capjax.data.scenes.language import (
    ANY_SHAPE,
    NUMBERS,
    PLACE_WORDS,
    PLURALS,
    RELATION_WORDS,
    SIZE_WORDS,
    TEXTURE_WORDS,
)
from capjax.data.scenes.layout import main_object, pick
from capjax.data.scenes.truth import clearly_related, placed

CAPTIONS = 5
SAFE, DETAILED = 0.6, 0.2  # shares of the captions; the remaining ones are relational

NUMBER_WORDS = {number: word for word, number in NUMBERS.items()}


def describe(rng: np.random.Generator, scene: Scene) -> list[str]:
    """Five different captions of a scene, every one true: safe ones, detailed ones, relations."""
    captions: list[str] = []
    while len(captions) < CAPTIONS:
        kind = rng.random()
        if kind < SAFE:
            caption = safe(rng, scene)
        elif kind < SAFE + DETAILED:
            caption = detailed(rng, scene)
        else:
            caption = relational(rng, scene) or detailed(rng, scene)
        if caption not in captions:
            captions.append(caption)
    return captions


def safe(rng: np.random.Generator, scene: Scene) -> str:
    """What is true of a thousand pictures: "a red circle", "two shapes on white"."""
    things = scene["objects"]
    main = main_object(scene)
    kind = rng.random()
    if kind < 0.2 and len(things) > 1:
        other = pick(rng, [i for i in range(len(things)) if i != main])
        colours = kind < 0.14  # both phrases name their colours, or neither does
        pair = [noun_phrase(rng, things[i], colour=float(colours)) for i in (main, other)]
        return " and ".join(pair) if pair[0] != pair[1] else _counted(rng, scene)
    if kind < 0.3 and len(things) > 1:
        return _counted(rng, scene) + (on_background(rng, scene) if rng.random() < 0.4 else "")
    caption = noun_phrase(rng, things[main], colour=0.8)
    if kind < 0.45:
        return caption + on_background(rng, scene)
    return _introduced(rng, caption, 0.2)


def detailed(rng: np.random.Generator, scene: Scene) -> str:
    """Size, texture and colour, and more: "a large dotted green star on a grey background"."""
    things = scene["objects"]
    main = main_object(scene)
    first = main if rng.random() < 0.7 else pick(rng, range(len(things)))
    caption = noun_phrase(rng, things[first], colour=1.0, size=0.8, texture=0.8)
    kind = rng.random()
    if kind < 0.35 and len(things) > 1:
        other = pick(rng, [i for i in range(len(things)) if i != first])
        second = noun_phrase(rng, things[other], colour=1.0, size=0.6, texture=0.6)
        caption = f"{caption} and {second}"
        return caption + (on_background(rng, scene) if rng.random() < 0.3 else "")
    if kind < 0.65:
        places = [place for place in PLACE_WORDS if placed(place, things[first])]
        caption = f"{caption} {PLACE_WORDS[pick(rng, places)]}"
    elif kind < 0.9:
        caption += on_background(rng, scene)
    return _introduced(rng, caption, 0.2)


def relational(rng: np.random.Generator, scene: Scene) -> str | None:
    """Two objects and how they lie: "a red circle left of a striped square"; None if unclear."""
    things = scene["objects"]
    main = main_object(scene)
    pairs = [
        (i, relation, j)
        for i in range(len(things))
        for j in range(len(things))
        for relation in RELATION_WORDS
        if i != j and clearly_related(relation, things[i], things[j])
    ]
    about_main = [(i, relation, j) for i, relation, j in pairs if main in (i, j)]
    pairs = about_main if about_main and rng.random() < 0.7 else pairs
    if not pairs:
        return None
    i, relation, j = pick(rng, pairs)
    first, second = (
        noun_phrase(rng, things[k], colour=0.95, size=0.4, texture=0.4) for k in (i, j)
    )
    return _introduced(rng, f"{first} {in_a_way(rng, RELATION_WORDS[relation])} {second}", 0.1)


def noun_phrase(
    rng: np.random.Generator,
    thing: Any,
    *,
    colour: float = 0.0,
    size: float = 0.0,
    texture: float = 0.0,
) -> str:
    """An object in words; each attribute is said with the given probability."""
    words = []
    if rng.random() < size * (0.6 if thing["size"] == "medium" else 1.0):
        words.append(in_a_way(rng, SIZE_WORDS[thing["size"]]))
    if rng.random() < texture * (0.4 if thing["texture"] == "plain" else 1.0):
        words.append(in_a_way(rng, TEXTURE_WORDS[thing["texture"]]))
    if rng.random() < colour:
        words.append(thing["colour"])
    noun = thing["shape"]
    if len(words) == 1 and rng.random() < 0.06:
        noun = pick(rng, tuple(ANY_SHAPE))
    words.append(noun)
    return " ".join(["an" if words[0][0] in "aeiou" else "a", *words])


def _counted(rng: np.random.Generator, scene: Scene) -> str:
    """How many there are: of one shape where it is there twice, or else of all."""
    shapes = [thing["shape"] for thing in scene["objects"]]
    repeated = sorted({shape for shape in shapes if shapes.count(shape) > 1})
    if repeated and rng.random() < 0.7:
        shape = pick(rng, repeated)
        return f"{NUMBER_WORDS[shapes.count(shape)]} {PLURALS[shape]}"
    return f"{NUMBER_WORDS[len(shapes)]} {pick(rng, tuple(ANY_SHAPE.values()))}"


def on_background(rng: np.random.Generator, scene: Scene) -> str:
    name = scene["background"]
    return f" on a {name} background" if rng.random() < 0.6 else f" on {name}"


def _introduced(rng: np.random.Generator, caption: str, share: float) -> str:
    kind = rng.random() / share
    if kind >= 1:
        return caption
    return ("there is " if kind < 0.6 else "a picture of ") + caption


def in_a_way(rng: np.random.Generator, ways: tuple[str, ...]) -> str:
    """The usual word three times out of four, else any of its synonyms."""
    return ways[0] if rng.random() < 0.75 else pick(rng, ways)
