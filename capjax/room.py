"""Does a program fit in the memory that is free?"""

import os
from collections.abc import Callable
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
    told = f"{fits} fit" if fits >= 1 else "not even one fits"
    raise InputError(
        f"{number} {what} need {needed / 2**30:.1f} GB of memory and {free / 2**30:.1f} are free:"
        f" {told}; give fewer, or free some"
    )


def free_memory() -> int | None:
    """Bytes that the first device has left; None where nothing tells."""
    device = jax.local_devices()[0]
    told = device.memory_stats() or {}
    if "bytes_limit" in told:
        return told["bytes_limit"] - told.get("bytes_in_use", 0)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = [line.split()[1] for line in lines if line.startswith("MemAvailable")]
        return int(found[0]) * 1024 if found else _pages()
    except OSError:
        return _pages()


def _pages() -> int | None:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _needed(program: Any) -> int | None:
    found = program.memory_analysis()
    if found is None:
        return None
    parts = ("argument", "output", "temp")
    return sum(getattr(found, f"{part}_size_in_bytes") for part in parts)
