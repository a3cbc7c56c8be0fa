"""A file is written whole or not at all; JSON in and out."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from capjax.errors import InputError


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A draft to write, which takes the place of a file at the end: all of it or nothing.

    Raises InputError where the disk refuses.
    """
    draft = path.with_name(path.name + ".new")
    try:
        yield draft
        os.replace(draft, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise InputError(
            f"cannot write {path}: {error.strerror}; make room and run the same command again"
        ) from error


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file whole or not at all."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    try:
        data = text.encode()
    except UnicodeEncodeError:  # bytes of a file's name that are no text: JSON has escapes for them
        data = json.dumps(content, indent=1).encode()
    with whole(path) as draft:
        draft.write_bytes(data + b"\n")


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{path.parent} holds no {path.name}: give the folder of a run that has been trained"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); restore it or start anew") from error
