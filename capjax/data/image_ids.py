"""Which image a name means: the one rule by which captions, references and photos are paired.

A name with a picture's ending is a file's name: it fits the file of that name, with or without the
folders before it. Any other name is an id: it fits the same id, letter by letter, so that 1 is
neither 001 nor 1.jpg. COCO's names (000000391895 and COCO_val2014_000000391895, with or without
.jpg, and coco_391895) are the id 391895, too. A name that fits two images is refused, and `ids`
decides: "id" has ids alone compared, "file" names of files alone, with or without an ending.
"""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from capjax.errors import InputError

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")
IDS = ("id", "file")  # what may be compared alone
_COCO = re.compile(
    r"(?:COCO_[a-z]+\d{4}_(\d{1,12})|(\d{12}))(?:\.(?:jpe?g|png))?|coco_(\d{1,12})", re.ASCII
)
_EXACT = 2**53  # whole numbers from here on are rounded by a JSON float


class Named(NamedTuple):
    """What a file calls an image; one of the two is there."""

    id: str | None
    file: str | None = None

    @property
    def name(self) -> str:
        return self.id if self.id is not None else self.file or ""

    @property
    def label(self) -> str:
        """The name that scores are kept under."""
        return coco_number(self.name) or self.name


def id_text(value: Any, where: str, field: str) -> str:
    """An image's id as text; InputError, which begins with `where`, where it is none."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        value = int(value)  # as tables write whole numbers
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise InputError(f'{where} has "{field}": {value!r}; make it a number or a text')
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f'{where} has "{field}": {value!r} with half a character (a lone surrogate); retype it'
        ) from error
    return str(value)


def is_file(name: str) -> bool:
    """Whether a name has a picture's ending."""
    return name.lower().endswith(ENDINGS)


def coco_number(name: str) -> str | None:
    """The image's number in one of COCO's names, None in any other."""
    found = _COCO.fullmatch(os.path.basename(name) if is_file(name) else name)
    return str(int(next(filter(None, found.groups())))) if found else None


def shown(name: str) -> str:
    """A name as a sentence may hold it: on one line, and not too long."""
    plain = "".join(c if c.isprintable() else " " for c in name)
    return plain if len(plain) <= 80 else plain[:77] + "..."


def find(
    said: Sequence[Named], truth: Sequence[Named], where: str, ids: str | None = None
) -> list[int | None]:
    """The place in `truth` of each image of `said`; None where no name fits.

    where: the file of `said`. ids: one of IDS, or None for the rule. Raises InputError where a name
    fits two images, or two names fit one.
    """
    fits = _by_rule(truth, where) if ids is None else {"id": _by_id, "file": _by_file}[ids](truth)
    places: list[int | None] = []
    taken: dict[int, Named] = {}
    for named in said:
        found = fits(named)
        if len(found) > 1:
            first, second = (_both(truth[i]) for i in found[:2])
            decide = {
                None: "say which is meant with --ids=id or --ids=file",
                "id": "write the id as the references do",
                "file": "write the file's name as the references do",
            }[ids]
            raise InputError(
                f"{where}: {_both(named)} may be the image {first} or {second}; {decide}"
            )
        place = found[0] if found else None
        if place is not None and place in taken:
            raise InputError(
                f"{where}: {_both(taken[place])} and {_both(named)} are both the image "
                f"{_both(truth[place])}; keep one of them"
            )
        if place is not None:
            taken[place] = named
        places.append(place)
    return places


Fits = Callable[[Named], list[int]]  # the places of the images that a name may mean


def _by_rule(truth: Sequence[Named], where: str) -> Fits:
    same, number, files, file_number = (defaultdict[str, list[int]](list) for _ in range(4))
    for i, named in enumerate(truth):
        file = _file(named)
        if named.id is not None:
            same[named.id].append(i)
            number[coco_number(named.id) or named.id].append(i)
        elif coco := coco_number(named.name):
            number[coco].append(i)
        if file is not None:
            files[_basename(file)].append(i)
            if coco := coco_number(file):
                file_number[coco].append(i)

    def numbered(coco: str) -> list[int]:
        """By COCO's number; an image whose file is another of COCO's has ids of its own."""
        found = file_number.get(coco, [])
        return [
            *found,
            *(
                i
                for i in number.get(coco, [])
                if i not in found and not coco_number(_file(truth[i]) or "")
            ),
        ]

    def by_file(file: str) -> list[int]:
        found = [i for i in files.get(_basename(file), []) if _tail(file, _file(truth[i]) or "")]
        exact = [i for i in found if _plain(_file(truth[i]) or "") == _plain(file)]
        if exact or found:
            return exact or found
        coco = coco_number(file)
        return [
            i
            for i in (numbered(coco) if coco else [])
            if _file(truth[i]) is None or i in file_number.get(coco or "", [])
        ]

    def by_id(name: str) -> list[int]:
        if name in same:
            return same[name]
        coco = coco_number(name)
        return numbered(coco) if coco else number.get(name, [])

    def fits(named: Named) -> list[int]:
        file = _file(named)
        by_name = by_file(file) if file is not None else []
        if named.id is None:
            return by_name
        if is_file(named.id):
            return list(dict.fromkeys([*by_name, *same.get(named.id, [])]))
        found = list(dict.fromkeys([*by_name, *by_id(named.id)]))
        if file is not None and not by_name:
            for i in found:
                other = _file(truth[i])
                if other is not None:
                    raise InputError(
                        f"{where}: {_both(named)} is the image {_both(truth[i])} by its id and is "
                        "not by its file; say which counts with --ids=id or --ids=file"
                    )
        return found

    return fits


def _by_id(truth: Sequence[Named]) -> Fits:
    same, number = (defaultdict[str, list[int]](list) for _ in range(2))
    for i, named in enumerate(truth):
        same[named.name].append(i)
        number[named.label].append(i)
    return lambda named: same.get(named.name) or number.get(named.label, [])


def _by_file(truth: Sequence[Named]) -> Fits:
    stems, number = (defaultdict[str, list[int]](list) for _ in range(2))
    names = [named.file or named.name for named in truth]
    for i, name in enumerate(names):
        stems[_stem(_basename(name))].append(i)
        number[coco_number(name) or name].append(i)

    def fits(named: Named) -> list[int]:
        name = named.file or named.name
        found = []
        for i in stems.get(_stem(_basename(name)), []):
            other = names[i]
            both = is_file(name) and is_file(other)
            if _tail(name, other) if both else _tail(_stem(name), _stem(other)):
                found.append(i)
        exact = [i for i in found if _plain(names[i]) == _plain(name)]
        return exact or found or number.get(coco_number(name) or name, [])

    return fits


def _file(named: Named) -> str | None:
    if named.file is not None:
        return named.file
    return named.id if named.id is not None and is_file(named.id) else None


def _plain(path: str) -> str:
    """A path in one spelling: an accent may be a letter's own or a character after it."""
    return os.path.normpath(unicodedata.normalize("NFC", path))


def _basename(path: str) -> str:
    return os.path.basename(_plain(path))


def _stem(name: str) -> str:
    return os.path.splitext(name)[0] if is_file(name) else name


def _tail(path: str, other: str) -> bool:
    """Whether one of two paths is the end of the other."""
    parts, others = (_plain(p).split(os.sep) for p in (path, other))
    short = min(len(parts), len(others))
    return parts[-short:] == others[-short:]


def _both(named: Named) -> str:
    if named.id is None or named.file is None:
        return shown(named.name)
    return f"{shown(named.id)} ({shown(named.file)})"
