"""What the C library does with memory that a step gives back."""

import ctypes
import sys

# Of glibc's <malloc.h>.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_PAD = 64 * 2**20  # bytes that the heap grows by


def keep_memory() -> bool:
    """Has glibc keep what this process frees, for what it asks for next.

    Else each step on a CPU is given the tens of megabytes of its buffers anew by the system, which
    clears every page: of a small captioner's step that is a third. Returns whether it does; other C
    libraries go on as they do.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    settings = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: _PAD}
    return all(mallopt(name, value) for name, value in settings.items())
