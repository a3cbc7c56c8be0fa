"""How does a command print, and how does it end? What all of them share, and no library call has.

Whatever is printed can be printed: what the terminal's encoding lacks is escaped, and the bytes of
file names that are no text are written as they are. Whoever reads may stop (`| head`): what is
printed after that is dropped, and the command does its work. Ctrl-C ends it without a traceback.
"""

import codecs
import contextlib
import io
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, NoReturn

from capjax.errors import InputError

_ERRORS = "capjax.command"


def command(main: Callable[[], Any], compiles: bool = True, together: bool = False) -> NoReturn:
    """Runs a command's `main` and exits with the status that it returns or exits with.

    What it compiles is kept for the next time (`keep_programs`).

    Args:
      together: whether it is one command where it is started as several processes, on one host or
        on many: they find one another, the first one alone prints, and they end together.

    After Ctrl-C what is under way is undone (processes that were started end), and the process dies
    of the signal, as shells expect. Output that the disk refuses is told of in one sentence.
    """
    signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = _unraisable
    _see_signals_through()
    status: Any = 0
    try:
        company = _company() if together else None
    except ValueError as error:  # InputError, which is not imported for every command
        print(f"capjax: {error}", file=sys.stderr)
        sys.exit(2)
    out = _patient(sys.stdout, company.out if company else 1)
    sys.stdout, sys.stderr = out, _patient(sys.stderr, company.errors if company else 2)
    try:
        if company:
            company.join()
            if company.which:
                sys.stdout = _patient(None, 1)
        if compiles:
            from capjax.data import cache_folder
            from capjax.files.programs import keep_programs
            from capjax.parallel.heap import keep_memory

            keep_memory()
            with contextlib.suppress(InputError):  # which the command itself tells
                keep_programs(cache_folder())
        status = main()
    except BaseException as error:
        if _interrupted:
            _die()
        if not isinstance(error, SystemExit):
            if company:
                company.wait_to_hear(error)
                traceback.print_exc()
                company.part(1, f"{type(error).__name__}: {error}"[:300])
            raise
        status = error.code
    out.flush()
    if refused := getattr(getattr(out.buffer, "raw", out.buffer), "refused", None):
        print(f"capjax: cannot print: {refused.strerror}; make room", file=sys.stderr)
        status = status or 2
    if company and (status or _stopped):
        company.part(status, _said[-1] if status and _said else "")
    if _stopped:
        # All is on the disk, and what was stopped in its midst may not bear to be taken down.
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def tell(sentence: object, status: int) -> int:
    """Tells of what ends a command, once for all of its processes: the status to end with."""
    if not (_companies and _companies[0].said(str(sentence))):
        print(f"capjax: {sentence}", file=sys.stderr)
    _said.append(str(sentence))
    return status


def stopped(sentence: object, status: int) -> int:
    """Tells that a signal has ended a command, and that its other processes end so, too."""
    if not (_companies and _companies[0].which):
        print(f"capjax: {sentence}", file=sys.stderr)
    _stopped.append(status)
    if _companies:
        _companies[0].stop(status)
    return status


_companies: list[Any] = []  # the other processes of this command
_said: list[str] = []  # what ended it
_stopped: list[int] = []  # the status to end with, where a signal has stopped it


def _company() -> Any:
    """The other processes of this command; None where it is alone."""
    from capjax.parallel import parting, processes

    if wanted := processes.wanted():
        _companies.append(parting.Company(*wanted))
        return _companies[0]
    return None


def json_line(row: Mapping[str, Any]) -> str:
    """One line that any reader of JSON takes: what cannot be shown is written as its escapes."""
    line = json.dumps(row, ensure_ascii=False)
    try:
        line.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(row)
    return line


_interrupted: list[int] = []  # signals that came


def _interrupt(number: int, frame: FrameType | None) -> None:
    _interrupted.append(number)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one ends it whatever it is doing
    raise _CtrlC


class _CtrlC(KeyboardInterrupt):
    """Whatever code catches it and goes on: the process dies when nobody holds it any more."""

    def __del__(self) -> None:
        if not sys.is_finalizing():
            _die()


def _see_signals_through() -> None:
    """Has Python heed signals that it would miss until a system call ends, which may be never.

    Python's handlers run between its instructions. A signal that comes just before the main thread
    waits in a system call, or to another thread, does not end that wait. So whenever one comes the
    main thread is woken by SIGURG, which does nothing else and by then finds it waiting.
    """
    signal.signal(signal.SIGURG, lambda number, frame: None)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def wake() -> None:
        while came := os.read(reader, 1):
            for seconds in (0.1, 0.4) if came[0] != signal.SIGURG else ():
                time.sleep(seconds)
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGURG)

    threading.Thread(target=wake, daemon=True, name="signals").start()


def _unraisable(unraisable: Any) -> None:
    """An interrupt that came where nothing can be raised, as in the collection of garbage."""
    if _interrupted and issubclass(unraisable.exc_type, KeyboardInterrupt):
        _die()
    sys.__unraisablehook__(unraisable)


def _die() -> None:
    print("\ncapjax: stopped by Ctrl-C", file=sys.stderr, flush=True)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)


class _Patient(io.FileIO):
    """A file that takes what nobody reads any more, and remembers what the disk refused."""

    refused: OSError | None = None

    def write(self, data: Any) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except BrokenPipeError:
            pass
        except OSError as error:
            self.refused = error
        return len(data)


def _patient(stream: Any, number: int) -> io.TextIOWrapper:
    """A stream that prints to the same place and in the same encoding, come what may."""
    if stream is None:  # closed before it began
        return open(os.devnull, "w", encoding="utf-8")
    try:
        stream.flush()
    except OSError:
        number = os.open(os.devnull, os.O_WRONLY)
    raw: Any = _Patient(number, "wb", closefd=False)
    return io.TextIOWrapper(
        raw if stream.write_through else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=_ERRORS,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _escaped(error: UnicodeError) -> tuple[bytes, int]:
    """Of what cannot be encoded: bytes of a file name as they are, all else as \\u escapes."""
    assert isinstance(error, UnicodeEncodeError)
    shown = b"".join(
        bytes([ord(one) - 0xDC00])
        if 0xDC80 <= ord(one) <= 0xDCFF
        else one.encode("ascii", "backslashreplace")
        for one in error.object[error.start : error.end]
    )
    return shown, error.end


codecs.register_error(_ERRORS, _escaped)
