"""Train, val and test for images that come without: by a hash of each image's name."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from capjax.errors import InputError


def fraction(name: str) -> float:
    """A number in [0, 1) that depends on the name alone, spread evenly over names."""
    return int.from_bytes(hashlib.sha256(name.encode(errors="replace")).digest()[:8]) / 2**64


def split_by_name(files: Iterable[str], path: Path) -> dict[str, str]:
    """About 90 % train, 5 % val, 5 % test, by a hash of each file's name.

    The same name falls on the same side on any machine and whatever other images there are, but
    that the image nearest to the border crosses it where train or val would be empty.
    """
    place = {file: fraction(file) for file in files}
    if len(place) < 2:
        raise InputError(f"{path} has {len(place)} images; two are needed, to train and to check")
    splits = {
        file: "train" if at < 0.9 else "val" if at < 0.95 else "test" for file, at in place.items()
    }
    if "val" not in splits.values():
        splits[min(place, key=lambda file: abs(place[file] - 0.925))] = "val"
    if "train" not in splits.values():
        splits[min(place, key=lambda file: place[file])] = "train"
        if "val" not in splits.values():
            splits[max(place, key=lambda file: place[file])] = "val"
    return splits
