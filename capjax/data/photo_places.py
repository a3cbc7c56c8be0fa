"""Where do the photos of a dataset lie? Found on the disk by the names that its captions give."""

import os
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from capjax.data.annotations import Photo
from capjax.data.image_ids import brief
from capjax.data.photo_files import hidden
from capjax.errors import InputError


def check_splits(photos: list[Photo], source: Path) -> None:
    """InputError unless ids are unique and train and val have images."""
    ids: set[str] = set()
    for shown in photos:
        if shown.id in ids:
            raise InputError(
                f"{source}: two images have the id {brief(shown.id)}; give each its own"
            )
        ids.add(shown.id)
    present = {shown.split for shown in photos}
    for split in ("train", "val"):
        if split not in present:
            raise InputError(f"{source} has no image in split {split}; put some there")


def place(
    photos: list[Photo], roots: Sequence[Path], source: Path, flat: bool = False
) -> list[Photo]:
    """The same photos with `file` in full, looked for in the folder of `roots` that has most.

    A name in full is one inside the folder that it leads into, and an accent may be a letter's own
    or a character after it, as disks and files differ in that.
    flat: whether the files may also lie in the folder without the subfolders of their names.
    Raises InputError where a name leads outside the folder, is listed twice, is not there, or is
    there in both spellings.
    Images that lie there and have no captions are left out, and counted on the terminal, hidden
    files aside.
    """
    names = [shown.file for shown in photos]
    _check_inside(names, roots, source)
    disk = _Disk(source)
    spellings = [names, [os.path.basename(name) for name in names]] if flat else [names]
    tries = [(root, disk.files(root, some)) for root in roots for some in spellings]
    counts = [sum(map(disk.has, files)) for _, files in tries]
    root, files = tries[counts.index(max(counts))]
    seen: set[str] = set()
    for name, file in zip(names, files, strict=True):
        if file in seen:
            raise InputError(f"{source} lists the image {brief(name)} twice; join the two entries")
        seen.add(file)
    missing = [name for name, file in zip(names, files, strict=True) if not disk.has(file)]
    if missing:
        raise InputError(
            f"{source} names {len(missing)} images of {len(files)} that are not in {root}, "
            f"the first is {brief(missing[0])}; put them there or remove them from the file"
        )
    if spare := disk.others(seen):
        print(
            f"{spare} images in {root} have no captions in {source} and are not used",
            file=sys.stderr,
        )
    return [shown._replace(file=file) for shown, file in zip(photos, files, strict=True)]


def _check_inside(names: Sequence[str], roots: Sequence[Path], source: Path) -> None:
    """InputError where a name leads outside all folders that it may be in."""
    tops = [os.path.abspath(root) for root in roots]
    for name in names:
        plain = os.path.normpath(name)
        absolute = os.path.isabs(plain) or plain.split(os.sep)[0] == ".."  # which may lead back
        inside = not absolute or any(
            os.path.normpath(os.path.join(top, plain)).startswith(top.rstrip(os.sep) + os.sep)
            for top in tops
        )
        if not inside or "\0" in name:
            raise InputError(
                f"{source}: image {brief(name)} leads outside {roots[0]}; name files inside it"
            )


class _Disk:
    """What lies in folders, each of which is listed once."""

    def __init__(self, source: Path):
        self._source = source  # the file that names the photos, for what is raised
        self._names: dict[str, set[str]] = {}  # {folder: the names in it}
        self._composed: dict[str, dict[str, list[str]]] = {}  # {folder: {composed: as they are}}

    def has(self, file: str) -> bool:
        folder, name = os.path.split(file)
        return name in self._in(folder)

    def files(self, root: Path, names: Sequence[str]) -> list[str]:
        """Names of files in full, as seen from a folder, in the spelling that lies there."""
        top = os.path.abspath(root)
        files = [os.path.normpath(os.path.join(top, name)) for name in names]
        return [
            file
            if file.isascii() or not file.startswith(top + os.sep)
            else self._spelled(top, os.path.relpath(file, top))
            for file in files
        ]

    def others(self, files: set[str]) -> int:
        """How many files lie beside these and end like one of them, hidden ones aside."""
        kinds = {Path(file).suffix.lower() for file in files}
        return sum(
            os.path.join(folder, name) not in files
            and Path(name).suffix.lower() in kinds
            and not hidden(name)
            for folder in {os.path.dirname(file) for file in files}
            for name in self._in(folder)
        )

    def _in(self, folder: str) -> set[str]:
        if folder not in self._names:
            try:
                self._names[folder] = set(os.listdir(folder))
            except OSError:
                self._names[folder] = set()
        return self._names[folder]

    def _spelled(self, folder: str, path: str) -> str:
        """A path inside a folder in the spelling that lies there; as it is where none does."""
        for part in path.split(os.sep):
            if not part.isascii():
                if folder not in self._composed:
                    self._composed[folder] = defaultdict(list)
                    for name in self._in(folder):
                        self._composed[folder][unicodedata.normalize("NFC", name)].append(name)
                same = self._composed[folder].get(unicodedata.normalize("NFC", part), [])
                if len(same) > 1:
                    raise InputError(
                        f"{self._source}: image {brief(path)} is in {folder} twice, its accents "
                        "written in two ways; remove one"
                    )
                part = same[0] if same else part
            folder = os.path.join(folder, part)
        return folder
