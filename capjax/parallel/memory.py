"""Does a program fit in the memory that is free?"""

import contextlib
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from capjax.errors import InputError


def check_fits(program: Any, number: int, what: str, least: Callable[[], Any]) -> None:
    """Raises InputError, with the number that fits, where a compiled program needs more memory
    than is free.

    Args:
      program: what `jax.jit(f).lower(...).compile()` returns.
      number: how many of something it was compiled for; its memory grows with them.
      what: they are.
      least: compiles the same for one of them.
    """
    free, needed = free_memory(), _needed(program)
    if free is None or needed is None or needed <= free:
        return
    one = _needed(least()) or 0
    each = max(1.0, (needed - one) / max(1, number - 1))
    fits = 1 + int((free - one) / each)
    how_many = f"{fits} fit" if fits >= 1 else "not even one fits"
    raise InputError(
        f"{number} {what} need {needed / 2**30:.1f} GB of memory and {free / 2**30:.1f} are free:"
        f" {how_many}; give fewer, or free some"
    )


@contextlib.contextmanager
def telling_memory(mend: str) -> Iterator[None]:
    """Raises InputError where what is done inside needs more memory than there is.

    Args:
      mend: what to lower, such as "lower config.mle.batch".
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if not no_memory(error):
            raise
        reason = (str(error).splitlines() or [""])[0][:160] or "none is left"
        raise InputError(f"the memory does not suffice ({reason}); {mend}, or free some") from error


def no_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out: Python's, numpy's or XLA's."""
    message = str(error)
    words = ("RESOURCE_EXHAUSTED", "Out of memory", "bad_alloc", "Cannot allocate memory")
    return isinstance(error, MemoryError) or any(word in message for word in words)


def check_step(program: Any, copies: int, mend: str) -> None:
    """Raises InputError where a compiled program needs more memory than is free.

    XLA ends the process itself, without a word of ours, where a small part of it finds no room.

    Args:
      program: what `jax.jit(f).lower(...).compile()` returns.
      copies: how many of it run at once in one memory.
      mend: as of `telling_memory`.
    """
    free, analysis = free_memory(), program.memory_analysis()
    if free is None or analysis is None:
        return
    made = max(0, analysis.output_size_in_bytes - analysis.alias_size_in_bytes)
    needed = copies * (analysis.temp_size_in_bytes + made)
    if needed > free:
        raise InputError(
            f"the memory does not suffice (a step needs {needed / 2**30:.1f} GB and"
            f" {free / 2**30:.1f} are free); {mend}, or free some"
        )


def free_memory() -> int | None:
    """Bytes that the first device has left; None where nothing tells."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    limits = [left for left in (_of_machine(), _of_process()) if left is not None]
    return min(limits, default=None)


def _of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = [line.split()[1] for line in lines if line.startswith("MemAvailable")]
        return int(available[0]) * 1024 if available else _pages()
    except OSError:
        return _pages()


def _of_process() -> int | None:
    """What `ulimit -v` leaves; None where it sets no limit."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return None
    return max(0, limit - used)


def _pages() -> int | None:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _needed(program: Any) -> int | None:
    analysis = program.memory_analysis()
    if analysis is None:
        return None
    parts = ("argument", "output", "temp")
    return sum(getattr(analysis, f"{part}_size_in_bytes") for part in parts)
