"""What would people write about a scene in several sentences? First how many, then one by one."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from capjax.data.scenes.drawing import SHAPES, Scene
from capjax.data.scenes.language import (
    ANY_SHAPE,
    PLACE_WORDS,
    PLURALS,
    RELATION_WORDS,
    parse,
)
from capjax.data.scenes.layout import by_prominence, pick
from capjax.data.scenes.people import NUMBER_WORDS, in_a_way, noun_phrase, on_background
from capjax.data.scenes.truth import answers, clearly_related, placed

PARAGRAPHS = 5
LEAST = 3  # sentences
_TRIES = 8  # after which nothing more comes to mind
_Said = tuple[str, tuple[Any, ...]]  # a sentence, and what it tells, which nobody tells twice


class _Person(NamedTuple):
    """How somebody writes: up to how many sentences, and how often they say what."""

    sentences: int
    colour: float
    size: float
    texture: float
    place: float
    relation: float
    skips: float  # an object that is not the first


_TERSE = _Person(3, colour=0.9, size=0.25, texture=0.25, place=0.25, relation=0.1, skips=0.3)
_USUAL = _Person(4, colour=0.95, size=0.5, texture=0.5, place=0.35, relation=0.3, skips=0.3)
_THOROUGH = _Person(5, colour=1.0, size=0.75, texture=0.75, place=0.4, relation=0.4, skips=0.1)
_PEOPLE = (*[_TERSE] * 3, *[_USUAL] * 4, *[_THOROUGH] * 3)


def describe_at_length(rng: np.random.Generator, scene: Scene) -> list[str]:
    """Five different paragraphs of a scene, of three to five sentences, every one of these true.

    They begin with how many objects there are, or with what shapes; then come the objects, mostly
    the most prominent first, each in a sentence with some of its attributes, its place, or how it
    lies to one before it; and where few are left, more of what was named. Few people say all: some
    leave out objects, most leave out attributes. Each sentence stands by itself, in the grammar of
    `language.parse`.
    """
    paragraphs: list[str] = []
    while len(paragraphs) < PARAGRAPHS:
        text = " ".join(f"{sentence}." for sentence in _paragraph(rng, scene))
        if text not in paragraphs:
            paragraphs.append(text)
    return paragraphs


def _paragraph(rng: np.random.Generator, scene: Scene) -> list[str]:
    person = pick(rng, _PEOPLE)
    said = [_overview(rng, scene)]
    told: list[int] = []
    facts: set[tuple[Any, ...]] = set()
    for i in _order(rng, scene):
        if len(said) < person.sentences and not (told and rng.random() < person.skips):
            sentence, fact = _about(rng, scene, i, told, person)
            said.append(sentence)
            facts.add(fact)
            told.append(i)
    tries = 0
    while len(said) < LEAST or (len(said) < person.sentences and tries < _TRIES):
        tries += 1
        sentence, fact = _more(rng, scene, told)
        if fact not in facts:
            said.append(sentence)
            facts.add(fact)
    return said


def _order(rng: np.random.Generator, scene: Scene) -> list[int]:
    """The objects as they come to mind: by prominence, now and then two of them in turn."""
    order = by_prominence(scene)
    if len(order) > 1 and rng.random() < 0.15:
        k = int(rng.random() * (len(order) - 1))
        order[k : k + 2] = order[k + 1], order[k]
    return order


def _overview(rng: np.random.Generator, scene: Scene) -> str:
    """How many there are, and on what: "there are two circles and a star on a white background"."""
    what = _shapes(scene) if rng.random() < 0.15 else _number(rng, scene)
    several = not what.startswith(("a ", "one "))
    kind = rng.random()
    background = on_background(rng, scene)
    if kind < 0.1:
        return f"on a {scene['background']} background, there {'are' if several else 'is'} {what}"
    if kind < 0.6:
        what = f"there {'are' if several else 'is'} {what}"
    elif kind < 0.8:
        what = f"a picture of {what}"
    return what + (background if rng.random() < 0.85 else "")


def _number(rng: np.random.Generator, scene: Scene) -> str:
    count = len(scene["objects"])
    nouns = tuple(ANY_SHAPE) if count == 1 else tuple(ANY_SHAPE.values())
    return f"{NUMBER_WORDS[count]} {pick(rng, nouns)}"


def _shapes(scene: Scene) -> str:
    """All objects by their shapes, those that are several first: "two circles and a star"."""
    shapes = [thing["shape"] for thing in scene["objects"]]
    counts = sorted((shapes.count(shape), shape) for shape in SHAPES if shape in shapes)[::-1]
    phrases = [
        f"a {shape}" if count == 1 else f"{NUMBER_WORDS[count]} {PLURALS[shape]}"
        for count, shape in counts
    ]
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if phrases[1:] else phrases)


def _about(
    rng: np.random.Generator, scene: Scene, i: int, told: Sequence[int], person: _Person
) -> _Said:
    """A sentence on an object: what it is, and where it is or how it lies to one told before."""
    phrase = _clear(rng, scene, i, person)
    kind = rng.random()
    if told and kind < person.relation:
        j = pick(rng, told)
        if (relation := _relation(rng, scene, i, j)) is not None:
            return f"{phrase} {relation} {_short(rng, scene, j)}", ("pair", *sorted((i, j)))
    elif kind < person.relation + person.place:
        place = _place(rng, scene, i)
        ways = f"{phrase} is {place}", f"there is {phrase} {place}", f"{phrase} {place}"
        return pick(rng, ways), (place, i)
    return pick(rng, (f"there is {phrase}", phrase)), ("look", i)


def _more(rng: np.random.Generator, scene: Scene, told: Sequence[int]) -> _Said:
    """One thing more about what was told: how two objects lie, a place, a size or a texture."""
    i, kind = pick(rng, told), rng.random()
    others = [j for j in told if j != i]
    if others and kind < 0.6:
        j = pick(rng, others)
        if (relation := _relation(rng, scene, i, j)) is not None:
            pair = _short(rng, scene, i), relation, _short(rng, scene, j)
            return " ".join(pair), ("pair", *sorted((i, j)))
    if kind < 0.85:
        place = _place(rng, scene, i)
        return f"{_short(rng, scene, i)} is {place}", (place, i)
    phrase = noun_phrase(rng, scene["objects"][i], size=1.0, texture=0.5)
    return phrase + on_background(rng, scene), ("look again", i)


def _relation(rng: np.random.Generator, scene: Scene, i: int, j: int) -> str | None:
    """How one object lies to another: "is left of"; None where nobody would say."""
    one, other = scene["objects"][i], scene["objects"][j]
    clear = [name for name in RELATION_WORDS if clearly_related(name, one, other)]
    if not clear:
        return None
    words = in_a_way(rng, RELATION_WORDS[pick(rng, clear)])
    return f"is {words}" if rng.random() < 0.7 else words


def _place(rng: np.random.Generator, scene: Scene, i: int) -> str:
    places = [place for place in PLACE_WORDS if placed(place, scene["objects"][i])]
    return PLACE_WORDS[pick(rng, places)]


def _short(rng: np.random.Generator, scene: Scene, i: int) -> str:
    """An object by its shape, mostly with its colour where the shape does not tell it."""
    thing = scene["objects"][i]
    phrase = noun_phrase(rng, thing, colour=0.5)
    if _several(scene, phrase) and rng.random() < 0.8:
        phrase = noun_phrase(rng, thing, colour=1.0)
    return phrase


def _clear(rng: np.random.Generator, scene: Scene, i: int, person: _Person) -> str:
    """An object as a person describes it, mostly so that no other is meant."""
    thing = scene["objects"][i]
    says = {"colour": person.colour, "size": person.size, "texture": person.texture}
    phrase = noun_phrase(rng, thing, **says)
    if _several(scene, phrase) and rng.random() < 0.8:
        phrase = noun_phrase(rng, thing, **(says | {"colour": 1.0, "size": 1.0}))
    return phrase


def _several(scene: Scene, phrase: str) -> bool:
    """Whether more than one object answers a noun phrase."""
    stated: Any = parse(phrase)
    return sum(answers(stated.phrases[0], thing) for thing in scene["objects"]) > 1
