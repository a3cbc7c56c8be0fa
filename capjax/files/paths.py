"""What does a flag name? A path that is there and of the kind that is wanted, or one sentence."""

from pathlib import Path

from capjax.errors import InputError, named
from capjax.files.places import absolute, as_of_a_disk, place, stored

_WANTED = {
    "file": "a file",
    "folder": "a folder",
    "run": "the folder of a training run",
    "data": "the folder, or the file of captions, of a dataset",
    "new": "a folder to write to",
    "cache": "a folder to write to",
}


def check_path(flag: str, value: str, kind: str) -> None:
    """Checks what a flag was given, before any work.

    Args:
      flag: as it is typed, with its dashes.
      kind: "file" or "folder", which is there and can be read; "data", either of the two; "run", a
        folder whose name is text, as the readers of checkpoints need it; "new", a folder that is
        there or that can be made; "cache", the same. Of gs:// are runs and what is new alone.
    Raises:
      InputError: naming the flag.
    """
    wanted, path = _WANTED[kind], Path(value).expanduser() if kind == "data" else Path(value)
    given = f"{flag}={value}"
    if not value:
        raise InputError(f"{flag}= is empty; give {wanted}, or leave {flag} out")
    with named(flag, value):
        path = place(value) if kind in ("run", "new") else path
    if stored(value):
        _check_stored(given, path, kind)
        return
    try:
        if kind in ("new", "cache"):
            while not path.exists() and path != path.parent:
                path = path.parent
        if not path.exists():
            raise InputError(f"{given} is not there; give {wanted}")
        if path.is_dir():
            next(path.iterdir(), None)
        elif kind in ("folder", "run", "new", "cache"):
            within = "" if path == Path(value) else f" would lie in {path}, which"
            raise InputError(f"{given}{within} is no folder; give {wanted}")
        elif path.is_file():  # what comes through a pipe can be opened once
            path.open("rb").close()
        if path.is_dir() and kind == "file":
            raise InputError(f"{given} is a folder; give {wanted}")
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{given} cannot be read: {why}; give {wanted}") from error
    if kind == "run":
        check_text(given, value)


def _check_stored(given: str, folder: Path, kind: str) -> None:
    """The same of a path on a store, where a folder is there as soon as something is in it."""
    wanted = _WANTED[kind]
    if kind not in ("run", "new"):
        raise InputError(f"{given} must be on this machine; copy it here, and give {wanted}")
    if kind == "new":
        return
    try:
        with as_of_a_disk(folder):
            next(folder.iterdir(), None)
    except FileNotFoundError as error:
        raise InputError(f"{given} is not there; give {wanted}") from error
    except OSError as error:
        raise InputError(f"{given} cannot be read: {error.strerror}; give {wanted}") from error


def check_text(what: str, value: str | Path) -> None:
    """Raises InputError where a path has bytes that are no text, which not every library takes."""
    try:
        str(absolute(value)).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{what} has letters in its path that this locale cannot read; rename the folder, or"
            " set LC_ALL=C.UTF-8"
        ) from error
