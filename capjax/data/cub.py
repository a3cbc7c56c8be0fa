"""CUB-200-2011 (Wah et al., 2011): photos of birds, their classes, and Reed et al.'s captions."""

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from capjax.data.annotations import Photo, photo
from capjax.data.text_files import read_text
from capjax.data.tokens import tokenize
from capjax.errors import InputError

TABLES = ("images.txt", "image_class_labels.txt", "classes.txt", "train_test_split.txt")
# Where captions may lie: as Reed's archive names them, and as code that followed it does.
TEXTS = ("text_c10", "text", "cvpr2016_cub/text_c10", "birds/text_c10", "birds/text")
VAL_EVERY = 10  # CUB has no val: of the official train images of a class, in order, every tenth


class CubFiles(NamedTuple):
    """The files of CUB-200-2011 on a disk."""

    folder: Path  # of the tables and of images/
    tables: tuple[Path, ...]  # of TABLES
    texts: Path  # holds a folder a class, of a file an image, of a line a caption
    captions: tuple[Path, ...]  # every one of those files, sorted

    def layout(self) -> tuple[str, ...]:
        """The name and the size of each captions' file."""
        try:
            return tuple(f"{_inside(self.texts, f)} {f.stat().st_size}" for f in self.captions)
        except OSError as error:
            raise InputError(f"cannot read {error.filename}: {error.strerror}") from error


class _Row(NamedTuple):
    """What a line of a table says after its id."""

    value: str
    where: str  # the table and the line


def find(path: Path) -> CubFiles:
    """The files of CUB in a folder.

    Args:
      path: holds TABLES and images/, itself or in CUB_200_2011/ as the official archive does, and
        the captions in one of TEXTS, in either place.

    Raises:
      InputError: where one of them is missing; it says which.
    """
    places = (path, path / "CUB_200_2011")
    folder = next((place for place in places if (place / TABLES[0]).is_file()), None)
    if folder is None:
        raise InputError(
            f"neither {places[0]} nor {places[1]} holds {TABLES[0]}; give the folder that "
            "CUB_200_2011.tgz was unpacked into"
        )
    for table in TABLES:
        if not (folder / table).is_file():
            raise InputError(f"{folder} holds no {table}; take it from CUB_200_2011.tgz")
    if not (folder / "images").is_dir():
        raise InputError(f"{folder} holds no folder images; take it from CUB_200_2011.tgz")
    texts = next((p / name for p in places for name in TEXTS if (p / name).is_dir()), None)
    if texts is None:
        raise InputError(
            f"{path} holds no folder of captions ({', '.join(TEXTS)}); put text_c10 of "
            "cvpr2016_cub.tar.gz (Reed et al., 2016) there"
        )
    captions = tuple(sorted(texts.glob("*/*.txt")))
    return CubFiles(folder, tuple(folder / table for table in TABLES), texts, captions)


def read_classes(files: CubFiles) -> tuple[str, ...]:
    """The names of classes.txt, such as 001.Black_footed_Albatross, in its order.

    Raises InputError where the file is not as it should be or a name is there twice.
    """
    return tuple(_classes(files).values())


def read(files: CubFiles) -> list[Photo]:
    """The images of images.txt, in its order; an image's id is "class folder/file.jpg".

    Its concept is the place of its class in classes.txt, counted from 0. The official test images
    are test. Of the official train images of each class, in the order of images.txt, the tenth, the
    twentieth and so on are val, the others train. A line of captions without words is left out, and
    so are the captions of what is not in images.txt; but for blank lines, that is printed.

    Raises:
      InputError: naming the file and the line, where anything is not as it should be.
    """
    images, labels, classes, sides = files.tables
    listed, label_of, side_of = _table(images), _table(labels), _table(sides)
    names = _classes(files)
    place = {number: i for i, number in enumerate(names)}
    for table, rows in ((labels, label_of), (sides, side_of)):
        for number, row in rows.items():
            if number not in listed:
                raise InputError(
                    f"{row.where}: image id {number} is not in {images}; remove the line or list "
                    "the image there"
                )
        for number, row in listed.items():
            if number not in rows:
                raise InputError(f"{row.where}: image id {number} is not in {table}; add its line")
    for row in label_of.values():
        if row.value not in place:
            raise InputError(f"{row.where}: class id {row.value} is not in {classes}; correct it")
    for row in side_of.values():
        if row.value not in ("0", "1"):
            raise InputError(f"{row.where}: {row.value} is neither 1 (train) nor 0 (test)")

    photos: list[Photo] = []
    shown: Counter[int] = Counter()  # official train images of each class so far
    for (number, row), captions in zip(
        listed.items(), _captions(files, listed.values()), strict=True
    ):
        label = label_of[number]
        bird = PurePosixPath(row.value).parts[0]
        if bird != names[label.value] and bird in names.values():
            raise InputError(
                f"{label.where}: the class of image id {number} is {names[label.value]}, but it "
                f"lies in the folder of {bird}; correct one of them"
            )
        concept = place[label.value]
        split = "test"
        if side_of[number].value == "1":
            shown[concept] += 1
            split = "train" if shown[concept] % VAL_EVERY else "val"
        checked = photo(row.value, row.value, captions, split, f"{row.where}: image {row.value}")
        photos.append(checked._replace(concept=concept))
    if max(shown.values(), default=0) < VAL_EVERY:
        raise InputError(
            f"{sides} has no class with {VAL_EVERY} train images, of which the tenth would be val; "
            "mark more images with 1"
        )
    return photos


def _classes(files: CubFiles) -> dict[str, str]:
    """{class id: name}, in the order of the file."""
    rows = _table(files.tables[2])
    where: dict[str, str] = {}
    for row in rows.values():
        if row.value in where:
            raise InputError(f"{row.where}: {row.value} is also in {where[row.value]}; rename one")
        where[row.value] = row.where
    return {number: row.value for number, row in rows.items()}


def _table(path: Path) -> dict[str, _Row]:
    """The lines of an id, a space and a value."""
    rows: dict[str, _Row] = {}
    for count, line in enumerate(read_text(path).split("\n"), 1):
        where = f"{path}, line {count}"
        words = line.split(maxsplit=1)
        if not words:
            continue
        if len(words) < 2:
            raise InputError(f"{where}: nothing stands after the id {words[0]}; complete the line")
        number, value = words[0], words[1].strip()
        if number in rows:
            raise InputError(f"{where}: the id {number} is also in {rows[number].where}; keep one")
        rows[number] = _Row(value, where)
    if not rows:
        raise InputError(f"{path} is empty; take it from CUB_200_2011.tgz")
    return rows


def _captions(files: CubFiles, listed: Iterable[_Row]) -> list[list[str]]:
    """What people wrote about each image listed."""
    present = {_inside(files.texts, file): file for file in files.captions}
    wanted: dict[str, _Row] = {}
    for row in listed:
        name = PurePosixPath(row.value)
        if len(name.parts) != 2 or {"..", "/"} & {*name.parts} or "\0" in row.value:
            raise InputError(
                f"{row.where}: {row.value} leads outside {files.folder / 'images'} or is not "
                "of the form class folder/file.jpg; correct it"
            )
        text = name.with_suffix(".txt").as_posix()
        if text in wanted:
            raise InputError(
                f"{row.where}: {row.value} would share the captions in {text} with the image of "
                f"{wanted[text].where}; keep one of them"
            )
        wanted[text] = row
    missing = [text for text in wanted if text not in present]
    if missing:
        raise InputError(
            f"{len(missing)} images of {len(wanted)} in {files.tables[0]} have no captions in "
            f"{files.texts}, the first has no {missing[0]}; put it there"
        )
    captions, bare = [], 0
    for text in wanted:
        lines = [line.strip() for line in read_text(present[text]).split("\n")]
        lines = [line for line in lines if line]
        spoken = [line for line in lines if tokenize(line)]
        if not spoken:
            raise InputError(f"{present[text]} holds no captions; write one a line")
        bare += len(lines) - len(spoken)
        captions.append(spoken)
    if bare:
        print(f"{bare} lines in {files.texts} have no words and are not used", file=sys.stderr)
    if len(present) > len(wanted):
        print(
            f"{len(present) - len(wanted)} files in {files.texts} are of no image in "
            f"{files.tables[0]} and are not used",
            file=sys.stderr,
        )
    return captions


def _inside(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()
