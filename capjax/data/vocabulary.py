"""Words as ids: 0 is the end of a caption, 1 the unknown word, then words by their count.

Where captions are paragraphs 2 is the full stop, which ends a sentence, and then come the words.
"""

import json
import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AnySet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from capjax.data.sentences import carried, closes, sentence_words
from capjax.data.tokens import tokenize
from capjax.errors import InputError
from capjax.files.places import as_of_a_disk, place

__all__ = ["END", "UNKNOWN", "Vocabulary", "tokenize"]

END = 0  # closes a caption and pads what follows; it has no spelling
UNKNOWN = 1
UNKNOWN_WORD = "<unk>"  # never a word of its own: written in a caption it is the unknown word
STOP = "."  # the word at id SENTENCE of a paragraphs' vocabulary; no tokenizer gives it
SENTENCE = 2
_FIRST = 2  # the id of the most frequent word, or of the full stop


@dataclass(frozen=True)
class Vocabulary:
    """The words a captioner can say. `len(vocabulary)` counts the end and the unknown word, too.

    Where words[2] is "." captions are paragraphs: that id parts their sentences.
    """

    words: tuple[str, ...]  # words[id]; words[0] is "" (the end), words[1] is "<unk>"
    ids: dict[str, int] = field(init=False, repr=False, compare=False)  # {word: id}

    def __post_init__(self) -> None:
        if not isinstance(self.words, tuple):
            raise InputError(f"a vocabulary's words are a tuple of texts, not {_told(self.words)}")
        if self.words[:_FIRST] != ("", UNKNOWN_WORD):
            raise InputError(f'a vocabulary starts with "" and "{UNKNOWN_WORD}" (ids 0 and 1)')
        ids = {word: i for i, word in enumerate(self.words)}
        if len(ids) < len(self.words):
            twice = next(word for word, count in Counter(self.words).items() if count > 1)
            raise InputError(f'the word "{twice}" is in the vocabulary twice; remove one of them')
        for word in self.words[_FIRST:]:
            if not isinstance(word, str) or word.split() != [word]:
                raise InputError(f"the vocabulary holds {_told(word)}, which cannot be a word")
        object.__setattr__(self, "ids", ids)

    def __len__(self) -> int:
        return len(self.words)

    @property
    def sentences(self) -> bool:
        """Whether captions are paragraphs, whose sentences are parted by the id 2."""
        return self.words[SENTENCE : SENTENCE + 1] == (STOP,)

    @classmethod
    def build(
        cls, captions: Iterable[str], min_count: int = 5, *, sentences: bool = False
    ) -> "Vocabulary":
        """Counts the words of captions and keeps those that come at least `min_count` times.

        Words are ordered by descending count, ties alphabetically, so that the same captions give
        the same ids on any machine.

        Args:
          captions: as people wrote them.
          min_count: how often a word must come; rarer ones are the unknown word.
          sentences: whether captions are paragraphs. A word that could not be told from the end of
            a sentence when it is read back is unknown.
        Raises:
          InputError: a caption is not text, or no word comes often enough.
        """
        _check_count("min_count", min_count)
        counts: Counter[str] = Counter()
        number = 0
        for caption in _texts(captions, "Vocabulary.build"):
            for words in sentence_words(caption) if sentences else [tokenize(caption)]:
                counts.update(words)
            number += 1
        counts.pop(UNKNOWN_WORD, None)
        kept = sorted(
            (
                word
                for word, count in counts.items()
                if count >= min_count and (not sentences or carried(word))
            ),
            key=lambda word: (-counts[word], word),
        )
        if not kept:
            raise InputError(
                f"no word comes min_count = {min_count} times in the {number} captions; "
                "give more captions or a lower min_count"
            )
        return cls(("", UNKNOWN_WORD, *([STOP] if sentences else []), *kept))

    def encode(self, text: str, max_len: int) -> np.ndarray:
        """The ids of a caption's words, then a 0 where there is room, padded with 0.

        A longer caption is cut at `max_len` words and has no 0. A caption without words (empty, or
        only punctuation) is all 0. Between the sentences of a paragraph stands a 2, which counts
        as a word here; the last is closed by the 0 alone.

        Args:
          text: one caption.
          max_len: T, words at most.
        Returns:
          int32[T].
        Raises:
          InputError: it is not text, or max_len is below 1.
        """
        if not isinstance(text, str):
            raise InputError(
                f"encode takes one caption as text, not {_told(text)}; encode_all takes a list"
            )
        return self.encode_all([text], max_len)[0]

    def encode_all(self, captions: Sequence[str], max_len: int) -> np.ndarray:
        """The ids of the words of N captions, each as `encode` gives them: int32[N, max_len]."""
        _check_count("max_len", max_len)
        if isinstance(captions, AnySet):
            raise InputError("encode_all takes a list of captions, not a set: it has no order")
        captions = list(_texts(captions, "encode_all"))
        rows = np.zeros((len(captions), max_len), np.int32)
        find = self.ids.get
        split = _parted if self.sentences else tokenize
        for row, caption in zip(rows, captions, strict=True):
            words = split(caption)[:max_len]
            row[: len(words)] = [find(word, UNKNOWN) for word in words]
        return rows

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The words before the first 0, joined by spaces; the unknown word reads "<unk>".

        Each sentence of a paragraph has a full stop behind it, so that `encode` finds it again:
        "a red circle. two squares on the left." An empty sentence is a stop by itself.

        Args:
          ids: [T], of one caption.
        Raises:
          InputError: they are not, as those of a batch are not, or one of them is not in the
            vocabulary.
        """
        words = []
        for i in _one_caption(ids):
            if i == END:
                break
            if not 0 <= i < len(self.words):
                raise InputError(
                    f"word id {i} is not in the vocabulary of {len(self)} words; "
                    "these captions were spoken with another vocabulary"
                )
            words.append(self.words[i])
        return _with_stops(words) if self.sentences else " ".join(words)

    def save(self, path: str | Path) -> None:
        """Writes the vocabulary as JSON; `load` reads it back."""
        text = json.dumps({"words": self.words[_FIRST:]}, ensure_ascii=False, indent=0)
        try:
            Path(path).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"cannot write the vocabulary {path}: {error.strerror}; name a file"
            ) from error

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Reads what `save` wrote. Raises InputError where the file is missing or is not one."""
        try:
            with as_of_a_disk(path):
                text = place(path).read_bytes().decode("utf-8-sig")
            content = json.loads(text)
        except OSError as error:
            raise InputError(f"cannot read the vocabulary {path}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"the vocabulary {path} is not JSON in UTF-8: {error}") from error
        words = content.get("words") if isinstance(content, dict) else None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise InputError(
                f'{path} is not a vocabulary; it must hold {{"words": [...]}} with a list of words'
            )
        for word in words:
            if word.split() != [word] or word == UNKNOWN_WORD:
                raise InputError(
                    f'the vocabulary {path} holds "{word}", which cannot be a word; remove it'
                )
        try:
            return cls(("", UNKNOWN_WORD, *words))
        except InputError as error:
            raise InputError(f"the vocabulary {path} is damaged: {error}") from error


def _parted(paragraph: str) -> list[str]:
    """The words of a paragraph, with a stop between two sentences."""
    words: list[str] = []
    for sentence in sentence_words(paragraph):
        words += [STOP, *sentence] if words else sentence
    return words


def _with_stops(words: Sequence[str]) -> str:
    """Words with stops among them as text: a stop behind each sentence, the last one, too."""
    text: list[str] = []
    last = STOP
    for word in (*words, *([STOP] if words[-1:] not in ([], [STOP]) else [])):
        if word == STOP and last != STOP and closes(last):
            text[-1] += STOP
        else:
            text.append(word)
        last = word
    return " ".join(text)


def _told(value: Any) -> str:
    """A value in a sentence: short, on one line."""
    return " ".join(reprlib.repr(value).split())


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InputError(f"{name} is {_told(value)}; it must be an integer, 1 or more")
    if value < 1:
        raise InputError(f"{name} is {value}; it must be 1 or more")


def _texts(captions: Any, taker: str) -> Iterator[str]:
    """The captions of a list, once each is seen to be text."""
    if isinstance(captions, str | bytes | Mapping) or not isinstance(captions, Iterable):
        one = "one caption, " if isinstance(captions, str) else ""
        raise InputError(f"{taker} takes a list of captions, not {one}{_told(captions)}")
    for n, caption in enumerate(captions):
        if not isinstance(caption, str):
            raise InputError(
                f"{taker} takes a list of captions, and caption {n} is {_told(caption)}, not text"
            )
        yield caption


def _one_caption(ids: Any) -> list[int]:
    """The ids of one caption as integers."""
    if isinstance(ids, list | tuple) and any(isinstance(i, bool | np.bool_) for i in ids):
        raise InputError(f"decode takes word ids, not {_told(ids)}: True and False are no ids")
    try:
        array = np.asarray(ids)
    except (ValueError, OverflowError):  # rows of several lengths
        array = np.empty((0, 0))
    if array.ndim != 1:
        shape = f"an array of shape {array.shape}" if array.size and array.ndim else _told(ids)
        raise InputError(
            f"decode takes the ids of one caption, [T], not {shape}; "
            "of a batch, decode each row by itself"
        )
    if array.size and array.dtype.kind not in "iu":
        raise InputError(f"decode takes word ids, which are integers, not {_told(ids)}")
    return array.tolist()
