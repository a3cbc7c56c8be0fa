"""What a run measured on its way: `metrics.jsonl`."""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capjax.errors import InputError
from capjax.files.places import stored
from capjax.files.whole import whole

EVERY = 30.0  # seconds between writings of a file that cannot be added to


class MetricsLog:
    """`metrics.jsonl`: a JSON object a line, each with its `step`.

    On a store, where nothing can be added to a file, it is written anew with all its rows: every
    EVERY seconds, and by `keep`.
    """

    def __init__(self, path: Path, step: int, writes: bool = True):
        """Opens the file to go on after `step`: later rows, of a run that was cut, are dropped.

        writes: whether this process writes it; others of the run keep its rows in mind.
        """
        self.path, self.writes = path, writes
        self.rows: list[dict] = []
        self._kept, self._at = 0, -EVERY  # how many rows a store has, and since when
        text = path.read_bytes().decode("utf-8", "replace") if path.exists() else ""
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        last = lines.pop()  # the line that was being written when the run was cut
        if _row(last):
            lines.append(last)
        for number, line in enumerate(lines, 1):
            row = _row(line)
            if row is None and not writes:
                continue
            if row is None:
                print(f"capjax: line {number} of {path} is damaged and left out", file=sys.stderr)
            elif row["step"] <= step:
                self.rows.append(row)
        if writes and (last or len(self.rows) < len(lines)):
            self._write()
        self._kept = len(self.rows)

    def add(self, row: Mapping[str, Any]) -> None:
        self.rows.append(dict(row))
        if not self.writes:
            return
        if stored(self.path):
            if time.monotonic() - self._at >= EVERY:
                self.keep()
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.rows[-1]) + "\n")
        except OSError as error:
            raise InputError(
                f"cannot write {self.path}: {error.strerror}; make room and run it again"
            ) from error

    def keep(self) -> None:
        """All rows are in the file when it returns: before a checkpoint that counts on them."""
        if self.writes and stored(self.path) and self._kept < len(self.rows):
            self._write()
            self._kept, self._at = len(self.rows), time.monotonic()

    def _write(self) -> None:
        with whole(self.path) as draft:
            draft.write_text("".join(json.dumps(row) + "\n" for row in self.rows), "utf-8")


def _row(line: str) -> dict | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
