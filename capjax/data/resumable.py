"""A `.npy` file written batch by batch, which a killed process leaves ready to be gone on with."""

import contextlib
import fcntl
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib.format import open_memmap

from capjax.errors import InputError
from capjax.terminal.progress import write


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the disk refuses into the user's error."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; make room, or choose another cache"
        ) from error


@contextlib.contextmanager
def only_process(path: Path) -> Iterator[None]:
    """Waits until no other process writes the same file; a lock dies with its process."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = beside(path, "lock").open("a")
    with lock:
        with writing(path):
            waiting = False
            while not _locked(lock):
                if not waiting:
                    write(f"waiting for the process that writes {path}", sys.stderr)
                waiting = True
                # Asked for again and again: an interrupt that comes as a wait begins is not seen
                # before the wait ends.
                time.sleep(0.2)
        yield


def _locked(lock: IO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.name}.{what}")


class GrowingArray:
    """The first `done` of `count` rows, in `path`.partial until the last of them is there.

    count: rows in all; plan: what must be the same for a later process to go on with these rows.
    Whoever uses it holds `only_process(path)`. Every method raises InputError where the disk
    refuses.
    """

    def __init__(self, path: Path, count: int, plan: str):
        self.path, self.count, self.plan = path, count, plan
        self.partial, self.progress = beside(path, "partial"), beside(path, "progress")
        self.done = 0
        self.rows: np.memmap | None = None  # made with the first rows, which tell their shape
        # Where there is nothing to go on with, or nothing of use, it begins anew.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            noted = json.loads(self.progress.read_text())
            if noted["plan"] == plan and 0 < noted["done"] <= count:
                rows = open_memmap(self.partial, "r+")
                if len(rows) == count:
                    self.done, self.rows = noted["done"], rows

    def append(self, rows: np.ndarray) -> None:
        """Writes the next rows, and only then notes that they are there."""
        with writing(self.path):
            if self.rows is None:
                self.rows = self.allocate((self.count, *rows.shape[1:]), rows.dtype)
            if rows.shape[1:] != self.rows.shape[1:]:
                raise InputError(
                    f"rows of shape {rows.shape[1:]} came after rows of {self.rows.shape[1:]} for "
                    f"{self.path}: make them of one shape, and delete {self.partial}"
                )
            self.rows[self.done : self.done + len(rows)] = rows
            self.rows.flush()
            self.done += len(rows)
            draft = beside(self.path, "progress.new")
            draft.write_text(json.dumps({"plan": self.plan, "done": self.done}))
            os.replace(draft, self.progress)

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype) -> np.memmap:
        """An empty array on the disk, with all its bytes set aside."""
        # First: a note about an older array must not be believed of this one.
        self.progress.unlink(missing_ok=True)
        self.partial.unlink(missing_ok=True)
        needed, folder = math.prod(shape) * dtype.itemsize, self.path.parent
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise InputError(
                f"{self.path.name} needs {needed:,} bytes in {folder} where {free:,} are free: "
                "make room, or choose another cache"
            )
        rows = open_memmap(self.partial, "w+", dtype, shape)
        if hasattr(os, "posix_fallocate"):
            # Into a hole in a mapped file nothing can be written on a full disk, and the process
            # would die of it (SIGBUS): so no holes.
            with self.partial.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, rows.offset + needed)
        return rows

    def finish(self) -> None:
        """Moves the whole array into place, in one step."""
        with writing(self.path):
            os.replace(self.partial, self.path)
            self.progress.unlink(missing_ok=True)
            beside(self.path, "lock").unlink(missing_ok=True)
