"""Triplets in the manner of CUB-Justify: an image, the class it is of, a class to tell it from.

Vedantam et al. (2017) ask people why an image is of the target class and not of the distractor
class. Their triplets are read from a JSON file, a list of

    {"image": "001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg",
     "target": "Black footed Albatross", "distractor": "002.Laysan_Albatross",
     "captions": ["This bird is dark all over, face and bill included.", ...]}

and of any dataset with classes, not of cub alone: "image" is an image's id as the dataset has it.
"""

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from capjax.data.annotations import photo
from capjax.data.text_files import read_json
from capjax.errors import InputError

FIELDS = ("image", "target", "distractor", "captions")


class Triplet(NamedTuple):
    """Why an image is of one class and not of another."""

    image: str  # its id
    target: int  # the class it is of, counted from 0
    distractor: int  # the class it is to be told from
    captions: tuple[str, ...]  # what people wrote, at least one


def read_justify(path: str | Path, ids: Iterable[str], concepts: Sequence[str]) -> list[Triplet]:
    """The triplets of a file, in its order.

    A class is written as its name, in any case, with spaces or underscores. Where names begin with
    a number and a dot, as cub's do (from 1), it may be left out or stand alone: 2, "2",
    "002.Laysan_Albatross" and "laysan albatross" are one class.

    Args:
      ids: of the images that triplets may be about.
      concepts: the names of the dataset's classes.

    Raises:
      InputError: naming the file and the row, where the dataset has no classes, the file is not
        such a list, a row lacks a field or captions, its image or a class is not the dataset's, or
        both its classes are one.
    """
    path = Path(path).expanduser()
    if not concepts:
        raise InputError(f"{path} is about classes, and the dataset has none; choose one that has")
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        raise InputError(
            f'{path} must hold a list of triplets, [{{"image": ..., "target": ..., '
            '"distractor": ..., "captions": [...]}, ...]'
        )
    known, spelled = {name: name for name in ids}, _spellings(concepts)
    triplets = []
    for number, row in enumerate(rows):
        where = f"{path}: row {number}"
        if not isinstance(row, dict):
            raise InputError(f"{where} is not an object; write {{{', '.join(FIELDS)}}}")
        for field in FIELDS:
            if field not in row:
                raise InputError(f'{where} has no "{field}"; add it')
        image = _text(row["image"])
        if image not in known:
            raise InputError(
                f"{where}: the dataset has no image {row['image']!r}; {_nearest(image, known)}"
            )
        target = _concept(row["target"], concepts, spelled, f'{where}: "target"')
        distractor = _concept(row["distractor"], concepts, spelled, f'{where}: "distractor"')
        if target == distractor:
            raise InputError(
                f"{where}: target and distractor are both {concepts[target]}; name another class "
                "to tell the image from"
            )
        if not isinstance(row["captions"], list):
            raise InputError(f'{where}: "captions" is no list; write ["a caption", ...]')
        captions = photo(image, image, row["captions"], "test", where).captions
        triplets.append(Triplet(image, target, distractor, captions))
    return triplets


def class_named(name: str | int, concepts: Sequence[str], where: str) -> int:
    """The class of a name, written as in a file of triplets, counted from 0.

    Raises InputError, which begins with `where`, for a name of none or of several.
    """
    return _concept(name, concepts, _spellings(concepts), where)


def _spellings(concepts: Sequence[str]) -> dict[str, set[int]]:
    """{a way to write a class: the classes it may be}; a name in full is no other class's part."""
    full: dict[str, set[int]] = defaultdict(set)
    part: dict[str, set[int]] = defaultdict(set)
    for i, concept in enumerate(concepts):
        full[_plain(concept)].add(i)
        if numbered := re.fullmatch(r"0*(\d+)\. ?(.+)", _plain(concept)):
            for spelling in numbered.groups():
                part[spelling].add(i)
    return {**part, **full}


def _concept(
    value: Any, concepts: Sequence[str], spelled: Mapping[str, set[int]], where: str
) -> int:
    text = _plain(_text(value))
    classes = spelled.get(text) or spelled.get(text.lstrip("0") if text.isdecimal() else "")
    if not classes:
        names = {name: concepts[min(may_be)] for name, may_be in spelled.items()}
        raise InputError(f"{where}: there is no class {value!r}; {_nearest(text, names)}")
    if len(classes) > 1:
        several = " or ".join(concepts[i] for i in sorted(classes))
        raise InputError(f"{where}: {value!r} may be {several}; write one of them in full")
    return min(classes)


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()


def _text(value: Any) -> str:
    """A name, or a number as text; what is neither names nothing."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else ""


def _nearest(text: str, names: Mapping[str, str]) -> str:
    """The mend of a name that is not there. names: {as it may be written: as it is shown}"""
    close = dict.fromkeys(names[name] for name in difflib.get_close_matches(text, names))
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"names are such as {', '.join(list(dict.fromkeys(names.values()))[:3])}"
