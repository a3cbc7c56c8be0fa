"""Where do the sentences of a paragraph end? Not at every full stop, and not only at a space."""

import functools
import re
from collections.abc import Iterator

from capjax.data.tokens import ABBREVIATIONS, one_line, tokenize
from capjax.errors import InputError

# Stops, what may close behind them, and the comma of "on his body., A woman".
_STOP = re.compile(
    r"(?P<stop>[.!?\u2026\u3002\uff01\uff1f\u061f\u0964]+)(?P<closing>[\"'\u2019\u201d)\]]*)[,;:]*"
)
_ALWAYS = re.compile(r"[\u3002\uff01\uff1f\u061f\u0964]")  # no abbreviation is written with these
_DOTTED = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]|ph\.d", re.IGNORECASE)  # "J", "t.v", "U.S"
_DOMAIN = frozenset(["com", "org", "net", "edu", "gov"])
_OPENING = "\"'\u2018\u201c([{"
# Words that begin a sentence where a stop may be an abbreviation's: "the t.v. The lamp is on."
_BEGINNINGS = """
a above across all also an and another around as at behind below beneath beside besides between
both but by directly each everyone everything four from he her here his if in inside it it's its
many most near next no nobody on one other others our outside over several she so some someone
that the their then there there's these they they're this those three to two under underneath
we what when while with you your
"""
_BEGIN = frozenset(_BEGINNINGS.split())
# Those that do so in lower case, too, and right behind the stop: "on the wall.the clock".
_BEGIN_ALWAYS = frozenset(
    ["he", "her", "his", "she", "the", "their", "there", "these", "they", "this", "those"]
)


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph, each with the stop that ends it; one without words is none.

    A sentence ends at ".", "!", "?" and their like in other scripts, before a space, and within a
    piece where a capital or a word such as "the" follows ("of color.The"). It does not end at the
    stop of an abbreviation, an initial or letters with dots, unless a word follows, in a capital,
    that begins sentences ("a t.v. The"); nor at an ellipsis or behind a closing quotation mark
    where the text goes on in lower case; nor in a number or an address. What people write without
    stops is one sentence.

    Text in lower case has no sentences more than as it was written, so that what a captioner says
    is parted as it was spoken.

    Args:
      text: one paragraph.
    Returns:
      Each on one line, in order; none of an empty text.
    Raises:
      InputError: it is not text.
    """
    if not isinstance(text, str):
        raise InputError(f"sentences takes one paragraph as text, not a {type(text).__name__}")
    return [part for part, _ in _parted(text)]


def sentence_words(text: str) -> list[list[str]]:
    """The words of each sentence of a paragraph (`tokenize`), without the stops that end them.

    They are those of the whole text, but that "it.The" is two words, and that "!!", which the
    benchmarks count as a word, is none.
    """
    return [words for _, words in _parted(text)]


def _parted(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each sentence that has words, and these."""
    text = one_line(text)
    begun = 0
    for end in (*_ends(text), len(text)):
        part = text[begun:end].rstrip(",;: ").lstrip()
        if words := [word for word in tokenize(part) if word.strip(".!?")]:
            yield part, words
        begun = end


@functools.lru_cache(maxsize=1 << 16)
def closes(word: str) -> bool:
    """Whether a full stop right behind a word ends its sentence and is no part of the word.

    Not so behind "st", which would be an abbreviation, whatever follows.
    """
    return all(sentence_words(f"{word}. {after}") == [[word], [after]] for after in ("x", "1"))


def carried(word: str) -> bool:
    """Whether a word of a sentence is found in its text again, and parts it nowhere."""
    return sentence_words(f"x {word} x {word} 1 {word} .") == [["x", word, "x", word, "1", word]]


def _ends(text: str) -> Iterator[int]:
    """Where sentences end within a text on one line."""
    for stop in _STOP.finditer(text):
        begun = text.rfind(" ", 0, stop.start()) + 1
        before = text[begun : stop.start()].lstrip(_OPENING)
        glued, _, _ = text[stop.end() :].partition(" ")
        if glued:
            if _ALWAYS.search(stop["stop"]) or _ends_within(before, glued):
                yield stop.end()
        else:
            after, _, _ = text[stop.end() + 1 :].partition(" ")
            if _ends_before(before, stop, after):
                yield stop.end()


def _ends_within(before: str, after: str) -> bool:
    """Whether a stop between two pieces, without a space, ends a sentence."""
    if before.startswith(("http", "www")) or "@" in before + after:
        return False
    match = re.match(r"[^\W\d_]+", after.lstrip(_OPENING))
    if match is None:
        return False
    word = match[0]
    if word.lower() in _BEGIN_ALWAYS:
        return True
    if _abbreviated(before) or word.lower() in _DOMAIN:
        return False
    return word[0].isupper() and (len(word) > 1 or word in "AI")


def _ends_before(before: str, stop: re.Match[str], after: str) -> bool:
    """Whether a stop before a space ends a sentence. after: the piece that follows."""
    stops = stop["stop"]
    after = after.lstrip(_OPENING).rstrip(",;:")
    if _ALWAYS.search(stops) or not after:
        return True
    capital = after[0].isupper()
    if stops.endswith(("...", "\u2026")):
        return capital or after.lower() in _BEGIN_ALWAYS
    if stop["closing"] and after[0].islower():
        return False
    if stops != ".":
        return True
    if before.lower() == "etc":
        return capital
    if before.lower() in ("no", "nos") and after[0].isdigit():
        return False
    return not _abbreviated(before) or (capital and after.lower() in _BEGIN)


def _abbreviated(before: str) -> bool:
    """Whether the letters before a full stop are an abbreviation, an initial, or have dots."""
    return bool(_DOTTED.fullmatch(before)) or before.lower() in ABBREVIATIONS
