"""What the processes of a run know together: values of each to all, work shared out among them."""

import pickle
import secrets
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from jax.experimental import multihost_utils

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
    """What the first process finds, on all of them; the others do not do the work."""
    if processes.count() == 1:
        return work()
    return gathered(work() if processes.first() else None)[0]  # type: ignore[return-value]


def first_before_others(folder: Path, work: Callable[[], Result]) -> Result:
    """What a process finds in a folder; where several see one folder, the first of them makes it.

    The others come when it is done, and find what it left there.
    """
    if processes.count() == 1:
        return work()
    leads = leader(folder) == processes.index()
    if leads:
        found = work()
    wait_for_all()
    return found if leads else work()


def leader(folder: Path) -> int:
    """The first of the processes that see a folder as this one does."""
    if processes.count() == 1:
        return 0
    mark = f".seen-{secrets.token_hex(8)}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / mark).touch()
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
      work: its result can be pickled.
      parts: the same on all processes.
    """
    number, which = processes.count(), processes.index()
    for start in range(0, len(parts), number):
        some = parts[start : start + number]
        mine = work(some[which]) if which < len(some) else None
        yield from gathered(mine)[: len(some)]  # type: ignore[misc]
