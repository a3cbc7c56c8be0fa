"""Which words make a caption false of a scene?"""

from collections.abc import Callable, Collection, Iterator
from functools import partial, reduce
from itertools import combinations, islice, pairwise
from typing import NamedTuple

from capjax.data.scenes.drawing import Scene
from capjax.data.scenes.language import Phrase, Statement, Worded, worded
from capjax.data.scenes.truth import states_truly
from capjax.data.sentences import sentences
from capjax.data.split import Split
from capjax.data.tokens import one_line

TRIED = 20_000  # ways to leave something out, beyond which all is false: nobody says so much
MANY = 50  # choices of noun phrases among these ways
_DOUBT = {"size": 4, "texture": 4, "colour": 5, "shape": 6}


def false_words_of(split: Split, image: int, text: str) -> tuple[int, ...] | None:
    """`false_words` of a caption of one of a split's images; () where nobody knows what is true."""
    return false_words(text, split.truth[image]["scene"]) if split.truth is not None else ()


class _Claim(NamedTuple):
    """One thing that a caption states."""

    word: int
    doubt: int  # of claims that could each be the false one, the lowest is
    without: Callable[[Statement], Statement]


def false_words(text: str, scene: Scene) -> tuple[int, ...] | None:
    """The words that make a caption false: the fewest claims without which the rest is true.

    A claim is a number, an attribute, a shape, a place, a relation or the background, each by the
    one word that makes it. Of claims that are as few, a relation is false rather than what it
    relates, then a place, the background, a number, an adjective, and a shape last. Where there are
    more noun phrases than objects, some are false as a whole. The sentences of a paragraph are
    looked at one by one, and one that states nothing is false as a whole.

    Args:
      text: a caption, or a paragraph.
      scene: as `random_scene` makes it.
    Returns:
      Where the words stand in `text.split()`, in order; () where the caption is true, None where
      it is no caption of the language (`language.worded`), and states nothing.
    """
    parts = sentences(text)
    found = [_false_words(part, scene) for part in parts]
    if not any(wrong is not None for wrong in found):
        return None
    text, at = one_line(text), 0
    every: set[int] = set()
    for part, wrong in zip(parts, found, strict=True):
        at = text.index(part, at)
        before = text.count(" ", 0, at)
        every |= {before + i for i in (range(len(part.split())) if wrong is None else wrong)}
        at += len(part)
    return tuple(sorted(every))


def _false_words(text: str, scene: Scene) -> tuple[int, ...] | None:
    """`false_words` of one sentence."""
    said = worded(text)
    if said is None:
        return None
    for stated, chosen, words in islice(_ways(said, len(scene["objects"])), TRIED):
        left = reduce(lambda stated, claim: claim.without(stated), chosen, stated)
        if states_truly(left, scene):
            return tuple(sorted(words.union(claim.word for claim in chosen)))
    return tuple(sorted({claim.word for claim in _claims(said)}))


def _ways(said: Worded, objects: int) -> Iterator[tuple[Statement, tuple[_Claim, ...], set[int]]]:
    """What can be left out of a caption, the least first: (what is stated without the noun phrases
    that are more than the objects, claims to leave out of it, the words of those noun phrases)."""
    phrases = range(len(said.phrases))
    parts = []
    for gone in islice(combinations(phrases, max(0, len(phrases) - objects)), MANY):
        rest = _rest(said, gone)
        claims = sorted(_claims(rest), key=lambda claim: claim.doubt)
        parts.append((rest.statement, claims, {i for p in gone for i in said.phrases[p].words}))
    for few in range(1 + max(len(claims) for _, claims, _ in parts)):
        for stated, claims, words in parts:
            for chosen in combinations(claims, few):
                yield stated, chosen, words


def _rest(said: Worded, gone: Collection[int]) -> Worded:
    """What is said where some noun phrases are not; what related them to others is gone, too."""
    kept = [i for i in range(len(said.phrases)) if i not in gone]
    pairs = list(pairwise(kept))
    stated = Statement(
        tuple(said.statement.phrases[i] for i in kept),
        tuple(said.statement.relations[i] if j == i + 1 else None for i, j in pairs),
        said.statement.background,
    )
    return Worded(
        stated,
        tuple(said.phrases[i] for i in kept),
        tuple(said.relations[i] if j == i + 1 else None for i, j in pairs),
        said.background,
    )


def _claims(said: Worded) -> Iterator[_Claim]:
    """Each claim that a caption makes."""
    for i, word in enumerate(said.relations):
        if word is not None:
            yield _Claim(word, 0, partial(_unrelated, which=i))
    if said.background is not None:
        yield _Claim(said.background, 2, lambda stated: stated._replace(background=None))
    for p, (phrase, where) in enumerate(zip(said.statement.phrases, said.phrases, strict=True)):
        change = partial(_changed, which=p)
        if where.place is not None:
            yield _Claim(where.place, 1, partial(change, by=_nowhere))
        if where.number is not None:
            yield _Claim(where.number, 3, partial(change, by=_uncounted))
        for one, word in zip(phrase.attributes, where.attributes, strict=True):
            yield _Claim(word, _DOUBT[one[0]], partial(change, by=partial(_unlike, attribute=one)))


def _unrelated(stated: Statement, which: int) -> Statement:
    relations = stated.relations
    return stated._replace(relations=(*relations[:which], None, *relations[which + 1 :]))


def _changed(stated: Statement, which: int, by: Callable[[Phrase], Phrase]) -> Statement:
    phrases = stated.phrases
    return stated._replace(phrases=(*phrases[:which], by(phrases[which]), *phrases[which + 1 :]))


def _nowhere(phrase: Phrase) -> Phrase:
    return phrase._replace(place=None)


def _uncounted(phrase: Phrase) -> Phrase:
    return phrase._replace(number=1, exact=False)


def _unlike(phrase: Phrase, attribute: tuple[str, str]) -> Phrase:
    return phrase._replace(attributes=tuple(a for a in phrase.attributes if a != attribute))
