"""What a run measured on its way: `metrics.jsonl`."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capjax.errors import InputError
from capjax.files.whole import whole


class MetricsLog:
    """`metrics.jsonl`: a JSON object a line, each with its `step`."""

    def __init__(self, path: Path, step: int, writes: bool = True):
        """Opens the file to go on after `step`: later rows, of a run that was cut, are dropped.

        writes: whether this process writes it; others of the run keep its rows in mind.
        """
        self.path, self.writes = path, writes
        self.rows: list[dict] = []
        lines = path.read_text("utf-8", "replace").split("\n") if path.exists() else [""]
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
            with whole(path) as draft:
                draft.write_text("".join(json.dumps(row) + "\n" for row in self.rows), "utf-8")

    def add(self, row: Mapping[str, Any]) -> None:
        self.rows.append(dict(row))
        if not self.writes:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.rows[-1]) + "\n")
        except OSError as error:
            raise InputError(
                f"cannot write {self.path}: {error.strerror}; make room and run it again"
            ) from error


def _row(line: str) -> dict | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
