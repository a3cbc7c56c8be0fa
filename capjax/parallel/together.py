"""What the processes of a run know together: values of each to all, work shared out among them."""

import pickle
import secrets
from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jax.experimental import multihost_utils

from capjax.errors import InputError
from capjax.parallel import processes

Part = TypeVar("Part")
Result = TypeVar("Result")


def gathered(value: Result) -> list[Result]:
    """What each process has: [process 0's, process 1's, ...]; all of them ask for it.

    Args:
      value: whatever can be pickled.
    """
    if processes.count() == 1:
        return [value]
    packed = np.frombuffer(pickle.dumps(value), np.uint8)
    sizes = multihost_utils.process_allgather(np.int32(packed.size))
    room = np.zeros(max(sizes), np.uint8)
    room[: packed.size] = packed
    every = multihost_utils.process_allgather(room)
    return [pickle.loads(row[:size].tobytes()) for row, size in zip(every, sizes, strict=True)]


def wait_for_all() -> None:
    """Returns when every process has come here."""
    gathered(None)


def by_first(work: Callable[[], Result]) -> Result:
    """What the first process finds, on all of them; the others do not do the work.

    An InputError that it raises is raised by all.
    """
    if processes.count() == 1:
        return work()
    return _sound([_from_first(_tried(work) if processes.first() else None)])[0]


def _from_first(value: Any) -> Any:
    packed = np.frombuffer(pickle.dumps(value), np.uint8)
    size = multihost_utils.broadcast_one_to_all(np.int64(packed.size))
    room = np.zeros(int(size), np.uint8)
    if processes.first():
        room[:] = packed
    return pickle.loads(np.asarray(multihost_utils.broadcast_one_to_all(room)).tobytes())


def first_before_others(folder: Path, work: Callable[[], Result]) -> Result:
    """What a process finds in a folder; where several see one folder, the first of them makes it.

    The others come when it is done, and find what it left there. An InputError that any of them
    raises is raised by all.
    """
    if processes.count() == 1:
        return work()
    leads = leader(folder) == processes.index()
    found: Any = _tried(work) if leads else None
    _sound(gathered(found if isinstance(found, InputError) else None))
    return found if leads else work()


def leader(folder: Path) -> int:
    """The first of the processes that see a folder as this one does."""
    if processes.count() == 1:
        return 0
    mark = f".seen-{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / mark).touch()
    except OSError as error:
        raise InputError(
            f"cannot write to the folder {folder}: {error.strerror}; choose another, which the"
            " processes of this run may write to"
        ) from error
    try:
        marks = gathered(mark)
        seen = [(folder / name).exists() for name in marks]
        wait_for_all()
    finally:
        (folder / mark).unlink(missing_ok=True)
    return seen.index(True)


def shared_out(
    work: Callable[[Part], Result], parts: Sequence[Part]
) -> Generator[Result, None, None]:
    """`map` over some parts, each worked on by one process and its result given to all.

    A round of parts, one a process, is gathered at a time.

    Args:
      work: its result can be pickled; an InputError that it raises is raised by all.
      parts: the same on all processes.
    """
    number, which = processes.count(), processes.index()
    if number == 1:
        yield from map(work, parts)
        return
    for start in range(0, len(parts), number):
        some = parts[start : start + number]
        mine = _tried(partial(work, some[which])) if which < len(some) else None
        yield from _sound(gathered(mine)[: len(some)])


def _tried(work: Callable[[], Result]) -> Any:
    """What work gives, or the InputError that it raises: the others are to know of it, too."""
    try:
        return work()
    except InputError as error:
        return error


def _sound(found: list[Any]) -> list[Any]:
    """What processes have found. Raises the first InputError among it."""
    for error in found:
        if isinstance(error, InputError):
            raise error
    return found
