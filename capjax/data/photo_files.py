"""Where the photos of a dataset lie, and whether they can be read."""

import os
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from capjax.data.annotations import Photo
from capjax.data.image_ids import brief
from capjax.data.photo_pixels import ENDINGS, starts_like_a_photo
from capjax.data.split import Split
from capjax.errors import InputError


@dataclass(frozen=True)
class PhotoFiles:
    """The `image` of a Split whose images are files, read in place when asked for."""

    files: tuple[str, ...]  # [M]

    def __call__(self, i: int) -> np.ndarray:
        """-> uint8 [224, 224, 3]"""
        from capjax.data.features import read_photo

        return read_photo(self.files[i])


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
    tops = [os.path.abspath(root) for root in roots]
    for shown in photos:
        plain = os.path.normpath(shown.file)
        absolute = os.path.isabs(plain) or plain.split(os.sep)[0] == ".."  # which may lead back
        inside = not absolute or any(
            os.path.normpath(os.path.join(top, plain)).startswith(top.rstrip(os.sep) + os.sep)
            for top in tops
        )
        if not inside or "\0" in shown.file:
            raise InputError(
                f"{source}: image {brief(shown.file)} leads outside {roots[0]}; name files inside "
                "it"
            )
    listings: dict[str, set[str]] = {}
    spelled: dict[str, dict[str, list[str]]] = {}  # {folder: {a name composed: names on the disk}}

    def listed(folder: str) -> set[str]:
        if folder not in listings:
            try:
                listings[folder] = set(os.listdir(folder))
            except OSError:
                listings[folder] = set()
        return listings[folder]

    def there(file: str) -> bool:
        folder, name = os.path.split(file)
        return name in listed(folder)

    def on_disk(folder: str, path: str) -> str:
        """A path inside a folder in the spelling that lies there; as it is where none does."""
        for part in path.split(os.sep):
            names = listed(folder)
            if not part.isascii():
                if folder not in spelled:
                    spelled[folder] = defaultdict(list)
                    for name in names:
                        spelled[folder][unicodedata.normalize("NFC", name)].append(name)
                same = spelled[folder].get(unicodedata.normalize("NFC", part), [])
                if len(same) > 1:
                    raise InputError(
                        f"{source}: image {brief(path)} is in {folder} twice, its accents written "
                        "in two ways; remove one"
                    )
                part = same[0] if same else part
            folder = os.path.join(folder, part)
        return folder

    def find(root: Path, bare: bool) -> tuple[int, Path, list[str]]:
        names = [os.path.basename(shown.file) if bare else shown.file for shown in photos]
        top = os.path.abspath(root)
        files = [os.path.normpath(os.path.join(top, name)) for name in names]
        files = [
            file
            if file.isascii() or not file.startswith(top + os.sep)
            else on_disk(top, os.path.relpath(file, top))
            for file in files
        ]
        return sum(map(there, files)), root, files

    tries = [find(root, bare) for root in roots for bare in ((False, True) if flat else (False,))]
    count, root, files = max(tries, key=lambda tried: tried[0])
    seen: set[str] = set()
    for shown, file in zip(photos, files, strict=True):
        if file in seen:
            raise InputError(
                f"{source} lists the image {brief(shown.file)} twice; join the two entries"
            )
        seen.add(file)
    if count < len(files):
        first = next(shown.file for shown, f in zip(photos, files, strict=True) if not there(f))
        raise InputError(
            f"{source} names {len(files) - count} images of {len(files)} that are not in {root}, "
            f"the first is {brief(first)}; put them there or remove them from the file"
        )
    folders = {os.path.dirname(file) for file in files}
    kinds = {Path(file).suffix.lower() for file in files}
    spare = sum(
        os.path.join(folder, name) not in seen
        and Path(name).suffix.lower() in kinds
        and not hidden(name)
        for folder in folders
        for name in listings[folder]
    )
    if spare:
        print(
            f"{spare} images in {root} have no captions in {source} and are not used",
            file=sys.stderr,
        )
    return [shown._replace(file=file) for shown, file in zip(photos, files, strict=True)]


def hidden(name: str) -> bool:
    """Whether a file is a system's, as macOS's `._photo.jpg` beside a photo is, no person's."""
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini")


def photos_in(folder: Path) -> list[Path]:
    """The photos of a folder itself, sorted by name.

    They are what is not hidden and has a photo's ending (ENDINGS, in any case), and files without
    an ending that begin like a photo. All else that is not hidden is left out, and counted on the
    terminal. Raises InputError where there is no photo, or the folder cannot be read.
    """
    try:
        shown = sorted(path for path in folder.iterdir() if not hidden(path.name))
    except OSError as error:
        raise InputError(f"cannot read the folder {folder}: {error.strerror}") from error
    found = [
        path
        for path in shown
        if not path.is_dir()
        and (path.suffix.lower() in ENDINGS or (not path.suffix and starts_like_a_photo(path)))
    ]
    if not found:
        raise InputError(f"the folder {folder} holds no photo ({', '.join(sorted(ENDINGS))})")
    if len(found) < len(shown):
        first = next(path.name for path in shown if path not in found)
        print(
            f"capjax: {len(shown) - len(found)} files and folders in {folder} are no photos by "
            f"their names and are left out, the first is {first}",
            file=sys.stderr,
        )
    return found


def check_images(split: Split, progress: bool = True, size: int = 224) -> None:
    """Reads every image file of a split, as extraction will at `size`, before time is spent.

    Raises InputError that counts the files that cannot be read and names the first. Generated
    images need no check.
    """
    if not isinstance(split.image, PhotoFiles):
        return
    files = split.image.files
    with ThreadPoolExecutor() as pool:
        found = tqdm(
            pool.map(partial(_unreadable, size=size), files),
            "checking images",
            len(files),
            disable=None if progress else True,
        )
        bad = [why for why in found if why]
    if bad:
        raise InputError(f"{len(bad)} of {len(files)} images cannot be used: {bad[0]}")


def _unreadable(file: str, size: int) -> str:
    """Why an image file cannot be read; "" where it can."""
    from capjax.data.features import read_photo

    try:
        read_photo(file, size)
    except InputError as error:
        return str(error)
    return ""
