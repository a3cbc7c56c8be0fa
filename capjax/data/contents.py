"""What does a dataset hold, wherever it lies? Digests of its captions and of its images."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from capjax.data.image_ids import plain
from capjax.data.photo_files import PhotoFiles, check_images
from capjax.data.resumable import writing
from capjax.data.split import Dataset, Split
from capjax.errors import InputError
from capjax.terminal.progress import Progress


class Contents(NamedTuple):
    """Digests of a split: equal for the same data only, on any machine, in any folder and order."""

    captions: str  # of its ids and their captions
    images: str  # of its ids and the bytes of their files, or what was drawn
    features: str = ""  # of its ids and the features that a user gave

    @property
    def name(self) -> str:
        """Eight digits for the name of a file."""
        return digest(self)[:8]


class _Images(NamedTuple):
    """Digests of a split's images."""

    any_order: str
    in_order: str  # another one where only their order is another


def digest(parts: Iterable[Any]) -> str:
    """16 hexadecimal digits of what JSON can hold; another one in another order."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(json.dumps(part, sort_keys=True).encode() + b"\n")
    return sha.hexdigest()[:16]


def of_texts(texts: Mapping[Any, Sequence[str]]) -> str:
    """The digest of {id: texts}, whatever the order of the ids and of an id's texts.

    COCO's 42 and "COCO_val2014_000000000042.jpg" are one id, as they are in files of captions.
    """
    rows = [
        (i, *sorted(text.strip() for text in every))
        for i, every in zip(plain(list(map(str, texts))), texts.values(), strict=True)
    ]
    return digest(sorted(rows))


def read_contents(dataset: Dataset, cache: Path) -> tuple[dict[str, Contents], str]:
    """The contents of each split, and a digest that tells its images and their order from others'.

    Image files are read whole once; what was found is kept in the cache until one of them changes.
    A file that is exchanged for one of the same size and time has another inode or another time of
    change, which no user sets.

    Raises InputError where an image cannot be read.
    """
    images = _images(dataset, cache / dataset.fingerprint / "images.json")
    contents = {
        name: Contents(
            of_texts(dict(zip(split.ids, split.captions, strict=True))), images[name].any_order
        )
        for name, split in dataset.splits.items()
    }
    return contents, digest([[name, images[name].in_order] for name in dataset.splits])


def of_features(features: np.ndarray, ids: Sequence[str], target: Path) -> str:
    """The digest of features of a user's, read once and kept beside the file that they lie in."""
    kept = target.with_name(f"{target.name}.digest")
    with contextlib.suppress(OSError):
        if len(noted := kept.read_text()) == 16:
            return noted
    order, names = sorted(range(len(ids)), key=lambda i: ids[i]), plain(ids)
    every = hashlib.sha256(f"{features.dtype} {features.shape[1:]}".encode())
    for i in order:
        every.update(f"{names[i]}\0".encode() + features[i].tobytes())
    with writing(kept):
        kept.write_text(every.hexdigest()[:16])
    return every.hexdigest()[:16]


def _images(dataset: Dataset, kept: Path) -> dict[str, _Images]:
    files = [
        file
        for split in dataset.splits.values()
        if isinstance(split.image, PhotoFiles)
        for file in split.image.files
    ]
    state = digest(map(_state, files)) if files else dataset.fingerprint
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        noted = json.loads(kept.read_text())
        if noted["state"] == state:
            return {name: _Images(*noted["images"][name]) for name in dataset.splits}
    images = {}
    with Progress(len(files), "reading images", "images", shown=bool(files)) as bar:
        for name, split in dataset.splits.items():
            photos = isinstance(split.image, PhotoFiles)
            images[name] = _photos(split, bar) if photos else _drawn(split)
    with writing(kept):
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = kept.with_name(f"{kept.name}.new")
        draft.write_text(json.dumps({"state": state, "images": images}))
        os.replace(draft, kept)
    return images


def _state(file: str) -> tuple[Any, ...]:
    """What changes whenever a file does. Raises InputError where it is gone."""
    try:
        stat = os.stat(file)
    except OSError as error:
        raise InputError(f"cannot read the image {file}: {error.strerror}") from error
    return file, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _photos(split: Split, bar: Progress) -> _Images:
    assert isinstance(split.image, PhotoFiles)
    rows = []
    with ThreadPoolExecutor(4) as pool:
        try:
            digests = pool.map(_bytes, split.image.files)
            for row in zip(plain(split.ids), digests, strict=True):
                rows.append(row)
                bar.update()
        except OSError as error:
            pool.shutdown(cancel_futures=True)
            check_images(split)  # which counts those that cannot be read
            raise InputError(f"cannot read the image {error.filename}: {error.strerror}") from error
    return _Images(digest(sorted(rows)), digest(rows))


def _bytes(file: str) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _drawn(split: Split) -> _Images:
    """Of generated images what is in them tells, as their files depend on the machine."""
    names = plain(split.ids)
    if split.truth is not None:
        rows = [(i, dict(truth)) for i, truth in zip(names, split.truth, strict=True)]
    else:
        rows = [(i, split.image(n).tolist()) for n, i in enumerate(names)]
    return _Images(digest(sorted(rows, key=lambda row: row[0])), digest(rows))
