"""Is what a caption states true of a scene, and of no other one?"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from capjax.data.scenes.drawing import SIDE, Scene
from capjax.data.scenes.language import Phrase, Statement, statements

MARGIN = 6  # pixels between two centres, below which neither is left of or above the other
CLEAR = 12  # pixels from which nobody would doubt it
EDGE = 0.4  # the share of the picture, from each side, that "on the left" and its like mean


def holds(text: str, scene: Scene) -> bool:
    """Whether all that a caption states is true of a scene; False if it states nothing.

    What people mean is what counts:
    - "a red circle" says that there is at least one; "red circles" and "some" at least two.
      Nothing is said of what goes unmentioned.
    - A number is exact: "two circles" says that two objects, and no third, answer the noun phrase
      with its adjectives and its place ("two red circles on the left"); so does "one".
    - Each noun phrase speaks of objects of its own: "a circle and a red circle" needs two circles.
    - "left of", "above" and their like compare centres, which must lie at least MARGIN pixels
      apart in that direction and not more than twice as far the other way. A relation binds the
      phrases on its two sides and no others, and all the objects that they name.
    - "on the left", "at the top" ...: the centre lies in the outer 40 % of the picture on that
      side; "in the middle": in no such part.
    - Sizes are absolute: "large" is the size, not larger than something else.
    - A paragraph is true where each of its sentences is, by itself.

    Arguments: text, a caption in the grammar of `language.parse`; anything else, the empty text
    and unknown words included, is False. scene, a description as `random_scene` makes it.
    """
    return all(one is not None and states_truly(one, scene) for one in statements(text))


def identifies(text: str, target: Scene, distractors: Iterable[Scene]) -> bool:
    """Whether a caption is true of the target and of none of the distractors."""
    return holds(text, target) and not any(holds(text, other) for other in distractors)


def related(relation: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether an object is "left", "right", "above" or "below" of another: see `holds`."""
    along, across = _offsets(relation, one, other)
    return along >= MARGIN and 2 * along >= across


def clearly_related(relation: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a person would say so at first sight: further apart, and that way above all."""
    along, across = _offsets(relation, one, other)
    return along >= CLEAR and along >= across


def placed(place: str, thing: Mapping[str, Any]) -> bool:
    """Whether an object lies on the "left", "right", "top", "bottom" or in the "middle"."""
    x, y = thing["x"] / SIDE, thing["y"] / SIDE
    low, high = EDGE, 1 - EDGE
    sides = {"left": x <= low, "right": x >= high, "top": y <= low, "bottom": y >= high}
    return not any(sides.values()) if place == "middle" else sides[place]


def _offsets(relation: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[int, int]:
    """Pixels from the other to the one in the direction of the relation, and across it."""
    x, y = one["x"] - other["x"], one["y"] - other["y"]
    across = abs(y if relation in ("left", "right") else x)
    return {"left": -x, "right": x, "above": -y, "below": y}[relation], across


def states_truly(statement: Statement, scene: Scene) -> bool:
    """Whether all of a statement is true of a scene: see `holds`."""
    return next(readings(statement, scene), None) is not None


def readings(statement: Statement, scene: Scene) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Every way in which a statement is true of a scene: the objects that each phrase speaks of."""
    if statement.background not in (None, scene["background"]):
        return
    things = scene["objects"]
    if sum(phrase.number for phrase in statement.phrases) > len(things):
        return  # and what follows stays small, however long the caption
    answering = [
        [i for i, thing in enumerate(things) if answers(phrase, thing)]
        for phrase in statement.phrases
    ]
    for phrase, objects in zip(statement.phrases, answering, strict=True):
        if len(objects) < phrase.number or (phrase.exact and len(objects) > phrase.number):
            return
    groups = [
        itertools.combinations(objects, phrase.number)
        for phrase, objects in zip(statement.phrases, answering, strict=True)
    ]
    for reading in itertools.product(*groups):
        if _reads(reading, statement, things):
            yield reading


def answers(phrase: Phrase, thing: Mapping[str, Any]) -> bool:
    wanted = all(thing[attribute] == value for attribute, value in phrase.attributes)
    return wanted and (phrase.place is None or placed(phrase.place, thing))


def _reads(reading: tuple[tuple[int, ...], ...], statement: Statement, things: Any) -> bool:
    """Whether these objects, a group for each phrase, are distinct and related as stated."""
    named = [i for group in reading for i in group]
    if len(set(named)) < len(named):
        return False
    pairs = zip(statement.relations, reading[:-1], reading[1:], strict=True)
    return all(
        relation is None or related(relation, things[i], things[j])
        for relation, ones, others in pairs
        for i in ones
        for j in others
    )
