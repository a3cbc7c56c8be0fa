"""Which files are photos, and can they be read?"""

import stat
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from capjax.data.features import read_photo
from capjax.data.photo_pixels import ENDINGS, starts_like_a_photo
from capjax.data.split import Split
from capjax.errors import InputError
from capjax.terminal.progress import along


@dataclass(frozen=True)
class PhotoFiles:
    """The `image` of a Split whose images are files, read in place when asked for."""

    files: tuple[str, ...]  # [M]

    def __call__(self, i: int) -> np.ndarray:
        """-> uint8 [224, 224, 3]"""
        return read_photo(self.files[i])


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
    photos = [
        path
        for path in shown
        if not path.is_dir()
        and (path.suffix.lower() in ENDINGS or (not path.suffix and starts_like_a_photo(path)))
    ]
    if not photos:
        raise InputError(f"the folder {folder} holds no photo ({', '.join(sorted(ENDINGS))})")
    if len(photos) < len(shown):
        first = next(path.name for path in shown if path not in photos)
        print(
            f"capjax: {len(shown) - len(photos)} files and folders in {folder} are no photos by "
            f"their names and are left out, the first is {first}",
            file=sys.stderr,
        )
    return photos


def photo_files(names: Sequence[str]) -> list[Path]:
    """The photos among files and folders; of a folder, those that `photos_in` finds.

    Raises InputError where a name is not there, or a folder holds no photo.
    """
    files: list[Path] = []
    for name in names:
        path = Path(name)
        try:
            kind = path.stat().st_mode
        except (OSError, ValueError) as error:  # ValueError: no name of a file
            why = getattr(error, "strerror", None) or error
            raise InputError(
                f"there is no photo {path} ({why}); give a file or a folder of photos"
            ) from error
        files += photos_in(path) if stat.S_ISDIR(kind) else [path]
    return files


def check_images(split: Split, progress: bool = True, size: int = 224) -> None:
    """Reads every image file of a split, as extraction will at `size`, before time is spent.

    Raises InputError that counts the files that cannot be read and names the first. Generated
    images need no check.
    """
    if not isinstance(split.image, PhotoFiles):
        return
    files = split.image.files
    with ThreadPoolExecutor() as pool:
        found = pool.map(partial(_unreadable, size=size), files)
        reasons = along(found, len(files), "checking images", "images", shown=progress)
        bad = [why for why in reasons if why]
    if bad:
        raise InputError(f"{len(bad)} of {len(files)} images cannot be used: {bad[0]}")


def _unreadable(file: str, size: int) -> str:
    """Why an image file cannot be read; "" where it can."""
    try:
        read_photo(file, size)
    except InputError as error:
        return str(error)
    return ""
