"""Which checkpoints on a store are whole? Folders there appear file by file, and none is moved."""

import contextlib
from pathlib import Path

from capjax.files.checksums import NAME as SUMS

COMMITTED = "commit_success.txt"  # what orbax writes last


def whole_on_store(checkpoint: Path) -> bool:
    """Whether a checkpoint is no longer being written: its folder has its name all the while.

    Our sums are written after all else; a folder that was copied from a disk has only them.
    """
    return (checkpoint / COMMITTED).exists() or (checkpoint / SUMS).exists()


def adopt(folder: Path) -> None:
    """Marks checkpoints that were copied from a disk, or orbax would clear them away as unfinished.

    Who may only read leaves them, and does not see them.
    """
    with contextlib.suppress(FileNotFoundError):
        for found in list(folder.iterdir()):
            if found.name.isdigit() and not (found / COMMITTED).exists() and whole_on_store(found):
                with contextlib.suppress(OSError):
                    (found / COMMITTED).write_text("copied from a disk")
