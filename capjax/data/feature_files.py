"""Features of images that a user has, a file an image: any encoder's vectors, grids or boxes."""

import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from capjax.data.contents import digest
from capjax.data.features import finished
from capjax.data.photo_files import PhotoFiles
from capjax.data.resumable import GrowingArray, only_process
from capjax.data.split import Split
from capjax.errors import InputError

PREFIX = "files:"  # in the place of an encoder's name, before the folder
BATCH = 256  # files that are written at once


class FeatureFiles(NamedTuple):
    """A folder with a `.npy` or `.npz` file for each image, named by its id or its photo."""

    folder: Path
    name: str  # another one whenever the files change; safe as a file name


def feature_files(folder: str) -> FeatureFiles:
    """The feature files of a folder; raises InputError where it is none."""
    path = Path(folder)
    try:
        with os.scandir(path) as found:
            listing = sorted(
                (entry.name, told.st_size, told.st_mtime_ns, told.st_ctime_ns, told.st_ino)
                for entry in found
                if entry.name.endswith((".npy", ".npz"))
                for told in [entry.stat()]
            )
    except OSError as error:
        raise InputError(f"cannot read the folder of features {path}: {error.strerror}") from error
    if not listing:
        raise InputError(f"{path} holds no .npy or .npz file; put one there for each image")
    return FeatureFiles(path, f"files-{digest(listing)}")


def collect(source: FeatureFiles, split: Split, target: Path, label: str) -> np.memmap:
    """The features of a split's images, copied once into one file.

    Vectors [D] are kept as float32; regions [R, D] and grids [H, W, D], which become [H * W, D], as
    float16. Killed and called again, it goes on. Raises InputError where a file is missing,
    damaged, of another shape than the first, or holds numbers that are not finite.
    """
    paths = [_file(source.folder, split, i) for i in range(len(split.ids))]
    first = _read(paths[0])
    dtype = np.dtype(np.float32 if first.ndim == 1 else np.float16)
    if target.exists():
        return finished(target, len(paths), dtype)
    with only_process(target):
        if target.exists():
            return finished(target, len(paths), dtype)
        rows = GrowingArray(target, len(paths), f"{dtype} of files {first.shape}")
        with tqdm(total=len(paths), initial=rows.done, desc=label, unit="image") as bar:
            while rows.done < len(paths):
                some = paths[rows.done : rows.done + BATCH]
                rows.append(np.stack([_kept(path, first.shape, dtype) for path in some]))
                bar.update(len(some))
        rows.finish()
    return finished(target, len(paths), dtype)


def _file(folder: Path, split: Split, i: int) -> Path:
    """The file of an image: by its id, else by its photo's name."""
    names: Sequence[str] = [split.ids[i]]
    if isinstance(split.image, PhotoFiles):
        names = [*names, Path(split.image.files[i]).stem]
    for name in names:
        for ending in (".npy", ".npz"):
            # An id is text of a user's: only a plain name is looked for.
            path = folder / f"{name}{ending}"
            if path.parent == folder and path.is_file():
                return path
    tried = " or ".join(f"{name}.npy" for name in dict.fromkeys(names))
    raise InputError(f"{folder} has no features of image {split.ids[i]}: there is no {tried}")


def _read(path: Path) -> np.ndarray:
    """One image's features [D] or [R, D]."""
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.lib.npyio.NpzFile):
            with found:
                name = "feat" if "feat" in found.files else found.files[0]
                found = found[name]
    except (OSError, ValueError, EOFError, IndexError, KeyError, zlib.error) as error:
        raise InputError(f"the features {path} cannot be read: {error}") from error
    except Exception as error:  # zipfile raises its own
        raise InputError(f"the features {path} are damaged: {error}") from error
    if found.ndim not in (1, 2, 3) or not np.issubdtype(found.dtype, np.floating) or not found.size:
        raise InputError(
            f"the features {path} are {found.dtype} {list(found.shape)}; they should be floats"
            " [D], [regions, D] or [height, width, D]"
        )
    return found.reshape(-1, found.shape[-1]) if found.ndim == 3 else found


def _kept(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    found = _read(path)
    if found.shape != shape:
        raise InputError(
            f"the features {path} are {list(found.shape)} where others are {list(shape)}; give"
            " every image as many regions"
        )
    with np.errstate(over="ignore"):  # reported just below
        found = found.astype(dtype)
    if not np.isfinite(found).all():
        raise InputError(f"the features {path} hold numbers that are not finite as {dtype}")
    return found
