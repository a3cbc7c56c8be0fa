"""Who said what of which image: reads the files that people keep captions in, and checks them."""

import csv
import io
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from capjax.data.image_ids import brief, id_text, quoted
from capjax.data.split_by_name import split_by_name
from capjax.data.text_files import read_json, read_text
from capjax.data.tokens import tokenize
from capjax.errors import InputError

SPLITS = ("train", "val", "test")  # what a file may say
# The columns of tables, the first that is there: ours, those of Kaggle's Flickr30k and of others.
IMAGES = ("image", "image_name", "file_name", "filename", "image_id", "id")
CAPTIONS = ("caption", "comment")
_NUMBERED = re.compile(r"\s*\d+\s+(\S.*)")
_WHOLE = re.compile(r"\d+\.0+", re.ASCII)
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


class Photo(NamedTuple):
    """An image file and what people wrote about it."""

    id: str
    file: str  # as the captions' file names it, or in full once it has been found
    captions: tuple[str, ...]  # at least one, each with at least one word
    split: str  # one of SPLITS
    concept: int = -1  # its class, counted from 0; -1 where there are no classes


def read_karpathy(path: Path, restval: bool = True, content: Any = None) -> list[Photo]:
    """The images of a `dataset_*.json` of Karpathy's (flickr8k, flickr30k, coco).

    restval: whether the images of split "restval" (coco) join "train"; else they are left out, and
    that is printed. Captions are `raw`, or the tokens where there is no `raw`. content: what the
    file holds, where it has been read. Raises InputError, naming the file and the entry, where
    anything in it is not as it should be.
    """
    content = read_json(path) if content is None else content
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not images:
        raise InputError(
            f'{path} has no list "images" with entries; is it one of Karpathy\'s dataset_*.json?'
        )
    photos: list[Photo] = []
    left_out = 0
    numbering = ""  # the field that holds the ids
    for number, image in enumerate(images):
        where = f"{path}: image {number}"
        file = image.get("filename") if isinstance(image, dict) else None
        if not isinstance(file, str) or not file:
            raise InputError(f'{where} has no "filename"; add the name of its file')
        where += f" ({brief(file)})"
        if isinstance(image.get("filepath"), str):
            file = f"{image['filepath']}/{file}"
        sentences = image.get("sentences")
        if not isinstance(sentences, list):
            raise InputError(f'{where} has no list "sentences"; add its captions')
        split = image.get("split")
        if split not in (*SPLITS, "restval"):
            raise InputError(
                f'{where} has "split": {quoted(split)}; make it train, val, test or restval'
            )
        if split == "restval" and not restval:
            left_out += 1
            continue
        captions = [_sentence(sentence, where) for sentence in sentences]
        key = next((key for key in ("cocoid", "imgid") if key in image), "")
        if photos and key != numbering:
            raise InputError(
                f"{where} has {key or 'no id'} where the images before it have "
                f"{numbering or 'none'}; call all by one of cocoid and imgid"
            )
        numbering = key
        name = id_text(image[key], where, key) if key else file
        photos.append(photo(name, file, captions, "train" if split == "restval" else split, where))
    if left_out:
        print(
            f"{path}: the {left_out} images of split restval are left out, as restval is off",
            file=sys.stderr,
        )
    return photos


def _sentence(sentence: Any, where: str) -> Any:
    if isinstance(sentence, dict) and "raw" in sentence:
        return sentence["raw"]
    tokens = sentence.get("tokens") if isinstance(sentence, dict) else None
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise InputError(f'{where} has a sentence without "raw" and "tokens"; add one of them')
    return " ".join(tokens)


def read_captions_json(path: Path, content: Any = None) -> list[Photo]:
    """The images of a user's {file: [captions]} or {file: {"captions": [...], "split": "val"}}.

    content: what the file holds, where it has been read. Raises InputError, naming the file and the
    image, where anything is not as it should be.
    """
    content = read_json(path) if content is None else content
    if not isinstance(content, dict):
        raise InputError(f'{path} must hold one object, {{"photo.jpg": ["a caption", ...], ...}}')
    rows: dict[str, tuple[list[Any], Any]] = {}
    for file, value in content.items():
        where = f"{path}: image {brief(file)}"
        split = value.get("split") if isinstance(value, dict) else None
        captions = value.get("captions") if isinstance(value, dict) else value
        if not isinstance(captions, list):
            raise InputError(f'{where} has no list of captions; write ["a caption", ...]')
        rows[file] = (captions, split)
    return photos_of(rows, path)


def read_captions_csv(path: Path) -> list[Photo]:
    """The images of a user's table with the columns image, caption and, if wanted, split.

    One row a caption, UTF-8, quoted as RFC 4180 says; columns' names in any case and with spaces
    around them, and between fields what the first line has there (`DELIMITERS`). Raises InputError,
    naming the file and the line, where anything is not as it should be.
    """
    return photos_of(read_rows_csv(path), path)


def delimiter_of(text: str) -> str | None:
    """What parts an image's column from a caption's in a table's first line; None where nothing."""
    header = re.split("[\r\n]", text, maxsplit=1)[0]
    for delimiter in DELIMITERS:
        try:
            [names] = csv.reader([header], delimiter=delimiter, strict=True)
        except (csv.Error, ValueError):
            continue
        columns = [name.strip().lower() for name in names]
        if all(any(name in columns for name in role) for role in (IMAGES, CAPTIONS)):
            return delimiter
    return None


def read_rows_csv(path: Path, text: str | None = None) -> dict[str, tuple[list[Any], Any]]:
    """{image: (captions, split)} of such a table, before captions and splits are looked at.

    text: what the file holds, where it has been read.
    """
    text = read_text(path) if text is None else text
    delimiter = delimiter_of(text) or ","
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: dict[str, tuple[list[Any], Any]] = {}
    try:
        header = [column.strip() for column in table.fieldnames or ()]
        table.fieldnames = columns = [column.lower() for column in header]
        image_column = next((name for name in IMAGES if name in columns), IMAGES[0])
        caption_column = next((name for name in CAPTIONS if name in columns), CAPTIONS[0])
        for column in (image_column, caption_column, "split"):
            if columns.count(column) > 1:
                raise InputError(
                    f'{path} has the column "{column}" twice in its first line; rename one of them'
                )
        for column in (image_column, caption_column):
            if column not in columns:
                held = brief(", ".join(header)) or "nothing"
                raise InputError(
                    f'{path} has no column "{column}" in its first line, which holds: {held}; '
                    "begin with the line image,caption"
                )
        for row in table:
            where = f"{path}, line {table.line_num}"
            # One row of Flickr30k's published results.csv has its comment beside the number.
            number = _NUMBERED.fullmatch(row.get("comment_number") or "")
            if number and caption_column == "comment" and not row[caption_column]:
                row[caption_column] = number[1]
            if None in row:
                raise InputError(
                    f"{where}: more fields than the first line has; put captions that hold "
                    f'{DELIMITERS[delimiter]} in "quotes"'
                )
            if None in row.values():
                raise InputError(
                    f"{where}: fewer fields than the first line has; fill in what is missing"
                )
            row[image_column] = row[image_column].strip()
            if _WHOLE.fullmatch(row[image_column]):  # as tables write numbers where one is missing
                row[image_column] = row[image_column].partition(".")[0]
            if not row[image_column]:
                raise InputError(f"{where}: no image is named; fill in the column {image_column}")
            captions, split = rows.setdefault(row[image_column], ([], row.get("split")))
            if split != row.get("split"):
                raise InputError(
                    f"{where}: {brief(row[image_column])} is in split {quoted(split)} and in "
                    f"{quoted(row['split'])}; give all its captions one split"
                )
            captions.append(row[caption_column])
    except csv.Error as error:
        raise InputError(
            f"{path}, line {table.reader.line_num}: {error}; check the quotes there"
        ) from error
    return rows


def photos_of(rows: Mapping[str, tuple[list[Any], Any]], path: Path) -> list[Photo]:
    """Photos of a user's file, split as it says or, where it says nothing, by file name."""
    given = {file: split for file, (_, split) in rows.items() if split not in (None, "")}
    if given and len(given) < len(rows):
        first = next(file for file in rows if file not in given)
        raise InputError(
            f"{path}: image {brief(first)} has no split while others have; give a split to all or "
            "to none"
        )
    for file, split in given.items():
        if split not in SPLITS:
            raise InputError(
                f"{path}: image {brief(file)} has split {quoted(split)}; make it train, val, test"
            )
    photos = [
        photo(file, file, captions, split, f"{path}: image {brief(file)}")
        for file, (captions, split) in rows.items()
    ]
    if given:
        return photos
    splits = split_by_name(rows, path)
    return [shown._replace(split=splits[shown.file]) for shown in photos]


def photo(name: str, file: str, captions: list[Any], split: str, where: str) -> Photo:
    """One image, its captions checked; `where` begins the sentence of an InputError."""
    if not file.strip():
        raise InputError(f'{where}: "{brief(file)}" is not the name of a file; name the image')
    if not captions:
        raise InputError(f"{where} has no captions; write one or remove the image from the file")
    for number, caption in enumerate(captions):
        if not isinstance(caption, str):
            raise InputError(
                f"{where}: caption {number} is {quoted(caption)}, not text; write a caption"
            )
        if not tokenize(caption):
            raise InputError(f"{where}: caption {number} has no words; write it or remove it")
    try:
        "".join((name, file, *captions)).encode()
    except UnicodeEncodeError as error:
        where = where.encode(errors="replace").decode()
        raise InputError(f"{where} holds half a character (a lone surrogate); retype it") from error
    return Photo(name, file, tuple(captions), split)
