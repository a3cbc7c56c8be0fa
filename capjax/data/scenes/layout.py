"""Which scenes are there? Random ones, and their near twins that differ in one attribute."""

from collections.abc import Sequence
from itertools import product
from typing import Any, TypeVar

import numpy as np

from capjax.data.scenes.drawing import (
    BACKGROUNDS,
    COLOURS,
    RADII,
    SHAPES,
    SIDE,
    TEXTURES,
    Scene,
)
from capjax.data.scenes.truth import clearly_related, placed, related

DISTRACTORS = 4
T = TypeVar("T")
Thing = dict[str, Any]

# What makes a class: all but the place of a main object, "large red striped circle".
ATTRIBUTES = ("size", "colour", "texture", "shape")
_COUNTS = (1, 2, 2, 2, 3, 3, 4)  # objects a scene
CHOICES: dict[str, Sequence[str]] = {  # what an object may be
    "shape": SHAPES,
    "colour": tuple(COLOURS),
    "size": tuple(RADII),
    "texture": TEXTURES,
}
CONCEPTS = tuple(" ".join(values) for values in product(*(CHOICES[a] for a in ATTRIBUTES)))
_EDITS = ("shape", "colour", "colour", "size", "texture", "position")  # as often as listed
_ON_MAIN = (2, 3, 3, 4)  # how many of the four distractors change the main object
_TRIES = 24


def pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """One of the choices, each equally likely."""
    return choices[int(rng.random() * len(choices))]


def random_scene(rng: np.random.Generator) -> dict[str, Any]:
    """A scene of 1 to 4 objects that do not overlap.

    Returns {"background": name, "objects": [{"shape", "colour", "size", "texture": names, "x",
    "y": the centre in pixels}, ...]}, which JSON holds as it is.
    """
    while True:
        objects: list[Thing] = []
        for _ in range(pick(rng, _COUNTS)):
            thing: Thing = {name: pick(rng, choices) for name, choices in CHOICES.items()}
            for _ in range(_TRIES):
                thing["x"], thing["y"] = _somewhere(rng, thing["size"])
                if _fits(thing, objects):
                    objects.append(thing)
                    break
            else:
                break  # too crowded: start again
        else:
            return {"background": pick(rng, tuple(BACKGROUNDS)), "objects": objects}


def main_object(scene: Scene) -> int:
    """The index of the object that people name first, of `by_prominence`."""

    return by_prominence(scene)[0]


def by_prominence(scene: Scene) -> list[int]:
    """The indices of a scene's objects: the largest first, and of equal ones the most central."""

    def key(i: int) -> tuple[int, int, int]:
        thing = scene["objects"][i]
        away = (thing["x"] - SIDE // 2) ** 2 + (thing["y"] - SIDE // 2) ** 2
        return -RADII[thing["size"]], away, i

    return sorted(range(len(scene["objects"])), key=key)


def concept(scene: Scene) -> int:
    """The class of a scene, of CONCEPTS: what its main object is."""
    main = scene["objects"][main_object(scene)]
    return CONCEPTS.index(" ".join(main[name] for name in ATTRIBUTES))


def random_distractors(rng: np.random.Generator, scene: Scene) -> list[dict[str, Any]]:
    """Four scenes, each unlike the given one in one attribute of one object or in the background.

    No two of them are alike. At least two change the main object, so that a caption about it can
    tell. A change of position is one that makes a clear relation to another object, or the place
    of an only object, untrue.
    """
    main = main_object(scene)
    others = [i for i in range(len(scene["objects"])) if i != main]
    on_main = pick(rng, _ON_MAIN)
    distractors: list[dict[str, Any]] = []
    while len(distractors) < DISTRACTORS:
        if len(distractors) < on_main:
            edited = _edit_object(rng, scene, main)
        else:  # another object or, as if it were one more, the background
            place = pick(rng, (*others, -1))
            edited = _edit_object(rng, scene, place) if place >= 0 else _edit_background(rng, scene)
        if edited is not None and edited not in distractors:
            distractors.append(edited)
    return [distractors[i] for i in rng.permutation(DISTRACTORS)]


def _somewhere(rng: np.random.Generator, size: str) -> tuple[int, int]:
    """A centre from which an object of this size stays inside the picture."""
    low, high = RADII[size] + 1, SIDE - RADII[size] - 1
    span = high - low + 1
    return low + int(rng.random() * span), low + int(rng.random() * span)


def _fits(thing: Thing, others: Sequence[Thing]) -> bool:
    """Whether an object stays inside the picture and clear of the others, but for a touch."""
    radius = RADII[thing["size"]]
    if not all(radius < thing[axis] < SIDE - radius for axis in "xy"):
        return False
    return all(
        (thing["x"] - other["x"]) ** 2 + (thing["y"] - other["y"]) ** 2
        >= (radius + RADII[other["size"]]) ** 2
        for other in others
    )


def _edit_background(rng: np.random.Generator, scene: Scene) -> dict[str, Any]:
    names = [name for name in BACKGROUNDS if name != scene["background"]]
    return {**scene, "background": pick(rng, names)}


def _edit_object(rng: np.random.Generator, scene: Scene, index: int) -> dict[str, Any] | None:
    """The scene with one attribute of one object changed, or None where that does not fit."""
    objects = list(scene["objects"])
    old = objects[index]
    rest = objects[:index] + objects[index + 1 :]
    attribute = pick(rng, _EDITS)
    if attribute == "position":
        moved = _move(rng, old, rest)
        if moved is None:
            return None
        objects[index] = moved
    else:
        other_values = [value for value in CHOICES[attribute] if value != old[attribute]]
        objects[index] = {**old, attribute: pick(rng, other_values)}
        if not _fits(objects[index], rest):
            return None
    return {**scene, "objects": objects}


def _move(rng: np.random.Generator, old: Thing, rest: Sequence[Thing]) -> Thing | None:
    """The object somewhere else, such that something clearly true of where it was no longer is."""
    mirrored = [(SIDE - old["x"], old["y"]), (old["x"], SIDE - old["y"])]
    for attempt in range(_TRIES):
        x, y = mirrored[attempt] if attempt < 2 else _somewhere(rng, old["size"])
        new = {**old, "x": x, "y": y}
        if _fits(new, rest) and _tells(old, new, rest):
            return new
    return None


def _tells(old: Thing, new: Thing, rest: Sequence[Thing]) -> bool:
    """Whether a clear relation to another object, or an only object's place, has become untrue."""
    if not rest:
        places = ("left", "right", "top", "bottom", "middle")
        return any(placed(place, old) and not placed(place, new) for place in places)
    return any(
        clearly_related(relation, old, other) and not related(relation, new, other)
        for relation in ("left", "right", "above", "below")
        for other in rest
    )
