"""Is a checkpoint what was written? Its files' sizes and sums, kept beside them."""

import base64
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

from capjax.files.places import facts_of, files_in, stored
from capjax.files.whole import whole

NAME = "sums.json"


def write_sums(folder: Path) -> None:
    """Notes the size and a sum of every file of a folder, in the folder.

    The sum is a CRC-32; of a store, which looks after what it was given, the one that it tells.
    """
    one = _told if stored(folder) else _sum
    files = [path for path in files_in(folder) if path.name != NAME]
    sums = {str(path.relative_to(folder)): one(path) for path in files}
    with whole(folder / NAME) as draft:
        draft.write_text(json.dumps(sums), "utf-8")


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
        if _now(path, expected) != expected:
            raise ValueError(f"its file {name} is not as it was written")
    return True


def _now(path: Path, noted: list[Any]) -> list[Any]:
    """The size and the sum of a file, as a note has them; the folder may have been copied."""
    if not isinstance(noted[1], str):
        return _sum(path)
    if stored(path):
        return _told(path)
    data = path.read_bytes()
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    return [len(data), md5 if len(noted[1]) == len(md5) else noted[1]]


def _told(path: Path) -> list[Any]:
    """What a store tells: the MD5 in base64; of what it joined of parts, the CRC-32C."""
    facts = facts_of(path)
    return [int(facts["size"]), facts.get("md5Hash") or facts["crc32c"]]


def _sum(path: Path) -> list[int]:
    size, crc = 0, 0
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            size, crc = size + len(part), zlib.crc32(part, crc)
    return [size, crc]
