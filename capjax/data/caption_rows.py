"""Rows that name an image and hold its captions, out of JSON or CSV in any of the usual shapes."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from capjax.data.annotations import read_json, read_rows_csv
from capjax.data.image_ids import Named, brief, id_text, is_file, quoted
from capjax.data.tokens import tokenize
from capjax.errors import InputError

NAMES = ("image_id", "img_id", "id")  # of the image; where a row has two, "id" is the caption's own
FILES = ("image", "photo", "file_name", "filename")  # of the image, as BLIP's and our own rows say
TEXTS = ("caption", "captions")


class Row(NamedTuple):
    """What one place of a file says of an image."""

    where: str  # the file and the place, as a sentence begins
    image: Named
    texts: Any  # a text or a list of texts, not looked at yet
    spelling: str = ""  # how the id is written: the same in all rows of an image
    split: Any = None
    doubtful: bool = False  # whether the id may be the caption's own


def rows_of(path: Path, fields: tuple[str, ...], found: Any = None) -> list[Row]:
    """The rows of a file.

    JSON lines, a JSON list of rows, COCO's annotations, a table image,caption[,split], an object
    {id: texts} or {file: {"captions": texts, "split": ...}}.

    fields: where a row may keep its texts, the first that it has. found: what the file holds, where
    that is known. Raises InputError, with file and row.
    """
    if path.suffix.lower() == ".csv":
        return [
            Row(f"{path}: image {brief(file)}", Named(None, file), texts, split=split)
            for file, (texts, split) in read_rows_csv(path).items()
        ]
    if found is None and path.suffix != ".jsonl":
        found = whole_file(path)
    if found is None:
        return list(_rows_in(path, _lines(path), fields, "line", 1))
    if isinstance(found, list):
        return list(_rows_in(path, found, fields))
    if not isinstance(found, dict):
        raise InputError(f"{path} must hold rows with an id and a caption, or {{id: caption}}")
    if isinstance(found.get("annotations"), list):
        return _annotations(path, found)
    if any(name in found for name in NAMES) or (
        any(name in found for name in FILES) and any(field in found for field in fields)
    ):
        return list(_rows_in(path, [found], fields))  # one row on one line, not named .jsonl
    return [_entry(path, name, value) for name, value in found.items()]


def _entry(path: Path, name: str, value: Any) -> Row:
    """A row of an object {id: texts}."""
    where = f"{path}: image {brief(name)}"
    image = id_text(name, where, "id")
    if not isinstance(value, dict):
        return Row(where, Named(image), value)
    if "captions" not in value:
        raise InputError(
            f'{path}: "{brief(name)}" holds an object without "captions"; is it one of the files '
            "that captions are kept in?"
        )
    named = Named(None, image) if is_file(image) else Named(image)
    return Row(where, named, _texts(value, where, TEXTS), split=value.get("split"))


def _annotations(path: Path, found: dict[str, Any]) -> list[Row]:
    """The rows of COCO's annotations, whose images have files' names where they are told."""
    files: dict[str, str | None] = {}
    images = found.get("images", [])
    if not isinstance(images, list):
        raise InputError(f'{path} has "images": {quoted(images)}; make it a list, or leave it out')
    for number, image in enumerate(images):
        where = f"{path}: image {number}"
        name, _ = _id(image, where, ("id",))
        if name in files:
            raise InputError(f"{where} has the id {brief(name)} of another; give it its own")
        file = image.get("file_name")
        files[name] = None if file is None else id_text(file, where, "file_name")
    rows = []
    for number, note in enumerate(found["annotations"]):
        where = f"{path}, row {number}"
        name, spelling = _id(note, where, ("image_id",))
        texts = _texts(note, where, ("caption",))
        rows.append(Row(where, Named(name, files.get(name)), texts, spelling))
    return rows


def _rows_in(
    path: Path,
    rows: Iterable[Any],
    fields: tuple[str, ...],
    what: str = "row",
    first: int = 0,
) -> Iterator[Row]:
    """Each of `rows`, which are called `what` and counted from `first` in an InputError."""
    for number, row in enumerate(rows, first):
        if row is None and what == "line":
            continue  # blank
        where = f"{path}, {what} {number}"
        image, spelling = _named(row, where)
        doubtful = image.file is not None and not any(name in row for name in NAMES[:-1])
        texts = _texts(row, where, fields)
        yield Row(where, image, texts, spelling, doubtful=doubtful and image.id is not None)


def _named(row: Any, where: str) -> tuple[Named, str]:
    """What a row calls its image, and how it writes the id."""
    field = next((name for name in FILES if isinstance(row, dict) and name in row), None)
    if field is None:
        name, spelling = _id(row, where, NAMES)
        return Named(name), spelling
    file = id_text(row[field], where, field)
    if any(name in row for name in NAMES):
        name, spelling = _id(row, where, NAMES)
        return Named(name, file), spelling
    if field == "image" and not is_file(file):
        return Named(file), type(row[field]).__name__
    return Named(None, file), ""


def _id(row: Any, where: str, names: tuple[str, ...]) -> tuple[str, str]:
    if not isinstance(row, dict):
        raise InputError(f'{where} is {quoted(row)}, not a row with "id"; write {{"id": ...}}')
    field = next((name for name in names if name in row), None)
    if field is None:
        raise InputError(f'{where} has no "{names[0]}"; name its image')
    return id_text(row[field], where, field), type(row[field]).__name__


def _texts(row: dict[str, Any], where: str, fields: tuple[str, ...]) -> Any:
    """A row's text or texts; those of `capjax.caption --json` stand beside their probabilities."""
    field = next((field for field in fields if field in row), None)
    if field is None:
        raise InputError(f'{where} has no "{fields[0]}"; write it')
    if field in TEXTS and all(name in row for name in TEXTS):
        raise InputError(f'{where} has both "caption" and "captions"; leave one out')
    texts = row[field]
    if not isinstance(texts, list):
        return texts
    return [text.get("caption", text) if isinstance(text, dict) else text for text in texts]


def checked(texts: Any, where: str, *, wordless: bool = True) -> list[str]:
    """One text or several as a list; wordless: whether they may be without words."""
    texts = texts if isinstance(texts, list) else [texts]
    for text in texts:
        if not isinstance(text, str):
            raise InputError(
                f"{where} has the caption {quoted(text)}, which is not text; write a text"
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{where} holds half a character (a lone surrogate); retype it"
            ) from error
        if not wordless and not has_words(text):
            raise InputError(f"{where} has the reference {quoted(text)} without words; remove it")
    return texts


def has_words(text: str) -> bool:
    return bool(tokenize(text))


def gathered(path: Path, rows: list[Row]) -> list[tuple[Named, list[Row]]]:
    """The rows of each image, in the order of the images' first rows.

    Two names are two images. Raises InputError where one id is written in two ways or has two
    files.
    """
    own: dict[str | None, set[str | None]] = defaultdict(set)
    for row in rows:
        if row.doubtful:
            own[row.image.file].add(row.image.id)
    if any(len(ids) > 1 for ids in own.values()):  # each caption has its own
        rows = [
            row._replace(image=Named(None, row.image.file)) if row.doubtful else row for row in rows
        ]
    found: dict[tuple[bool, str], tuple[Named, list[Row]]] = {}
    for row in rows:
        key = (row.image.id is None, row.image.name)
        image, before = found.setdefault(key, (row.image, []))
        if before and before[0].spelling != row.spelling:
            raise InputError(
                f"{row.where} writes the id {brief(row.image.name)} as {row.spelling} and "
                f"{before[0].where} as {before[0].spelling}; write one image's id in one way"
            )
        if row.image != image:
            raise InputError(
                f"{row.where} calls the file of image {brief(image.name)} "
                f"{brief(row.image.file or 'nothing')} and {before[0].where} calls it "
                f"{brief(image.file or 'nothing')}; give each image one file and one id"
            )
        before.append(row)
    return list(found.values())


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
