"""Rows that name an image and hold its captions, out of JSON or CSV in any of the usual shapes."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from capjax.data.annotations import delimiter_of, read_rows_csv
from capjax.data.image_ids import Named, brief, id_text, is_file, quoted
from capjax.data.text_files import json_lines, read_json, read_text
from capjax.data.tokens import tokenize
from capjax.errors import InputError

# Of the image; where a row has two, "id" is the caption's own.
NAMES = ("image_id", "img_id", "cocoid", "imgid", "id")
FILES = ("image", "photo", "file_name", "filename")  # of the image, as BLIP's and our own rows say
TEXTS = ("caption", "captions")
LISTS = ("results", "data")  # that an object may hold rows in, as evaluators' and TextCaps' do
_WORD = re.compile("(?:^| )[A-Za-z]+(?: |$)")  # of letters alone, which is never left out
_NUMBERED = re.compile(r"([^\t\r\n]*)#\d+\t(.*)")  # a line of Flickr8k.token.txt


class Row(NamedTuple):
    """What one place of a file says of an image."""

    where: str  # the file and the place, as a sentence begins
    image: Named
    texts: Any  # a text or a list of texts, not looked at yet
    spelling: str = ""  # how the id is written: the same in all rows of an image
    split: Any = None
    doubtful: bool = False  # whether the id may be the caption's own
    repeated: bool = False  # whether each row of an image has all of its texts


class Held(NamedTuple):
    """What a file holds, one of the three; a pipe can be read once."""

    content: Any = None  # of JSON
    lines: str | None = None  # of JSON lines
    table: Mapping[str, tuple[list[Any], Any]] | None = None  # {image: (captions, split)}


def read_held(path: Path) -> Held:
    """Reads a file, whose kind its ending tells or its beginning; raises InputError."""
    text, ending = read_text(path), path.suffix.lower()
    if ending == ".jsonl":
        return Held(lines=text)
    if ending == ".csv" or (ending != ".json" and delimiter_of(text)):
        return Held(table=read_rows_csv(path, text))
    if _NUMBERED.match(text):
        return Held(table=_numbered(path, text))
    try:
        return Held(read_json(path, text))
    except InputError as error:
        cause = error.__cause__
        if isinstance(cause, json.JSONDecodeError) and cause.msg == "Extra data":
            return Held(lines=text)
        raise


def rows_of(path: Path, fields: tuple[str, ...], held: Held) -> list[Row]:
    """The rows of what a file holds.

    JSON lines, a JSON list of rows, COCO's annotations, a table image,caption[,split], an object
    {id: texts} or {file: {"captions": texts, "split": ...}}.

    fields: where a row may keep its texts, the first that it has. Raises InputError, with file and
    row.
    """
    if held.table is not None:
        return [
            Row(f"{path}: image {brief(name)}", by_ending(name), texts, split=split)
            for name, (texts, split) in held.table.items()
        ]
    if held.lines is not None:
        return list(_rows_in(path, json_lines(path, held.lines), fields, "line", 1))
    content = held.content
    if isinstance(content, list):
        return list(_rows_in(path, content, fields))
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold rows with an id and a caption, or {{id: caption}}")
    if isinstance(content.get("annotations"), list):
        return _annotations(path, content)
    if any(name in content for name in NAMES) or (
        any(name in content for name in FILES) and any(field in content for field in fields)
    ):
        return list(_rows_in(path, [content], fields))  # one row on one line, not named .jsonl
    for name in LISTS:
        if isinstance(rows := content.get(name), list) and any(map(_is_row, rows[:1])):
            return list(_rows_in(path, rows, fields))
    return [_entry(path, name, value) for name, value in content.items()]


def _entry(path: Path, name: str, value: Any) -> Row:
    """A row of an object {id: texts}."""
    where = f"{path}: image {brief(name)}"
    image = id_text(name, where, "id")
    if isinstance(value, list):
        notes = [note for note in value if isinstance(note, dict)]  # as pycocoevalcap takes them
        for note in notes:
            if "image_id" in note and id_text(note["image_id"], where, "image_id") != image:
                raise InputError(
                    f"{where} holds a caption of image {quoted(note['image_id'])}; put it there"
                )
        return Row(where, Named(image), _plain_texts(value))
    if not isinstance(value, dict):
        return Row(where, Named(image), value)
    if "captions" not in value:
        raise InputError(
            f'{path}: "{brief(name)}" holds an object without "captions"; is it one of the files '
            "that captions are kept in?"
        )
    texts = _texts(value, where, TEXTS)
    return Row(where, by_ending(image), texts, split=value.get("split"))


def by_ending(name: str) -> Named:
    """What a folder's captions call an image: its file, where that ends as pictures do."""
    return Named(None, name) if is_file(name) else Named(name)


def _numbered(path: Path, text: str) -> dict[str, tuple[list[Any], Any]]:
    """The rows of lines FILE#NUMBER, a tab, and the caption, as Flickr8k.token.txt has."""
    rows: dict[str, tuple[list[Any], Any]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        match = _NUMBERED.fullmatch(line.rstrip("\r"))
        if not match or not match[1].strip():
            raise InputError(
                f"{path}, line {number} is not an image's name, #, a number, a tab and a caption, "
                "as the first is; mend it"
            )
        rows.setdefault(match[1], ([], None))[0].append(match[2])
    return rows


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and any(name in row for name in (*NAMES, *FILES))


def _annotations(path: Path, content: dict[str, Any]) -> list[Row]:
    """The rows of COCO's annotations, whose images have files' names where they are told."""
    files = files_of(path, content)
    rows = []
    for number, note in enumerate(content["annotations"]):
        where = f"{path}, row {number}"
        name, spelling = _id(note, where, ("image_id",))
        texts = _texts(note, where, ("caption",))
        rows.append(Row(where, Named(name, files.get(name)), texts, spelling))
    return rows


def files_of(path: Path, content: dict[str, Any]) -> dict[str, str | None]:
    """The images of COCO's annotations: {id: the file's name, where it is told}."""
    files: dict[str, str | None] = {}
    images = content.get("images", [])
    if not isinstance(images, list):
        raise InputError(f'{path} has "images": {quoted(images)}; make it a list, or leave it out')
    for number, image in enumerate(images):
        where = f"{path}: image {number}"
        name, _ = _id(image, where, ("id",))
        if name in files:
            raise InputError(f"{where} has the id {brief(name)} of another; give it its own")
        file = image.get("file_name")
        files[name] = None if file is None else id_text(file, where, "file_name")
    return files


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
        doubtful = image.file is not None and not _first(NAMES[:-1], row)
        texts, doubtful = _texts(row, where, fields), doubtful and image.id is not None
        repeated = "reference_strs" in row and row["reference_strs"] is texts
        yield Row(where, image, texts, spelling, None, doubtful, repeated)


def _named(row: Any, where: str) -> tuple[Named, str]:
    """What a row calls its image, and how it writes the id."""
    field = _first(FILES, row) if isinstance(row, dict) else None
    if field is None:
        name, spelling = _id(row, where, NAMES)
        return Named(name), spelling
    file = id_text(row[field], where, field)
    if _first(NAMES, row):
        name, spelling = _id(row, where, NAMES)
        return Named(name, file), spelling
    if field == "image" and not is_file(file):
        return Named(file), type(row[field]).__name__
    return Named(None, file), ""


def _id(row: Any, where: str, names: tuple[str, ...]) -> tuple[str, str]:
    if not isinstance(row, dict):
        raise InputError(f'{where} is {quoted(row)}, not a row with "id"; write {{"id": ...}}')
    field = _first(names, row)
    if field is None:
        raise InputError(f'{where} has no "{names[0]}"; name its image')
    return id_text(row[field], where, field), type(row[field]).__name__


def _first(names: tuple[str, ...], row: dict[str, Any]) -> str | None:
    """The first of some names that a row has; files have many rows, so this is quick."""
    for name in names:
        if name in row:
            return name
    return None


def _texts(row: dict[str, Any], where: str, fields: tuple[str, ...]) -> Any:
    """A row's text or texts; those of `capjax.caption --json` stand beside their probabilities."""
    field = _first(fields, row)
    if field is None:
        raise InputError(f'{where} has no "{fields[0]}"; write it')
    if field in TEXTS and "caption" in row and "captions" in row:
        raise InputError(f'{where} has both "caption" and "captions"; leave one out')
    return _plain_texts(row[field])


def _plain_texts(texts: Any) -> Any:
    """Texts that may stand in objects, beside what else is known of them."""
    if not isinstance(texts, list) or not any(isinstance(text, dict) for text in texts):
        return texts
    return [text.get("caption", text) if isinstance(text, dict) else text for text in texts]


def checked(texts: Any, where: str, *, wordless: bool = True) -> list[str]:
    """One text or several as a list; wordless: whether they may be without words."""
    texts = texts if isinstance(texts, list) else [texts]
    for text in texts:
        if type(text) is str and text.isascii() and _WORD.search(text):
            continue
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
    return _WORD.search(text) is not None or bool(tokenize(text))


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
    images: dict[tuple[bool, str], tuple[Named, list[Row]]] = {}
    for row in rows:
        key = (row.image.id is None, row.image.name)
        image, before = images.setdefault(key, (row.image, []))
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
    return list(images.values())
