"""Photos with captions as a Dataset: Flickr, COCO, CUB, paragraphs, or a user's own folder."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from capjax.data import coco, cub, paragraph_files
from capjax.data.annotations import Photo, read_captions_csv, read_captions_json, read_karpathy
from capjax.data.photo_files import PhotoFiles, check_images
from capjax.data.photo_places import check_splits, place
from capjax.data.split import Dataset, Split
from capjax.errors import InputError

__all__ = ["NAMES", "check_images", "load"]

NAMES = ("flickr8k", "flickr30k", "coco", "cub", "paragraphs", "folder")
PARAGRAPHS = ("paragraphs",)  # whose captions have several sentences

# Where the images may lie beside the captions: our name, the official archives' names, loose.
_FOLDERS = {
    "flickr8k": ("images", "Flickr8k_Dataset/Flicker8k_Dataset", "Flicker8k_Dataset", "Images", ""),
    "flickr30k": ("images", "flickr30k-images", "flickr30k_images", "Images", ""),
    "coco": ("images", "", "train2014", "val2014"),
    "cub": ("images",),
    "paragraphs": ("images", "", "VG_100K"),
    "folder": ("", "images"),
}


class _Source(NamedTuple):
    """The files that captions are read from, and the folder that images are looked for around."""

    files: tuple[Path, ...]
    folder: Path
    read: Callable[[], list[Photo]]
    concepts: tuple[str, ...] = ()  # the names of the classes
    layout: tuple[str, ...] = ()  # what tells the files apart besides what they hold


def load(name: str, path: str | Path | None, cache: str | Path, *, restval: bool = True) -> Dataset:
    """The images and captions of one of NAMES.

    path: a folder that holds the captions' file (dataset_<name>.json of Karpathy's; captions.json
    or captions.csv for "folder"; COCO's own annotations/) and the images, or that file itself; for
    "cub" and "paragraphs" what `cub.find` and `paragraph_files.find` describe.
    Without a path COCO is downloaded into `cache`/downloads/coco; where dataset_coco.json lies
    there, too, its splits are taken, else those of `coco.read_official`. restval: whether COCO's
    split "restval" joins train. Raises InputError, in one sentence, where anything is missing or is
    not as it should be; what image files hold is seen when they are read, or by `check_images`.
    """
    cache = Path(cache).expanduser().absolute()
    if name not in NAMES:
        raise InputError(f"no caption files are known as {name!r}; choose {', '.join(NAMES)}")
    if path is None:
        if name != "coco":
            files = {
                "folder": "captions.json or captions.csv",
                "cub": "images.txt, text_c10/",
                "paragraphs": f"{paragraph_files.TEXTS}, train_split.json, val_split.json",
            }
            wanted = files.get(name, f"dataset_{name}.json")
            raise InputError(
                f"{name} is read from your disk: give the folder that holds {wanted} and the "
                "images with --config.data.path"
            )
        path = _downloaded_coco(cache)
    source = _find(name, Path(path).expanduser().absolute(), restval)
    key = f"{name}-{_digest(source.files, str(source.folder), str(restval), *source.layout)}"
    data = _read_once(key, lambda _: _checked(name, source), cache, source.concepts)
    return data._replace(sentences=name in PARAGRAPHS)


def read(name: str, path: str | Path) -> list[Photo]:
    """The photos that `load` keeps of a folder or a file, checked as it checks them."""
    return _checked(name, _find(name, Path(path).expanduser().absolute(), True))


def _checked(name: str, source: _Source) -> list[Photo]:
    photos = source.read()
    check_splits(photos, source.files[0])
    roots = [source.folder / folder for folder in _FOLDERS[name]]
    return place(photos, roots, source.files[0], flat=name in ("coco", "paragraphs"))


def _find(name: str, path: Path, restval: bool) -> _Source:
    if not path.exists():
        raise InputError(f"{path} does not exist; give the folder of {name} as --config.data.path")
    if name == "cub":
        birds = cub.find(path)
        return _Source(
            birds.tables + birds.captions,
            birds.folder,
            lambda: cub.read(birds),
            cub.read_classes(birds),
            birds.layout(),
        )
    if name == "paragraphs":
        files_of = paragraph_files.find(path)
        folder = files_of.texts.parent
        return _Source(files_of.all, folder, lambda: paragraph_files.read(files_of))
    wanted = ("captions.json", "captions.csv") if name == "folder" else (f"dataset_{name}.json",)
    folder = path if path.is_dir() else path.parent
    present = [folder / file for file in wanted if (folder / file).is_file()]
    files = present if path.is_dir() else [path]
    if len(files) > 1:
        raise InputError(f"{folder} holds both {' and '.join(wanted)}; remove one of them")
    if not files:
        notes = tuple(folder / "annotations" / file for file in coco.CAPTIONS)
        if name == "coco" and all(file.is_file() for file in notes):
            return _Source(notes, folder, lambda: coco.read_official(folder))
        raise InputError(f"{folder} holds no {' or '.join(wanted)}; put it there")
    file = files[0]
    if name != "folder":
        return _Source((file,), folder, lambda: read_karpathy(file, restval))
    if file.suffix.lower() not in (".json", ".csv"):
        raise InputError(f"{file} is neither .json nor .csv; save the captions as one of them")
    table = file.suffix.lower() == ".csv"
    return _Source(
        (file,), folder, lambda: read_captions_csv(file) if table else read_captions_json(file)
    )


def _downloaded_coco(cache: Path) -> Path:
    """The folder that COCO has been downloaded into, and unpacked."""
    from capjax.data.caption_builder import records

    folder = cache / "downloads" / "coco"

    def read(download: Callable[[str], str]) -> list[Photo]:
        coco.fetch(folder, download)
        return coco.read_official(folder)

    if not all((folder / name).is_dir() for name in coco.ZIPS):
        records("coco-download", read, cache, fresh=True)
    return folder


def _read_once(
    key: str,
    read: Callable[[Callable[[str], str]], list[Photo]],
    cache: Path,
    concepts: tuple[str, ...],
) -> Dataset:
    from capjax.data.caption_builder import records  # tensorflow-datasets takes a while to import

    with contextlib.suppress(OSError):  # images have moved since they were last looked for
        return _dataset(key, records(key, read, cache), concepts)
    try:
        return _dataset(key, records(key, read, cache, fresh=True), concepts)
    except OSError as error:
        raise InputError(f"cannot read the image {error.filename}: {error.strerror}") from error


def _digest(files: tuple[Path, ...], *words: str) -> str:
    """A short name for what files hold, and for words."""
    digest = hashlib.sha256("\0".join(words).encode(errors="surrogateescape"))
    for file in files:
        try:
            digest.update(file.read_bytes())
        except OSError as error:
            raise InputError(f"cannot read {file}: {error.strerror}") from error
    return digest.hexdigest()[:16]


def _dataset(key: str, photos: dict[str, list[Photo]], concepts: tuple[str, ...]) -> Dataset:
    """Raises OSError where an image is no longer there."""
    digest = hashlib.sha256(key.encode())
    splits = {}
    for split, shown in photos.items():
        for one in shown:
            # Size and time stand for the pixels: reading them all would take as long as training.
            stat = os.stat(one.file)
            digest.update(
                f"{split}\0{one.id}\0{one.file}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode()
            )
        splits[split] = Split(
            ids=tuple(one.id for one in shown),
            captions=tuple(one.captions for one in shown),
            image=PhotoFiles(tuple(one.file for one in shown)),
            concepts=tuple(one.concept for one in shown) if concepts else None,
        )
    return Dataset(splits, f"{key.partition('-')[0]}-{digest.hexdigest()[:16]}", concepts)
