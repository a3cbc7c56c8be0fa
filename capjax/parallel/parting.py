"""How do the processes of a run end? Together, each with one sentence, and none hangs.

A process that ends before its time leaves a note, by which the others end within seconds. One that
is killed cannot: JAX's runtime misses its signs of life after `processes.SILENCE` seconds, or at
once where it is the first, and aborts the others with a page of its own words, in whose place they
are told of in a sentence here. All this is for commands alone: it takes the process's standard
streams and ends it.
"""

import ctypes
import errno
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import jax

from capjax.parallel import notes, processes
from capjax.parallel.memory import no_memory

LOST = 1  # the exit status where another process is gone
REFUSED = 2  # and where the input is at fault
# How a message of JAX's runtime begins, and those that are told in our words or are no news.
_BEGINS = re.compile(rb"[IWEF]\d{4} \d|\[Gloo\]|\*\*\* ")
_NOISE = re.compile(
    rb"\[Gloo\] Rank|coordination_service|Terminating process because the JAX|add_port\.cc"
    rb"|Check failure stack trace"
)
_LOST = re.compile(r"Gloo|UNAVAILABLE|Connection (closed|reset)|coordination service")
_ENDS = re.compile(rb"JAX distributed service|coordination|heartbeat")
_SILENT = re.compile(rb"stopped sending heartbeats\):\s*((?:\d+\s*\n?)+)")


def _patience(status: int) -> float:
    """Seconds in which a process may be about to end by the same as another: all are refused."""
    return 15 if status == REFUSED else 3


_expected: list[int] = []  # the status to end with, since a signal has asked for it


def expected(status: int | None) -> None:
    """From now on it is no loss when other processes are gone, all of them having been stopped, and
    this one ends with a status; None: they are not."""
    _expected[:] = [] if status is None else [status]


def of_lost(error: BaseException) -> bool:
    """Whether an error may come of another process that is gone; of one device a process it is a
    ValueError, else one of JAX's runtime."""
    if not processes.joined() or no_memory(error):
        return False
    said = isinstance(error, ValueError | RuntimeError) and _LOST.search(str(error))
    return isinstance(error, jax.errors.JaxRuntimeError) or bool(said)


class Company:
    """The other processes of a run, from before they are joined."""

    def __init__(self, place: str, number: int, which: int):
        self.place, self.number, self.which = place, number, which
        self.joined = False
        self.leaving: int | None = None  # the status to end with, once it is clear
        self.heard = b""  # what JAX's runtime said last
        self._noisy = 0.0  # when it said what is no news
        self.out, self.errors = _take_streams(self._hear)
        self._trap = ctypes.CFUNCTYPE(None, ctypes.c_int)(self._aborted)
        abort: Any = ctypes.CDLL(None).signal
        abort.restype = ctypes.c_void_p
        abort(int(signal.SIGABRT), self._trap)  # Python's own handlers come too late for it

    def join(self) -> None:
        """Joins the others, and listens from then on for the ends of any of them."""
        if not self.which and (taken := _taken(self.place)):
            self._say(
                f"process 0 of {self.number} cannot be found at {self.place} ({taken}); end what"
                f" listens there, or take another port ({processes.ADDRESS}, or"
                " JAX_COORDINATOR_PORT)"
            )
            os._exit(LOST)
        processes.join(self.place, self.number, self.which)
        self.joined = True
        threading.Thread(target=self._listen, daemon=True).start()

    def part(self, status: int, why: str) -> None:
        """Ends this process; the first one, which keeps the notes, when the others have read them.

        Args:
          why: what the others tell of it; "" where they end by themselves.
        """
        self.leaving = status if self.leaving is None else self.leaving
        if self.joined:
            notes.leave(f"ended/{self.which}", json.dumps({"status": status, "why": why}))
            # Who has been told to stop, and does not listen, is ended by itself after 6 seconds.
            until = time.monotonic() + (10 if _expected else _patience(status) + 2)
            while not self.which and time.monotonic() < until:
                if len(notes.left("ended")) >= self.number:
                    break
                time.sleep(0.1)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)

    def stop(self, status: int) -> None:
        """Ends with a status, and has the others stop, too, who may not have heard of it yet."""
        self.leaving = status
        notes.leave(f"stop/{self.which}", "SIGTERM")

    def said(self, sentence: str) -> bool:
        """Whether the first process ends with the very same sentence, and so says it."""
        if not self.joined:
            return False
        notes.leave(f"said/{self.which}", sentence)
        until = time.monotonic() + 3
        while self.which and time.monotonic() < until:
            if first := notes.left("said").get("0"):
                return first == sentence
            time.sleep(0.1)
        return False

    def wait_to_hear(self, error: BaseException) -> None:
        """Waits, after what a lost process may be the cause of, to be ended with its sentence."""
        if of_lost(error):
            time.sleep(processes.SILENCE + 20)

    def _listen(self) -> None:
        while True:
            time.sleep(0.5)
            if self.leaving is not None:
                return
            for name, text in notes.left("ended").items():
                ended = json.loads(text)
                if int(name) == self.which or not ended["why"] or _expected:
                    continue
                time.sleep(_patience(ended["status"]))
                if self.leaving is None:
                    self._say(
                        f"process {name} of {self.number} has ended ({ended['why']}), and so does"
                        " this one"
                    )
                    self.part(LOST, "")

    def _aborted(self, number: int) -> None:
        """In the place of an abort by JAX's runtime."""
        if self.leaving is not None or _expected:
            os._exit(_expected[0] if self.leaving is None else self.leaving)
        if self.joined:
            time.sleep(0.3)  # for what was said last to be read
            if not _ENDS.search(self.heard):
                signal.signal(signal.SIGABRT, signal.SIG_DFL)
                os.abort()  # for a reason of its own, which has been said
        if not self.joined:
            self._say(
                f"process {self.which} of {self.number} could not reach the others at {self.place}"
                f" within {processes.patience()} seconds; see that all {self.number} are started,"
                f" and that they see that address ({processes.PATIENCE}=N waits longer)"
            )
        else:
            self._say(
                f"{self._gone()} (killed, or its machine has failed), and so process {self.which}"
                " ends; run the same command again to go on"
            )
        os._exit(LOST)

    def _gone(self) -> str:
        silent = _SILENT.search(self.heard)
        names = silent[1].decode().split() if silent else ["0"]
        if len(names) > 1:
            return f"processes {', '.join(names)} of {self.number} are gone"
        return f"process {names[0]} of {self.number} is gone"

    def _say(self, sentence: str) -> None:
        # Python's own streams may be held by a thread that waits.
        os.write(self.errors, f"\ncapjax: {sentence}\n".encode(errors="backslashreplace"))

    def _hear(self, line: bytes) -> bool:
        """Takes note of a line written past Python's streams; whether people are to see it."""
        self.heard = (self.heard + line)[-10_000:]
        now = time.monotonic()
        if _BEGINS.match(line):
            self._noisy = now if _NOISE.search(line) else 0.0
        return now - self._noisy > 0.5  # what follows at once belongs to it


def _taken(place: str) -> str:
    """Why the port of an address of this machine cannot be had; "" where it can."""
    try:
        with socket.socket(socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", int(place.rpartition(":")[2])))
    except OSError as error:
        return "" if error.errno == errno.EAFNOSUPPORT else str(error.strerror or error)
    return ""


def _kept(number: int) -> int:
    """Another number for an open file, or for nothing where it is closed."""
    try:
        return os.dup(number)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


def _take_streams(hear: Callable[[bytes], bool]) -> tuple[int, int]:
    """Leaves Python its streams, and reads what others write past it: JAX's runtime, and gloo.

    Returns:
      Where output and errors are to be written from now on.
    """
    kept = _kept(1), _kept(2)
    reads, writes = os.pipe()
    os.dup2(writes, 1)
    os.dup2(writes, 2)
    os.close(writes)

    def read() -> None:
        begun = b""  # a line that has no end yet
        while text := os.read(reads, 65536):
            *lines, begun = (begun + text).split(b"\n")
            for line in lines:
                if hear(line + b"\n"):
                    os.write(kept[1], line + b"\n")

    threading.Thread(target=read, daemon=True).start()
    return kept
