"""COCO captions as cocodataset.org gives them: three zips, downloaded or put there by hand."""

import shutil
import urllib.error
import urllib.request
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from capjax.data.annotations import Photo, photo, read_json
from capjax.data.split_by_name import fraction
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
        found = read_json(path)
        try:
            images = {image["id"]: image["file_name"] for image in found["images"]}
            captions = defaultdict(list)
            for note in found["annotations"]:
                captions[note["image_id"]].append(note["caption"])
        except (TypeError, KeyError) as error:
            raise InputError(
                f"{path} is not one of COCO's caption files ({error}); take it from {SERVER}"
            ) from error
        order = sorted(images, key=lambda i: fraction(str(i)))
        held_out = min(_HELD_OUT, len(order) // 3) if year == "val2014" else 0
        splits = dict.fromkeys(order[:held_out], "val")
        splits |= dict.fromkeys(order[held_out : 2 * held_out], "test")
        photos += [
            photo(
                str(i), f"{year}/{file}", captions[i], splits.get(i, "train"), f"{path}: image {i}"
            )
            for i, file in images.items()
        ]
    return photos


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
