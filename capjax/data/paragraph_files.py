"""Paragraphs of Visual Genome's images (Krause et al., CVPR 2017), in the files as published."""

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from capjax.data.annotations import SPLITS, Photo, photo
from capjax.data.image_ids import brief, id_text, quoted
from capjax.data.text_files import read_json
from capjax.errors import InputError

TEXTS = "paragraphs_v1.json"
SITE = "https://cs.stanford.edu/people/ranjaykrishna/im2p"
_ARCHIVE = re.compile(r"/(VG_100K(?:_2)?)/")  # Visual Genome's images are in two


class ParagraphFiles(NamedTuple):
    """The published files on a disk."""

    texts: Path
    splits: Mapping[str, Path]  # "train", "val", and "test" where it is there

    @property
    def all(self) -> tuple[Path, ...]:
        return (self.texts, *self.splits.values())


def find(path: Path) -> ParagraphFiles:
    """The files of a folder, or beside the file of paragraphs itself.

    Raises InputError where one is missing; a file of the test split may lack.
    """
    texts = path / TEXTS if path.is_dir() else path
    splits = {split: texts.parent / f"{split}_split.json" for split in SPLITS}
    for file in (texts, splits["train"], splits["val"]):
        if not file.is_file():
            raise InputError(f"{file.parent} holds no {file.name}; take it from {SITE}")
    return ParagraphFiles(texts, {split: file for split, file in splits.items() if file.is_file()})


def read(files: ParagraphFiles) -> list[Photo]:
    """The images of the splits, in their order, each with its paragraphs.

    A few images have two, which both count; the same one twice is one. Images in no split are left
    out, and that is printed.

    Raises:
      InputError: naming the file and the entry, where anything is not as it should be.
    """
    places, paragraphs = _read_texts(files.texts)
    photos: list[Photo] = []
    side: dict[str, str] = {}
    for split, path in files.splits.items():
        for name in _read_split(path):
            if name not in paragraphs:
                raise InputError(
                    f"{path} lists image {brief(name)}, which has no paragraph in {files.texts};"
                    " write one, or take the image out of the list"
                )
            if name in side:
                raise InputError(
                    f"image {brief(name)} is in the splits {side[name]} and {split}; take it out of"
                    f" {path} or of {files.splits[side[name]]}"
                )
            side[name] = split
            where = f"{files.texts}: image {brief(name)}"
            photos.append(photo(name, places[name], list(paragraphs[name]), split, where))
    if spare := len(paragraphs.keys() - side.keys()):
        print(f"{files.texts}: {spare} images in no split are left out", file=sys.stderr)
    return photos


def _read_texts(path: Path) -> tuple[dict[str, str], dict[str, dict[Any, None]]]:
    """The file of each image, and its paragraphs without repetition, by its id."""
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        raise InputError(
            f'{path} must hold a list of {{"image_id": 2346802, "paragraph": "..."}}; take it from'
            f" {SITE}"
        )
    places: dict[str, str] = {}
    paragraphs: dict[str, dict[Any, None]] = {}
    for number, row in enumerate(rows):
        where = f"{path}, row {number}"
        if not isinstance(row, dict) or "image_id" not in row:
            raise InputError(f'{where} has no "image_id"; name its image')
        name = id_text(row["image_id"], where, "image_id")
        text = row.get("paragraph")
        if not isinstance(text, str):
            raise InputError(f'{where} has "paragraph": {quoted(text)}; write a text')
        places.setdefault(name, _place(name, row.get("url")))
        paragraphs.setdefault(name, {})[text.strip()] = None
    return places, paragraphs


def _place(name: str, url: Any) -> str:
    """The name of an image's file, in the folder of the archive that its address tells."""
    found = _ARCHIVE.search(url) if isinstance(url, str) else None
    return f"{found[1]}/{name}.jpg" if found else f"{name}.jpg"


def _read_split(path: Path) -> Iterable[str]:
    """The ids of a split, each once."""
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{path} must hold a list of images' ids; take it from {SITE}")
    return dict.fromkeys(id_text(row, f"{path}, row {n}", "id") for n, row in enumerate(rows))
