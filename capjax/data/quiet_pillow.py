"""What Pillow and its libtiff say of a damaged file goes to nobody's terminal, and is not lost."""

import ctypes
import logging
import re
import threading
import warnings
from contextlib import suppress
from typing import Any

from PIL import Image

_IGNORED = ("ignore", None, Warning, re.compile("PIL"), 0)  # as `filterwarnings` writes it
_METADATA = (b"TIFFFetch", b"TIFFReadDirectory")  # libtiff's, where a tag is at fault, no pixel


class _Heard(threading.local):
    """What libtiff complained of in this thread."""

    def __init__(self) -> None:
        self.complaints: list[str] = []


class Quiet:
    """While any thread is inside, Pillow warns and logs nothing, and libtiff prints nothing.

    `with Quiet() as complaints` gives those of libtiff about pixels, in this thread: with some of
    them Pillow goes on and shows what it has. `warnings.catch_warnings` is not made for threads: it
    may undo what others set meanwhile.
    """

    _lock, _inside = threading.Lock(), 0
    _log, _level = logging.getLogger("PIL"), logging.NOTSET
    _heard, _handler = _Heard(), None

    def __enter__(self) -> list[str]:
        with self._lock:
            warnings.filterwarnings("ignore", module="PIL")  # to the front; never there twice
            if not Quiet._inside:
                Quiet._level = self._log.level
                self._log.setLevel(logging.CRITICAL)
                Quiet._handler = _set_handler(ctypes.cast(_hear, ctypes.c_void_p))
            Quiet._inside += 1
        self._heard.complaints = []
        return self._heard.complaints

    def __exit__(self, *_: object) -> None:
        with self._lock:
            Quiet._inside -= 1
            if not Quiet._inside:
                self._log.setLevel(Quiet._level)
                _set_handler(Quiet._handler)
                with suppress(ValueError):
                    warnings.filters.remove(_IGNORED)  # type: ignore[attr-defined]


def _set_handler(handler: Any) -> Any:
    """Puts a function in the place of libtiff's that prints errors. -> the one before"""
    return None if _libtiff is None else _libtiff.TIFFSetErrorHandler(handler)


@ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
def _hear(module: bytes | None, text: bytes | None, values: int | None) -> None:
    name = module or b""
    if not name.startswith(_METADATA):
        Quiet._heard.complaints.append(f"{name.decode(errors='replace')} complains")


_libtiff: ctypes.CDLL | None = None
with suppress(OSError, AttributeError):  # where libtiff is no library of its own, it prints
    _found = ctypes.CDLL(Image.core.__file__)
    _found.TIFFSetErrorHandler.restype = ctypes.c_void_p
    _found.TIFFSetErrorHandler.argtypes = [ctypes.c_void_p]
    _libtiff = _found
