"""What a reader must know of words where the benchmarks' tokenizer does not suit a language."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from capjax.data.characters import KINDS, NOTHING

_CHINESE_JAPANESE = re.compile(
    "[\u3005-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f]"
)
_THAI_LAO = re.compile("[\u0e00-\u0eff]")


def word_notes(texts: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """Sentences on texts whose words are not what the tokenizer takes them for; mostly none.

    One where more than half of the texts run their words together, as Chinese, Japanese, Thai and
    Lao are written: by a tokenizer that parts words at spaces a caption is then one word, and a
    phrase between two commas another. One where texts hold letters, marks, digits or symbols that
    the tokenizer leaves out.

    texts: each with its words.
    """
    every = number = joined = lossy = 0
    one = lost = ""
    for text, words in texts:
        every += 1
        if _run_together(words):
            joined += 1
            one = one or max(words, key=len)
        number += bool(words)
        if not text.isascii() and (unknown := _left_out(text)):
            lossy += 1
            lost = lost or unknown
    notes = []
    if 2 * joined > number:
        notes.append(
            f"Words are parted at spaces, and {joined} of {number} texts run theirs together: "
            f'"{_cut(one)}" counts as one word, so that whole phrases are learnt and scored; put '
            "spaces between the words of all captions and references."
        )
    if lossy:
        notes.append(
            f"{lossy} of {every} texts hold characters that the benchmarks' tokenizer does not "
            f'know, such as "{lost}" (U+{ord(lost):04X}); it leaves them out, and parts the word '
            "there."
        )
    return notes


def _run_together(words: Sequence[str]) -> bool:
    """Whether words are too long, on the mean, to be words.

    Segmented Chinese and Japanese have about 2 letters a word, Thai and Lao 6 with their marks, and
    no caption in an alphabet 15.
    """
    letters = "".join(words)
    most = 15
    if not letters.isascii():
        words = [word for word in words if any(map(str.isalpha, word))]
        letters = "".join(words)
        if 2 * len(_CHINESE_JAPANESE.findall(letters)) > len(letters):
            most = 4
        elif 2 * len(_THAI_LAO.findall(letters)) > len(letters):
            most = 10
    return len(letters) > most * len(words)


def _left_out(text: str) -> str:
    """The first letter, mark, digit or symbol that the tokenizer leaves out, or ""."""
    for character in text:
        if (
            KINDS[ord(character)] == NOTHING
            and unicodedata.category(character)[0] in "LMNS"
            and not "\ufe00" <= character <= "\ufe0f"  # how an emoji looks
        ):
            return character
    return ""


def _cut(word: str) -> str:
    return word if len(word) <= 30 else word[:30] + "\u2026"
