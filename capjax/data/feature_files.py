"""Features of images that a user has, a file an image: any encoder's vectors, grids or boxes."""

import os
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from capjax.data.contents import digest
from capjax.data.features import finished, gather_rows
from capjax.data.image_ids import brief, coco_number, is_file
from capjax.data.photo_files import PhotoFiles
from capjax.data.split import Split
from capjax.errors import InputError
from capjax.parallel import shared_out
from capjax.parallel.together import gathered

PREFIX = "files:"  # in the place of an encoder's name, before the folder
BATCH = 32  # files that are written at once
ENDINGS = (".npy", ".npz")
# The features in an .npz of several arrays: as self-critical.pytorch, anyone, the extractors of
# bottom-up attention and those of grids call them.
ARRAYS = ("feat", "features", "x", "feats", "feature")


class FeatureFiles(NamedTuple):
    """A folder with a `.npy` or `.npz` file for each image, named by its id or its photo.

    A photo may be named with its ending or without; COCO's images in all of its ways (`image_ids`).
    """

    folder: Path
    name: str  # another one whenever the files change; safe as a file name
    files: Mapping[str, str]  # {a name in one spelling: the name on the disk}
    numbers: Mapping[str, list[str]]  # {COCO's number: names on the disk that mean it}


def feature_files(folder: str) -> FeatureFiles:
    """The feature files of a folder; raises InputError where it is none."""
    path = Path(folder)
    try:
        with os.scandir(path) as entries:
            listing = sorted(
                (entry.name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
                for entry in entries
                if entry.name.endswith(ENDINGS) and entry.is_file()
                for stat in [entry.stat()]
            )
    except OSError as error:
        raise InputError(
            f"cannot read the folder of features {path}: {error.strerror}; restore it, or give the"
            f" folder that they are in with --config.data.encoder={PREFIX}DIR"
        ) from error
    if not listing:
        raise InputError(f"{path} holds no .npy or .npz file; put one there for each image")
    files: dict[str, str] = {}
    for name, *_ in listing:
        if _plain(name) in files:
            raise InputError(
                f"{path} holds {brief(name)} twice, its accents written in two ways; remove one"
            )
        files[_plain(name)] = name
    numbers: dict[str, list[str]] = defaultdict(list)
    for name in files.values():
        if number := coco_number(Path(name).stem):
            numbers[number].append(name)
    return FeatureFiles(path, f"files-{digest(listing)}", files, dict(numbers))


def collect(source: FeatureFiles, split: Split, target: Path, label: str) -> np.memmap:
    """The features of a split's images, copied once into one file.

    Vectors [D] are kept as float32; regions [R, D] and grids [H, W, D], which become [H * W, D], as
    float16. Killed and called again, it goes on. Raises InputError where a file is missing,
    damaged, of another shape than the first, or holds numbers that are not finite, or where an
    image has two files or a file two images.
    """
    check_names(source, {label: split})
    paths = [_file(source, split, i) for i in range(len(split.ids))]
    shape, dtype = _form(paths[0])
    if all(gathered(target.exists())):
        return finished(target, len(paths), dtype)

    def one(first: int) -> np.ndarray:
        return np.stack([_kept(path, shape, dtype) for path in paths[first : first + BATCH]])

    def batches(start: int) -> Generator[np.ndarray, None, None]:
        return shared_out(one, range(start, len(paths), BATCH))

    gather_rows(target, len(paths), f"{dtype} of files {shape}", batches, label)
    return finished(target, len(paths), dtype)


def first_form(source: FeatureFiles, split: Split) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and the type of what is kept of a split's first image."""
    return _form(_file(source, split, 0))


def _form(path: Path) -> tuple[tuple[int, ...], np.dtype]:
    first = _read(path)
    return first.shape, np.dtype(np.float32 if first.ndim == 1 else np.float16)


def check_names(source: FeatureFiles, splits: Mapping[str, Split]) -> None:
    """InputError unless each image of a dataset has one file, and each file is of one image."""
    of: dict[Path, str] = {}
    for split in splits.values():
        for i, name in enumerate(split.ids):
            path = _file(source, split, i)
            if path in of:
                raise InputError(
                    f"the features {path} are called like the images {brief(of[path])} and "
                    f"{brief(name)}; give each image a file of its own, called by its id"
                )
            of[path] = name


def _file(source: FeatureFiles, split: Split, i: int) -> Path:
    """The file of an image, called by its id or by its photo's name."""
    name = split.ids[i]
    names, number = [name], coco_number(name) or name
    if isinstance(split.image, PhotoFiles):
        photo = Path(split.image.files[i])
        names += [photo.stem, photo.name]
        number = coco_number(photo.name) or number
    if is_file(name):  # the image has no id beside its photo
        names.append(number)
    tried = dict.fromkeys(f"{name}{ending}" for name in names for ending in ENDINGS)
    matches = [source.files[_plain(name)] for name in tried if _plain(name) in source.files]
    matches = list(dict.fromkeys([*matches, *source.numbers.get(number, ())]))
    if len(matches) > 1:
        same = _meant(matches[0]) == _meant(matches[1])
        raise InputError(
            f"{source.folder} has two features of image {brief(split.ids[i])}, {brief(matches[0])} "
            f"and {brief(matches[1])}; "
            + ("remove one" if same else "give no image an id that is another photo's name")
        )
    if not matches:
        wanted = " or ".join(f"{brief(name)}.npy" for name in dict.fromkeys(names[:2]))
        raise InputError(
            f"{source.folder} has no features of image {brief(split.ids[i])}: there is no {wanted}"
        )
    return source.folder / matches[0]


def _meant(file: str) -> str:
    """What a file's name means: COCO's number, or a name without endings."""
    stem = Path(file).stem
    return coco_number(stem) or (Path(stem).stem if is_file(stem) else stem)


def _plain(name: str) -> str:
    """A file's name in one spelling: an accent may be a letter's own or a character after it."""
    return unicodedata.normalize("NFC", name)


def _read(path: Path) -> np.ndarray:
    """One image's features [D] or [R, D]."""
    try:
        array = np.load(path, allow_pickle=False)
        if isinstance(array, np.lib.npyio.NpzFile):
            with array:
                array = array[_array_named(array.files, path)]
    except InputError:
        raise
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise InputError(f"the features {path} cannot be read: {error}") from error
        raise InputError(
            f"the features {path} are a pickled object, which is not opened as it could run "
            "anything; save the array in it alone, such as by np.save(file, "
            "np.load(file, allow_pickle=True).item()['features']) if you trust it"
        ) from error
    except (OSError, EOFError, IndexError, KeyError, zlib.error) as error:
        raise InputError(f"the features {path} cannot be read: {error}") from error
    except Exception as error:  # zipfile raises its own
        raise InputError(f"the features {path} are damaged: {error}") from error
    if array.ndim not in (1, 2, 3) or not np.issubdtype(array.dtype, np.floating) or not array.size:
        raise InputError(
            f"the features {path} are {array.dtype} {list(array.shape)}; they should be floats"
            " [D], [regions, D] or [height, width, D]"
        )
    return array.reshape(-1, array.shape[-1]) if array.ndim == 3 else array


def _array_named(names: list[str], path: Path) -> str:
    """Which array of an .npz are the features."""
    known = [name for name in names if name in ARRAYS]
    if len(known) == 1 or len(names) == 1:
        return (known or names)[0]
    held = ", ".join(map(brief, names)) or "no array"
    raise InputError(
        f"the features {path} hold {held}; call the one that is the features one of "
        f"{', '.join(ARRAYS)}, and no other"
    )


def _kept(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    array = _read(path)
    if array.shape != shape:
        raise InputError(
            f"the features {path} are {list(array.shape)} where others are {list(shape)}; give"
            " every image as many regions"
        )
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # reported just below
        kept = array.astype(dtype)
    if not np.isfinite(kept).all():
        raise InputError(f"the features {path} hold numbers that are not finite as {dtype}")
    if array.any() and not kept.any():
        raise InputError(f"the features {path} are too small for {dtype}, all become 0; scale them")
    return kept
