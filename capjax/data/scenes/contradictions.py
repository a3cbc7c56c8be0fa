"""Which sentences of a paragraph cannot both be true, whatever the scene?"""

import functools
from collections.abc import Iterator, Sequence
from itertools import combinations, permutations
from typing import NamedTuple

from capjax.data.scenes.drawing import SIDE
from capjax.data.scenes.language import Phrase, Statement, statements
from capjax.data.scenes.sight import OBJECTS
from capjax.data.scenes.truth import EDGE, MARGIN

_AXIS = {"left": 0, "right": 0, "top": 1, "bottom": 1, "above": 1, "below": 1}
_FIRST = ("left", "top", "above")  # nearer to the picture's top left corner
_OUTER = int(EDGE * SIDE)  # the last pixel that is "on the left", and of the others from theirs


class _Thing(NamedTuple):
    """An object that one of the statements needs."""

    phrases: tuple[tuple[int, int], ...]  # (statement, phrase) that it answers
    attributes: dict[str, str]  # what they say of it
    places: tuple[str, ...]


def contradictions(text: str) -> list[tuple[int, int]]:
    """The pairs of sentences that cannot both be true of any scene of one to four objects.

    "two shapes" and "three shapes"; "one circle" and "a red circle and a blue circle"; "on white"
    and "on grey"; "one circle left of one square" and "a square at the left of a circle". Found by
    looking for objects that would make both true. It asks less of them than a scene does (they may
    lie on one another, and colours may run short), so that sentences which are true together are
    never called a contradiction, while few contradictions are missed. A sentence that cannot be
    true by itself contradicts no other, nor does one that states nothing.

    Returns (i, j) with i < j, places among the paragraph's sentences, in order.
    """
    stated = statements(text)
    return [
        (i, j)
        for (i, one), (j, other) in combinations(enumerate(stated), 2)
        if one and other and possible(one) and possible(other) and not possible(one, other)
    ]


@functools.lru_cache(maxsize=1 << 16)
def possible(one: Statement, other: Statement | None = None) -> bool:
    """Whether there may be a scene of which a statement is true, or both are; see above."""
    both = (one,) if other is None else (one, other)
    if len({each.background for each in both} - {None}) > 1:
        return False
    return any(_possible(both, things, order) for things, order in _meetings(both))


def _meetings(
    both: Sequence[Statement],
) -> Iterator[tuple[list[_Thing], dict[tuple[int, int], list[int]]]]:
    """Every way in which objects of one statement may be those of the other.

    Yields the objects, and which of them answer each (statement, phrase).
    """
    slots = [
        [(s, p) for p, phrase in enumerate(each.phrases) for _ in range(phrase.number)]
        for s, each in enumerate(both)
    ]
    if any(len(each) > OBJECTS for each in slots):
        return
    first, second = slots[0], slots[1] if len(slots) > 1 else []
    for same in range(max(0, len(first) + len(second) - OBJECTS), min(map(len, slots)) + 1):
        if not second and same:
            return
        for ones in combinations(range(len(first)), same):
            for others in permutations(range(len(second)), same):
                shared = dict(zip(ones, others, strict=True))
                answered = [
                    (slot, *([second[shared[i]]] if i in shared else []))
                    for i, slot in enumerate(first)
                ] + [(slot,) for j, slot in enumerate(second) if j not in others]
                things = [_thing(both, phrases) for phrases in answered]
                if all(thing is not None for thing in things):
                    order: dict[tuple[int, int], list[int]] = {}
                    for n, phrases in enumerate(answered):
                        for slot in phrases:
                            order.setdefault(slot, []).append(n)
                    yield [thing for thing in things if thing is not None], order


def _thing(both: Sequence[Statement], answered: tuple[tuple[int, int], ...]) -> _Thing | None:
    """An object that answers these phrases; None where they say different things of it."""
    attributes: dict[str, str] = {}
    phrases = [both[s].phrases[p] for s, p in answered]
    for phrase in phrases:
        for name, value in phrase.attributes:
            if attributes.setdefault(name, value) != value:
                return None
    places = tuple(phrase.place for phrase in phrases if phrase.place is not None)
    return _Thing(answered, attributes, places)


def _possible(
    both: Sequence[Statement], things: list[_Thing], order: dict[tuple[int, int], list[int]]
) -> bool:
    """Whether exact numbers are right and there is room for all that is said of places."""
    for s, each in enumerate(both):
        for p, phrase in enumerate(each.phrases):
            if phrase.exact and any(
                (s, p) not in thing.phrases and _must_answer(thing, phrase) for thing in things
            ):
                return False
    before: tuple[list[tuple[int, int]], list[tuple[int, int]]] = [], []
    for s, each in enumerate(both):
        for p, relation in enumerate(each.relations):
            if relation is not None:
                pair = (s, p), (s, p + 1)
                ones, others = (order[phrase] for phrase in pair)
                if relation not in _FIRST:
                    ones, others = others, ones
                before[_AXIS[relation]].extend((i, j) for i in ones for j in others)
    return all(_room(axis, things, before[axis]) for axis in (0, 1))


def _must_answer(thing: _Thing, phrase: Phrase) -> bool:
    """Whether an object answers a phrase, whatever else it is like."""
    return (phrase.place is None or phrase.place in thing.places) and all(
        thing.attributes.get(name) == value for name, value in phrase.attributes
    )


def _room(axis: int, things: list[_Thing], before: list[tuple[int, int]]) -> bool:
    """Whether there are places along an axis: those said, MARGIN pixels from one to the next."""
    low, high = [0] * len(things), [SIDE] * len(things)
    for n, thing in enumerate(things):
        for place in thing.places:
            if place == "middle":
                low[n], high[n] = max(low[n], _OUTER + 1), min(high[n], SIDE - _OUTER - 1)
            elif _AXIS[place] == axis and place in _FIRST:
                high[n] = min(high[n], _OUTER)
            elif _AXIS[place] == axis:
                low[n] = max(low[n], SIDE - _OUTER)
    for _ in things:  # the longest chain has as many links
        for i, j in before:
            low[j] = max(low[j], low[i] + MARGIN)
    return all(one <= other for one, other in zip(low, high, strict=True)) and not any(
        low[j] < low[i] + MARGIN for i, j in before
    )
