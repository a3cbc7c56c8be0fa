"""What does a caption about a scene state? The words of the language, and their grammar."""

import functools
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from capjax.data.scenes.drawing import BACKGROUNDS, COLOURS, SHAPES
from capjax.data.sentences import sentences

NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
PLURALS = {shape: "crosses" if shape == "cross" else shape + "s" for shape in SHAPES}
ANY_SHAPE = {"shape": "shapes", "object": "objects"}  # nouns that say nothing of the shape
SIZE_WORDS = {  # the way people say it most often comes first
    "small": ("small", "little"),
    "medium": ("medium",),
    "large": ("large", "big"),
}
TEXTURE_WORDS = {
    "plain": ("plain", "solid"),
    "striped": ("striped",),
    "dotted": ("dotted", "spotted"),
}
RELATION_WORDS = {
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}
PLACE_WORDS = {
    "left": "on the left",
    "right": "on the right",
    "top": "at the top",
    "bottom": "at the bottom",
    "middle": "in the middle",
}


class Phrase(NamedTuple):
    """A noun phrase: how many objects it names, and what it says of each."""

    number: int
    exact: bool  # exactly `number` objects answer the phrase, rather than at least so many
    attributes: tuple[tuple[str, str], ...]  # of "shape", "colour", "size", "texture"
    place: str | None  # a key of PLACE_WORDS


class Statement(NamedTuple):
    """All that a caption states."""

    phrases: tuple[Phrase, ...]  # at least one
    relations: tuple[str | None, ...]  # between each phrase and the next, keys of RELATION_WORDS
    background: str | None


class Phrased(NamedTuple):
    """Where a noun phrase stands: each claim by the word that makes it."""

    words: tuple[int, ...]  # all of it, its place aside
    number: int | None  # None where it is "a", or nothing
    attributes: tuple[int, ...]  # as those of its Phrase
    place: int | None


class Worded(NamedTuple):
    """A statement, and the words that make it: where they stand in the caption's `split()`."""

    statement: Statement
    phrases: tuple[Phrased, ...]
    relations: tuple[int | None, ...]
    background: int | None


def _meanings() -> Mapping[str, tuple[str, str]]:
    """Adjective -> (attribute, value)."""
    meanings = {colour: ("colour", colour) for colour in COLOURS}
    for attribute, synonyms in (("size", SIZE_WORDS), ("texture", TEXTURE_WORDS)):
        meanings |= {
            word: (attribute, value) for value, words in synonyms.items() for word in words
        }
    return meanings


_ADJECTIVES = _meanings()
_SINGULAR = (*SHAPES, *ANY_SHAPE)
_SHAPE_OF = {word: shape for shape in SHAPES for word in (shape, PLURALS[shape])}


def _one_of(*words: str) -> str:
    return "(?:" + "|".join(words) + ")"


# Every piece ends where a word ends; the text is lower case with single spaces, one at its end.
_BE = r"(?:(?:is|are) )?"
_INTRO = re.compile(r"(?:there (?:is|are) |an? (?:picture|image) of )")
_PHRASE = re.compile(
    rf"(?:(?P<number>an?|some|{_one_of(*NUMBERS)}) )?"
    rf"(?P<adjectives>(?:{_one_of(*_ADJECTIVES)} )*)"
    rf"(?P<noun>{_one_of(*_SINGULAR, *PLURALS.values(), *ANY_SHAPE.values())}) "
)
_RELATION = re.compile(
    _BE
    + r"(?:(?:(?:to|on) the )?(?P<side>left|right) of"
    + r"|(?P<above>above|over)|(?P<below>below|under|beneath)) "
)
_PLACE = re.compile(_BE + r"(?:on|at|in) the (?P<place>left|right|top|bottom|middle) (?!of )")
_GROUND = _one_of(*BACKGROUNDS)
_BACKGROUND = re.compile(
    rf"(?:on (?:(?:a|the) )?(?P<on>{_GROUND}) (?:background )?"
    rf"|(?:with|and|against) (?:(?:a|the) )?(?P<with>{_GROUND}) background )"
)
_AND = re.compile(r"(?:, and |, |and |with )")


def parse(text: str) -> Statement | None:
    """What a caption states, or None where it is not a caption of this language (`worded`)."""
    found = worded(text)
    return found.statement if found else None


@functools.lru_cache(maxsize=1 << 16)
def statements(text: str) -> tuple[Statement | None, ...]:
    """What each sentence of a caption or a paragraph states; one None where there are no words."""
    return tuple(map(parse, sentences(text) or [text]))


@functools.lru_cache(maxsize=1 << 16)  # a model's captions repeat, and meet many scenes
def worded(text: str) -> Worded | None:
    """What a caption states, word by word, or None where it is not a caption of this language.

    The grammar, in which case and a final full stop do not matter:

        caption    = [background [","]] [intro] named (link named)*, one background at most
        named      = phrase [place] [background] | phrase background [place]
        intro      = "there is" | "there are" | "a picture of" | "an image of"
        phrase     = [number] adjective* noun
        number     = "a" | "an" | "some" | "one" ... "five"; none is "a", or "some" of a plural
        adjective  = a size, texture or colour, each once at most, in any order
        noun       = a shape, "shape" or "object", in the plural after a number above one
        place      = "on the left" | "at the top" | "in the middle" ...
        link       = "and" | "with" | "," | ["is"] relation
        relation   = ["to the"] "left of" | "above" | "over" | "below" | "under" ...
        background = "on" ["a"] colour ["background"] | "with" ["a"] colour "background"
    """
    text, word = _normalised(text)
    phrases: list[tuple[Phrase, Phrased]] = []
    relations: list[tuple[str | None, int | None]] = []
    background: tuple[str, int] | None = None
    at = 0
    if text.startswith("on "):
        background, at = _read_background(text, 0)
        if background and text.startswith(", ", at):
            at += len(", ")
    if intro := _INTRO.match(text, at):
        at = intro.end()
    while True:
        begun, (found, at) = at, _read_phrase(text, at)
        if found is None:
            return None
        words = tuple(dict.fromkeys(map(word, _starts(text, begun, at))))
        place, at = _read_place(text, at)
        ground, at = _read_background(text, at)
        if ground is not None:
            if background is not None:
                return None
            background = ground
            if place is None:
                place, at = _read_place(text, at)
        phrase, number, attributes = found
        where = tuple(map(word, attributes))
        phrased = Phrased(words, None if number is None else word(number), where, None)
        if place is not None:
            phrase = phrase._replace(place=place[0])
            phrased = phrased._replace(place=word(place[1]))
        phrases.append((phrase, phrased))
        if at == len(text):
            break
        if link := _RELATION.match(text, at):
            kind = "side" if link["side"] else "above" if link["above"] else "below"
            relations.append((link["side"] or kind, word(link.start(kind))))
        elif link := _AND.match(text, at):
            relations.append((None, None))
        else:
            return None
        at = link.end()
    stated, said = zip(*phrases, strict=True)
    kinds, links = zip(*relations, strict=True) if relations else ((), ())
    on, at = background or (None, 0)
    return Worded(Statement(stated, kinds, on), said, links, word(at) if on else None)


def _normalised(text: str) -> tuple[str, Callable[[int], int]]:
    """A caption in lower case, a space after each word; and of a place in it, which of the
    caption's words is there."""
    pieces = [
        (piece, which)
        for which, word in enumerate(text.lower().split())
        for piece in word.replace(",", " , ").split()
    ]
    text = re.sub(r" ?[.!]$", "", " ".join(piece for piece, _ in pieces)) + " "
    return text, lambda at: pieces[text.count(" ", 0, at)][1]


def _starts(text: str, begin: int, end: int) -> list[int]:
    """Where the words between two places begin; spaces end them."""
    return [at for at in range(begin, end) if at == begin or text[at - 1] == " "]


def _read_phrase(text: str, at: int) -> tuple[tuple[Phrase, int | None, list[int]] | None, int]:
    """The noun phrase that starts here, its place aside, or None, and where it ends.

    Beside it where its number stands, and its attributes.
    """
    match = _PHRASE.match(text, at)
    if match is None:
        return None, at
    adjectives = _starts(text, match.start("adjectives"), match.end("adjectives"))
    attributes = [_ADJECTIVES[word] for word in match["adjectives"].split()]
    if len({attribute for attribute, _ in attributes}) < len(attributes):
        return None, at  # "a red red circle", "a small large circle"
    noun = match["noun"]
    plural = noun not in _SINGULAR
    word = match["number"] or ("some" if plural else "a")
    number = NUMBERS.get(word, 2 if word == "some" else 1)
    if plural != (number > 1):
        return None, at  # "two circle", "a circles"
    if noun in _SHAPE_OF:
        attributes.append(("shape", _SHAPE_OF[noun]))
        adjectives.append(match.start("noun"))
    phrase = Phrase(number, word in NUMBERS, tuple(attributes), place=None)
    counts = plural or word in NUMBERS  # "circles" are two at least
    where = match.start("number" if match["number"] else "noun") if counts else None
    return (phrase, where, adjectives), match.end()


def _read_place(text: str, at: int) -> tuple[tuple[str, int] | None, int]:
    """The place stated here and where its word stands, or None, and where it ends."""
    match = _PLACE.match(text, at)
    return ((match["place"], match.start("place")), match.end()) if match else (None, at)


def _read_background(text: str, at: int) -> tuple[tuple[str, int] | None, int]:
    """The background stated here and where its word stands, or None, and where it ends."""
    match = _BACKGROUND.match(text, at)
    if match is None:
        return None, at
    kind = "on" if match["on"] else "with"
    return (match[kind], match.start(kind)), match.end()
