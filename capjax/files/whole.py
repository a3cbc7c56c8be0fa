"""A file is written whole or not at all; JSON in and out."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from capjax.errors import InputError
from capjax.files.places import as_of_a_disk, stored


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A draft to write, which takes the place of a file at the end: all of it or nothing.

    Raises InputError where the disk refuses.
    """
    if stored(path):
        with _uploaded(path) as draft:
            yield draft
        return
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


@contextlib.contextmanager
def _uploaded(path: Path) -> Iterator[Path]:
    """The same on a store, where an object is there when all of it is."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder) / path.name
            yield draft
            with as_of_a_disk(path):
                path.write_bytes(draft.read_bytes())
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}; run the same command again to go on"
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
        with as_of_a_disk(path):
            text = path.read_text("utf-8")
        return json.loads(text)
    except FileNotFoundError as error:
        raise InputError(
            f"{path.parent} holds no {path.name}: give the folder of a run that has been trained"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); restore it or start anew") from error
