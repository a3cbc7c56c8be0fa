"""What does a file hold? Text, JSON or lines of JSON, or a sentence with the line that is none."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from capjax.data.image_ids import brief
from capjax.errors import InputError

_NO_TEXT = {  # by how a file begins
    b"\x1f\x8b": "compressed (.gz); unpack it",
    b"PK\x03\x04": "compressed (.zip); unpack it",
    b"\xff\xfe": "UTF-16; save it as UTF-8",
    b"\xfe\xff": "UTF-16; save it as UTF-8",
}


def read_text(path: Path) -> str:
    """What a text file holds; InputError, with the line, where it is not UTF-8."""
    data = _bytes(path)
    for first, what in _NO_TEXT.items():
        if data.startswith(first):
            raise InputError(f"{path} is {what}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path} is not UTF-8 (line {line}); save it as UTF-8") from error


def read_json(path: Path, text: str | None = None) -> Any:
    """What a JSON file holds; InputError, with the line, where it is none or names a key twice.

    text: what stands in the file, where it has been read.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) < len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise InputError(f'{path} lists "{brief(twice)}" twice; join the two entries')
        return entries

    try:
        return json.loads(read_text(path) if text is None else text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply to be a file of captions") from error
    except InputError:
        raise
    except ValueError as error:  # a number of thousands of digits
        raise InputError(f"{path} is not a file of captions: {error}") from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def json_lines(path: Path, text: str) -> Iterator[Any]:
    """What each line of JSON lines holds; None for a blank one."""
    for number, line in enumerate(text.split("\n"), 1):  # U+2028 is text within a JSON string
        try:
            yield json.loads(line, object_pairs_hook=_unique) if line.strip() else None
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path}, line {number} is not valid JSON: {error.msg} at column {error.colno}"
            ) from error
        except (RecursionError, ValueError) as error:
            raise InputError(f"{path}, line {number} is no row with a caption: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'it names "{twice}" twice')
    return entries
