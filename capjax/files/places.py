"""Where do files lie? In folders of this machine, or on Google's storage as gs://BUCKET/FOLDER."""

import contextlib
import errno
import importlib.util
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import fsspec
from etils import epath

from capjax.errors import InputError

STORE = "gs://"
_OTHER = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # and at least two letters: C:// is none


def stored(path: str | os.PathLike[str]) -> bool:
    """Whether a path is on a store of objects, which has no locks, no room and no half a file."""
    return os.fspath(path).startswith(STORE)


def place(path: str | os.PathLike[str]) -> Path:
    """A path as it is read and written: of this machine, or one of etils that answers as it does.

    Args:
      path: a folder or file of this machine, or gs://BUCKET/FOLDER.
    Raises:
      InputError: it is on another store, names no bucket, or the extra [gs] is not installed.
    """
    name = os.fspath(path)
    if not stored(name):
        if name.startswith(STORE[:-1]):
            raise InputError(f"{name} has one slash where {STORE}BUCKET/FOLDER has two")
        if _OTHER.match(name):
            raise InputError(f"{name} is no folder; give one of this machine, or {STORE}BUCKET/DIR")
        return Path(path)
    if not name.removeprefix(STORE).strip("/"):
        raise InputError(f"{name} names no bucket; give {STORE}BUCKET/FOLDER")
    if importlib.util.find_spec("gcsfs") is None:
        raise InputError(f"{name} needs gcsfs; install it with: pip install 'capjax[gs]'")
    # Arrays are written past fsspec (by tensorstore), and folders by other machines: what is
    # remembered of a folder is not what is there.
    fsspec.config.conf.setdefault("gs", {})["use_listings_cache"] = False
    os.environ.setdefault("EPATH_USE_TF", "false")  # one client, also where TensorFlow has another
    log = logging.getLogger("gcsfs")  # which tells at length what it raises anyway
    log.setLevel(log.level or logging.CRITICAL)
    return cast(Path, epath.Path(name))


def absolute(path: str | os.PathLike[str]) -> Path:
    """The same place, wherever this process is started."""
    return place(path) if stored(path) else place(path).absolute()


def resolved(path: str | os.PathLike[str]) -> Path:
    """The same place by its one name, links followed."""
    return place(path) if stored(path) else place(path).resolve()


def facts_of(path: Path) -> dict[str, Any]:
    """What a store tells of an object: its "size" in bytes, "md5Hash", "crc32c"."""
    return fsspec.filesystem("gs").info(str(path))


def files_in(folder: Path) -> list[Path]:
    """All files in a folder and in those below, by their names."""
    if stored(folder):
        found = fsspec.filesystem("gs").find(str(folder))
        return sorted(place(STORE + name.removeprefix(STORE)) for name in found)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def move(folder: Path, target: Path) -> None:
    """Moves a folder to a place where nothing is; on a store file by file."""
    if stored(folder):
        fsspec.filesystem("gs").mv(str(folder), str(target), recursive=True)
    else:
        shutil.move(folder, target)


@contextlib.contextmanager
def as_of_a_disk(path: str | os.PathLike[str]) -> Iterator[None]:
    """What the clients of a store raise is an OSError here, with its reason, as a disk's is."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if not stored(path):
            raise
        if isinstance(error, FileNotFoundError):
            reason = "there is no such bucket, folder or file"
            raise FileNotFoundError(errno.ENOENT, reason) from error
        raise OSError(errno.EIO, " ".join(str(error).split()) or type(error).__name__) from error
