"""Is a checkpoint what was written? Its files' sizes and sums, kept beside them."""

import json
import zlib
from pathlib import Path

NAME = "sums.json"


def write_sums(folder: Path) -> None:
    """Notes the size and the CRC-32 of every file of a folder, in the folder."""
    sums = {str(path.relative_to(folder)): _sum(path) for path in _files(folder)}
    # In one write: a process that is killed leaves the note whole or leaves none.
    (folder / NAME).write_text(json.dumps(sums), "utf-8")


def check_sums(folder: Path) -> bool:
    """Whether a checkpoint is known to be as it was written.

    Raises ValueError, naming the file, where one is not as it was written.

    A folder without such a note, of an older version or of a process that was killed before it, is
    not checked.
    """
    if not (folder / NAME).exists():
        return False
    sums = json.loads((folder / NAME).read_text("utf-8"))
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"its file {name} is gone")
        if _sum(path) != expected:
            raise ValueError(f"its file {name} is not as it was written")
    return True


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME)


def _sum(path: Path) -> list[int]:
    size, crc = 0, 0
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            size, crc = size + len(part), zlib.crc32(part, crc)
    return [size, crc]
