"""Rows that name an image and hold its captions, out of JSON in any of the usual shapes."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from capjax.data.annotations import read_json
from capjax.errors import InputError

# COCO's 42, "42", "000000000042" and "COCO_val2014_000000000042.jpg" are one image.
_NUMBERED = re.compile(r"(?:COCO_[a-z]+\d{4}_)?0*(\d+)(?:\.jpg)?", re.ASCII)
NAMES = ("image_id", "id")  # of the image; where a row has both, "id" is the caption's own


Row = tuple[str, str, Any]  # where it stands, the image, one text or a list of texts


def rows_of(path: Path, fields: tuple[str, ...], found: Any = None) -> Iterator[Row]:
    """The rows of a file: JSON lines, a JSON list of rows, or an object {id: texts}.

    fields: where a row may keep its texts, the first that it has. found: what the file holds, where
    that is known. Raises InputError, with file and row.
    """
    if found is None and path.suffix != ".jsonl":
        found = whole_file(path)
    if found is None:
        yield from rows_in(path, _lines(path), fields, "line", 1)
    elif isinstance(found, list):
        yield from rows_in(path, found, fields)
    elif isinstance(found, dict) and any(name in found for name in NAMES):
        yield from rows_in(path, [found], fields)  # one row on one line, not named .jsonl
    elif isinstance(found, dict):
        for name, texts in found.items():
            yield f"{path}: image {name}", image_name({"id": name}, f"{path}", ("id",)), texts
    else:
        raise InputError(f"{path} must hold rows with an id and a caption, or {{id: caption}}")


def rows_in(
    path: Path, rows: Iterable[Any], fields: tuple[str, ...], what: str = "row", first: int = 0
) -> Iterator[Row]:
    """Each of `rows`, which are called `what` and counted from `first` in an InputError."""
    for number, row in enumerate(rows, first):
        if row is None and what == "line":
            continue  # blank
        where = f"{path}, {what} {number}"
        name = image_name(row, where, NAMES)
        field = next((field for field in fields if field in row), None)
        if field is None:
            raise InputError(f'{where} has no "{fields[0]}"; write it')
        yield where, name, row[field]


def _lines(path: Path) -> Iterator[Any]:
    """What each line of JSON lines holds; None for a blank one."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    for number, line in enumerate(text.split("\n"), 1):  # U+2028 is text within a JSON string
        try:
            yield json.loads(line, object_pairs_hook=_unique) if line.strip() else None
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path}, line {number} is not valid JSON: {error.msg} at column {error.colno}"
            ) from error
        except (RecursionError, ValueError) as error:
            raise InputError(f"{path}, line {number} is no row with a caption: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f'it names "{name}" twice')
    return dict(pairs)


def whole_file(path: Path) -> Any:
    """What a file of JSON holds; None where it is one of JSON lines."""
    try:
        return read_json(path)
    except InputError as error:
        cause = error.__cause__
        if isinstance(cause, json.JSONDecodeError) and cause.msg == "Extra data":
            return None
        raise
    except ValueError as error:  # a number of thousands of digits
        raise InputError(f"{path} is not a file of captions: {error}") from error


def image_name(row: Any, where: str, names: tuple[str, ...]) -> str:
    """The id of an image as text."""
    if not isinstance(row, dict):
        raise InputError(f'{where} is {str(row)[:40]!r}, not a row with "id"; write {{"id": ...}}')
    field = next((name for name in names if name in row), None)
    if field is None:
        raise InputError(f'{where} has no "{names[0]}"; name its image')
    name = row[field]
    if isinstance(name, float) and name.is_integer():
        name = int(name)  # as tables write whole numbers
    if isinstance(name, bool) or not isinstance(name, int | str) or name == "":
        raise InputError(f'{where} has "{field}": {name!r}; make it a number or a text')
    numbered = _NUMBERED.fullmatch(str(name))
    return numbered[1] if numbered else str(name)
