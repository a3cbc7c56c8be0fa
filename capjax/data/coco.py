"""COCO captions as cocodataset.org gives them: three zips, downloaded or put there by hand."""

import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from capjax.data.annotations import Photo, photo
from capjax.data.image_ids import brief, id_text
from capjax.data.split_by_name import fraction
from capjax.data.text_files import read_json
from capjax.errors import InputError

SERVER = "http://images.cocodataset.org"
ZIPS = {  # what each holds -> where it is on the server
    "annotations": "annotations/annotations_trainval2014.zip",
    "train2014": "zips/train2014.zip",
    "val2014": "zips/val2014.zip",
}
CAPTIONS = ("captions_train2014.json", "captions_val2014.json")
_HELD_OUT = 5000  # images each in val and test, as many as in Karpathy's split
_ROOM = 45e9  # bytes: the zips and what they hold


def read_official(folder: Path) -> list[Photo]:
    """The images of `folder`/annotations/captions_{train,val}2014.json.

    Of val2014, 5,000 images are val and 5,000 are test, by a hash of their ids; all others train.
    These are not Karpathy's 5,000, so scores do not compare with papers': for that, put his
    dataset_coco.json into `folder`. Raises InputError as the other readers do.
    """
    photos: list[Photo] = []
    for year, name in zip(("train2014", "val2014"), CAPTIONS, strict=True):
        path = folder / "annotations" / name
        images, captions = _images(path)
        order = sorted(images, key=fraction)
        held_out = min(_HELD_OUT, len(order) // 3) if year == "val2014" else 0
        splits = dict.fromkeys(order[:held_out], "val")
        splits |= dict.fromkeys(order[held_out : 2 * held_out], "test")
        photos += [
            photo(
                i,
                f"{year}/{file}",
                captions[i],
                splits.get(i, "train"),
                f"{path}: image {brief(i)}",
            )
            for i, file in images.items()
        ]
    return photos


def _images(path: Path) -> tuple[dict[str, str], dict[str, list[Any]]]:
    """The file and the captions of each image of one of COCO's caption files, by its id."""
    content = read_json(path)
    parts = [
        content.get(name) if isinstance(content, dict) else None
        for name in ("images", "annotations")
    ]
    if not all(
        isinstance(part, list) and all(isinstance(row, dict) for row in part) for part in parts
    ):
        raise InputError(
            f"{path} is not one of COCO's caption files, which have lists images and annotations; "
            f"take it from {SERVER}"
        )
    files: dict[str, str] = {}
    captions: dict[str, list[Any]] = {}
    for number, image in enumerate(parts[0] or ()):
        where = f"{path}: image {number}"
        name = id_text(image.get("id"), where, "id")
        if name in files:
            raise InputError(f"{where} has the id {brief(name)} of another; give it its own")
        if not isinstance(image.get("file_name"), str):
            raise InputError(f'{where} has no "file_name"; add the name of its file')
        files[name], captions[name] = image["file_name"], []
    for number, note in enumerate(parts[1] or ()):
        where = f"{path}: annotation {number}"
        name = id_text(note.get("image_id"), where, "image_id")
        if name not in files:
            raise InputError(f"{where} is of image {brief(name)}, which is not listed; list it")
        if "caption" not in note:
            raise InputError(f'{where} has no "caption"; write it')
        captions[name].append(note["caption"])
    return files, captions


def fetch(folder: Path, download: Callable[[str], str]) -> None:
    """Makes `folder` hold annotations/, train2014/ and val2014/.

    What is not there is unpacked from its zip in `folder` or, where that is missing too, from what
    `download` (url -> path of a file) brings. Raises InputError where the server cannot be reached
    or a zip is damaged, and says what to do by hand.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for name in ZIPS if not (folder / name).is_dir()]
    absent = [Path(ZIPS[name]).name for name in missing if not _zip(folder, name).is_file()]
    by_hand = (
        f"put {' and '.join(absent)} from {SERVER} into {folder}, or give a folder that holds "
        "dataset_coco.json and the images with --config.data.path"
    )
    if absent:
        free = shutil.disk_usage(folder).free
        if free < _ROOM:
            raise InputError(
                f"COCO needs {_ROOM / 1e9:.0f} GB in {folder}, where {free / 1e9:.0f} GB are free; "
                "make room, or choose another cache"
            )
    for name in missing:
        source = _zip(folder, name)
        if not source.is_file():
            source = Path(_downloaded(f"{SERVER}/{ZIPS[name]}", download, by_hand))
        _unpack(source, folder, name)


def _zip(folder: Path, name: str) -> Path:
    return folder / Path(ZIPS[name]).name


def _downloaded(url: str, download: Callable[[str], str], by_hand: str) -> str:
    try:  # the downloader itself tries for minutes before it says that there is no network
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=30):
            pass
        return download(url)
    except Exception as error:  # of requests, urllib3, tensorflow-datasets, the disk
        reason = getattr(error, "reason", error)
        raise InputError(f"cannot download {url} ({reason}); {by_hand}") from error


def _unpack(source: Path, folder: Path, name: str) -> None:
    """Unpacks `name`/ of a zip; a process killed meanwhile leaves no half-filled folder behind."""
    partial = folder / f"{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with zipfile.ZipFile(source) as archive:
            archive.extractall(partial, [m for m in archive.namelist() if m.startswith(f"{name}/")])
        (partial / name).rename(folder / name)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise InputError(
            f"{source} cannot be unpacked into {folder} ({error}); get the zip anew or make room"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
