"""Which image a name means: the one rule by which captions, references and photos are paired.

A name with a picture's ending is a file's name: it fits the file of that name, with or without the
folders before it. Any other name is an id: it fits the same id, letter by letter, so that 1 is
neither 001 nor 1.jpg. COCO's names (000000391895 and COCO_val2014_000000391895, with or without
.jpg, and coco_391895) are the id 391895, too. A name that fits two images is refused, and `ids`
decides: "id" has ids alone compared, "file" names of files alone, with or without an ending.
"""

import os
import re
import reprlib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from capjax.data.photo_pixels import ENDINGS
from capjax.errors import InputError

IDS = ("id", "file")  # what may be compared alone
_COCO = re.compile(
    r"(?:COCO_[a-z]+\d{4}_(\d{1,12})|(\d{12}))(?:\.(?:jpe?g|png))?|coco_(\d{1,12})", re.ASCII
)
_QUOTE = reprlib.Repr()
_QUOTE.maxlevel, _QUOTE.maxstring = 3, 60
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
    if type(value) is int:
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        value = int(value)  # as tables write whole numbers
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
        raise InputError(f'{where} has "{field}": {quoted(value)}; make it a number or a text')
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f'{where} has "{field}": {quoted(value)} with half a character (a lone surrogate); '
            "retype it"
        ) from error
    return str(value)


def is_file(name: str) -> bool:
    """Whether a name has a picture's ending."""
    return "." in name and os.path.splitext(name)[1].lower() in ENDINGS


def coco_number(name: str) -> str | None:
    """The image's number in one of COCO's names, None in any other."""
    if len(name) < 6:  # the shortest is coco_1
        return None
    match = _COCO.fullmatch(os.path.basename(name) if is_file(name) else name)
    return str(int(next(filter(None, match.groups())))) if match else None


def plain(names: Sequence[str]) -> list[str]:
    """Names as scores are kept under: COCO's as numbers, where no two images get the same."""
    labels = {name: coco_number(name) or name for name in names}
    count = Counter(labels.values())
    return [labels[name] if count[labels[name]] == 1 else name for name in names]


def own_names(images: Sequence[Named], path: Path) -> list[str]:
    """What a file calls its images, the same wherever it lies and whoever speaks of them.

    An image is called by its id, else by its file: as seen from the folder of `path` or, where it
    leads outside, without folders where no two are then alike. Raises InputError where two images
    are called alike.
    """
    files = {
        named.name: _inside(named.name, path.parent)
        for named in images
        if named.id is None or is_file(named.id)
    }
    ends = Counter(map(os.path.basename, files.values()))
    for name, file in files.items():
        outside = os.path.isabs(file) or file.startswith(f"..{os.sep}")
        if outside and ends[os.path.basename(file)] == 1:
            files[name] = os.path.basename(file)
    names = [files.get(named.name, named.name) for named in images]
    if len(set(names)) < len(names):
        names = [named.name for named in images]
    names = plain(names)
    if len(set(names)) < len(names):
        name = next(name for name, times in Counter(names).items() if times > 1)
        raise InputError(
            f"{path} calls two images {brief(name)}, one by its id and one by its file; give each "
            "an id of its own"
        )
    return names


def _inside(file: str, folder: Path) -> str:
    """A file's name without detours, as seen from a folder where it lies in that."""
    top, file = os.path.abspath(folder), os.path.normpath(file)
    whole = os.path.normpath(os.path.join(top, file))
    return os.path.relpath(whole, top) if whole.startswith(top.rstrip(os.sep) + os.sep) else file


def brief(name: str) -> str:
    """A name as a sentence may hold it: on one line, and not too long."""
    plain = "".join(c if c.isprintable() else " " for c in name)
    return plain if len(plain) <= 80 else plain[:77] + "..."


def quoted(value: Any) -> str:
    """A value as a sentence may quote it."""
    return _QUOTE.repr(value)


def find(
    images: Sequence[Named], truth: Sequence[Named], where: str, ids: str | None = None
) -> list[int | None]:
    """The place in `truth` of each of `images`; None where no name fits.

    where: the file of `images`. ids: one of IDS, or None for the rule. Raises InputError where a
    name fits two images, or two names fit one.
    """
    fits = {None: _by_rule, "id": _by_id, "file": _by_file}[ids](truth, where)
    places: list[int | None] = []
    taken: dict[int, Named] = {}
    for named in images:
        matches = fits(named)
        if len(matches) > 1:
            first, second = (_both(truth[i]) for i in matches[:2])
            decide = {
                None: "write it as the references do, or say what counts with --ids=id or "
                "--ids=file",
                "id": "write the id as the references do",
                "file": "write the file's name as the references do",
            }[ids]
            raise InputError(
                f"{where}: {_both(named)} may be the image {first} or {second}; {decide}"
            )
        place = matches[0] if matches else None
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


class _Files:
    """Names of files, to be looked for with more or fewer of the folders before them."""

    def __init__(self, names: Iterable[tuple[int, str]]):
        self.whole, self.ends = defaultdict[str, list[int]](list), defaultdict[str, list[int]](list)
        for i, name in names:
            whole, *ends = _ends(name)
            self.whole[whole].append(i)
            for end in ends:
                self.ends[end].append(i)

    def __call__(self, name: str) -> list[int]:
        """The places of the same name or, where there is none, of those that end or begin in it."""
        whole, *ends = _ends(name)
        if whole in self.whole:
            return self.whole[whole]
        return [
            *self.ends.get(whole, []),
            *(i for end in ends for i in self.whole.get(end, [])),
        ]


def _by_rule(truth: Sequence[Named], where: str) -> Fits:
    same, number, file_number = (defaultdict[str, list[int]](list) for _ in range(3))
    their = [_file(named) for named in truth]
    files = _Files((i, file) for i, file in enumerate(their) if file is not None)
    for i, (named, file) in enumerate(zip(truth, their, strict=True)):
        if named.id is not None:
            same[named.id].append(i)
            number[named.label].append(i)
        elif coco := coco_number(named.name):
            number[coco].append(i)
        if file is not None and (coco := coco_number(file)):
            file_number[coco].append(i)

    def numbered(coco: str, unknown: bool = False) -> list[int]:
        """By COCO's number: of the file, or an id where the file is not another of COCO's.

        Where the one image's file has the number that is another's id, both may be meant.
        unknown: whether the file must then be unknown.
        """
        by_file = file_number.get(coco, [])
        ids = [i for i in number.get(coco, []) if i not in by_file]
        if by_file and not unknown:
            return by_file + ids
        return by_file + [
            i for i in ids if their[i] is None or not (unknown or coco_number(their[i] or ""))
        ]

    def by_file(file: str) -> list[int]:
        matches, coco = files(file), coco_number(file)
        return matches or (numbered(coco, unknown=True) if coco else [])

    def by_id(name: str) -> list[int]:
        if name in same:
            return list(dict.fromkeys(same[name] + file_number.get(name, [])))
        coco = coco_number(name)
        return numbered(coco) if coco else number.get(name, [])

    def fits(named: Named) -> list[int]:
        file = _file(named)
        by_name = by_file(file) if file is not None else []
        if named.id is None:
            return by_name
        if by_name and by_name == same.get(named.id):
            return by_name
        matches = same.get(named.id, []) if is_file(named.id) else by_id(named.id)
        if named.file is not None and not by_name:
            for i in matches:
                if their[i] is not None:
                    raise InputError(
                        f"{where}: {_both(named)} is the image {_both(truth[i])} by its id and is "
                        "not by its file; say which counts with --ids=id or --ids=file"
                    )
        return list(dict.fromkeys(by_name + matches))

    return fits


def _by_id(truth: Sequence[Named], where: str) -> Fits:
    same, number = (defaultdict[str, list[int]](list) for _ in range(2))
    for i, named in enumerate(truth):
        same[named.name].append(i)
        number[named.label].append(i)
    return lambda named: same.get(named.name) or number.get(named.label, [])


def _by_file(truth: Sequence[Named], where: str) -> Fits:
    names = [named.file or named.name for named in truth]
    files, stems = _Files(enumerate(names)), _Files((i, _stem(n)) for i, n in enumerate(names))
    number = defaultdict[str, list[int]](list)
    for i, name in enumerate(names):
        number[coco_number(name) or name].append(i)

    def fits(named: Named) -> list[int]:
        name = named.file or named.name
        matches = files(name) or [
            i for i in stems(_stem(name)) if not (is_file(name) and is_file(names[i]))
        ]
        return matches or number.get(coco_number(name) or name, [])

    return fits


def _file(named: Named) -> str | None:
    if named.file is not None:
        return named.file
    return named.id if named.id is not None and is_file(named.id) else None


def _ends(path: str) -> list[str]:
    """A path and its ends without the first folders, the nearest; accents in one spelling."""
    plain = os.path.normpath(path if path.isascii() else unicodedata.normalize("NFC", path))
    parts = plain.split(os.sep)
    return [plain, *(os.sep.join(parts[i:]) for i in range(max(1, len(parts) - 16), len(parts)))]


def _stem(name: str) -> str:
    return os.path.splitext(name)[0] if is_file(name) else name


def _both(named: Named) -> str:
    if named.id is None or named.file is None:
        return brief(named.name)
    return f"{brief(named.id)} ({brief(named.file)})"
