"""The references of images, read from the files that people keep them in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from capjax.data.annotations import Photo, photos_of, read_captions_json, read_karpathy
from capjax.data.caption_rows import (
    Held,
    Row,
    by_ending,
    checked,
    files_of,
    gathered,
    read_held,
    rows_of,
)
from capjax.data.image_ids import Named, brief, is_file
from capjax.errors import InputError

FIELDS = ("references", "reference_strs", "caption", "captions")
Images = list[tuple[Named, list[str]]]  # each with its captions


class Truth(NamedTuple):
    """The references of a file, of one split where it has splits, and whom it names besides."""

    references: Images
    others: Sequence[Named] = ()  # images of other splits
    homes: Sequence[str] = ()  # the split of each of them
    bare: Sequence[Named] = ()  # images without references
    by_name: bool = False  # whether the file names no splits, and they are made by its names

    @property
    def called(self) -> list[Named]:
        return [named for named, _ in self.references]


def truth_of(path: Path, split: str | None) -> Truth:
    """The references of a file; of one split, where it has splits."""
    held = read_held(path)
    if is_karpathy(held.content):
        return _of_split(path, read_karpathy(path, content=held.content), split)
    rows = rows_of(path, FIELDS, held)
    if split is not None and rows and (held.table is not None or _of_folder(held.content)):
        return _of_split(path, _photos(path, held), split, folder=True, by_name=not _splits(rows))
    if split is not None:
        raise InputError(
            f"{path} is not one of Karpathy's dataset_*.json and has no split {split!r}; leave "
            "--split out"
        )
    if splits := _splits(rows):
        raise InputError(
            f"{path} has the splits {brief(', '.join(splits))}; ask for one with --split"
        )
    return Truth(_references(path, rows), bare=_bare(path, held.content, rows))


def known_of(path: Path, by_name: bool) -> Images:
    """Split train of a file that has splits, else all of it; by_name: as of `read_known`."""
    held = read_held(path)
    if is_karpathy(held.content):
        return _of_split(path, read_karpathy(path, content=held.content), "train").references
    rows = rows_of(path, FIELDS, held)
    if rows and (held.table is not None or _of_folder(held.content)) and (by_name or _splits(rows)):
        return _of_split(path, _photos(path, held), "train", folder=True).references
    return _references(path, rows)


def _splits(rows: list[Row]) -> list[str]:
    """The splits that a file names."""
    return sorted({str(row.split) for row in rows if row.split not in (None, "")})


def _photos(path: Path, held: Held) -> list[Photo]:
    """The images of a folder's captions, split as training splits them."""
    if held.table is not None:
        return photos_of(held.table, path)
    return read_captions_json(path, held.content)


def _references(path: Path, rows: list[Row]) -> Images:
    references: Images = []
    for image, those in gathered(path, rows):
        if all(row.repeated and row.texts == those[0].texts for row in those):
            those = those[:1]
        if len(those) > 1 and any(isinstance(row.texts, list) for row in those):
            raise InputError(
                f"{those[1].where} is image {brief(image.name)} once more; join its references"
            )
        texts = [text for row in those for text in checked(row.texts, row.where, wordless=False)]
        if not texts:
            raise InputError(
                f"{path}: image {brief(image.name)} has no references; write one or remove it"
            )
        references.append((image, texts))
    if not references:
        raise InputError(f"{path} holds no references; is it the right file?")
    return references


def _bare(path: Path, content: Any, rows: list[Row]) -> list[Named]:
    """The images of COCO's annotations that have none."""
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        return []
    noted = {row.image.id for row in rows}
    files = files_of(path, content).items()
    return [Named(name, file) for name, file in files if name not in noted]


def _of_folder(content: Any) -> bool:
    """Whether an object is a folder's captions.json, whose names are photos' files."""
    return isinstance(content, dict) and all(
        is_file(name) or isinstance(value, dict) for name, value in content.items()
    )


def _of_split(
    path: Path,
    photos: list[Photo],
    split: str | None,
    *,
    folder: bool = False,
    by_name: bool = False,
) -> Truth:
    """As `truth_of`; a photo that has no id but its file's name is called by that alone.

    folder: whether names without a picture's ending are ids, as in a folder's captions.
    """
    splits = sorted({photo.split for photo in photos})
    if split not in splits:
        other = "" if split is None else f", not {split!r}"
        raise InputError(
            f"{path} has the splits {', '.join(splits)}; ask for one with --split{other}"
        )
    references: Images = []
    others: list[Named] = []
    homes: list[str] = []
    seen: set[str] = set()
    for photo in photos:
        if photo.id in seen:
            raise InputError(f"{path} has image {brief(photo.id)} twice; join the two entries")
        seen.add(photo.id)
        named = Named(photo.id, photo.file)
        if photo.id == photo.file:
            named = by_ending(photo.file) if folder else Named(None, photo.file)
        if photo.split == split:
            references.append((named, list(photo.captions)))
        else:
            others.append(named)
            homes.append(photo.split)
    return Truth(references, others, homes, by_name=by_name)


def is_karpathy(content: Any) -> bool:
    """Whether a file is one of Karpathy's."""
    images = content.get("images") if isinstance(content, dict) else None
    return isinstance(images, list) and any(
        isinstance(image, dict) and "sentences" in image for image in images
    )
