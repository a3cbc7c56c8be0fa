"""A signal asks a run to stop: it saves what there is to save, and ends soon, wherever it is."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import jax

from capjax.parallel import notes, parting, processes

SIGNALS = (signal.SIGTERM, signal.SIGINT)
AGAIN = 2.0  # seconds after which another signal is not the same one sent twice
GRACE = 6.0  # seconds after which what does not listen is ended all the same
EVERY = 0.5  # seconds between looks at whether another process has been asked to stop


class Interrupted(BaseException):
    """A signal asked the run to stop; the message says where it stands.

    No Exception: what fails meanwhile in libraries must not be taken for it, or it for that.
    """


class StopSignal:
    """Heeds SIGTERM and SIGINT, sent to any process of the run, from `__enter__` on.

    While there is something to lose (`holds`), a signal is noted in `name`, and whoever trains
    saves and raises Interrupted. Else all is on the disk: Interrupted is raised where the run is,
    and where that is deep in a compiler, and does not listen for GRACE seconds, the process ends.
    A second signal ends it at once.

    Args:
      status: what the process ends with where it does not listen; None: it is not ended then.
    """

    def __init__(self, status: int | None = None):
        self.status = status
        self.name = ""  # of the signal that came, to this process or to another one
        self.place = "before the first step"  # where the run stands, to be told
        self.holds = False
        self._since = 0.0

    def __enter__(self) -> "StopSignal":
        self._hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        self._before = {s: signal.signal(s, self._heed) for s in SIGNALS}
        self._before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._told)
        self._reads, self._writes = os.pipe()
        os.set_blocking(self._writes, False)
        # Written to as a signal comes, though Python's handlers wait for a compiler to return.
        self._wakeup = signal.set_wakeup_fd(self._writes, warn_on_full_buffer=False)
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()
        if processes.count() > 1:
            threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        if isinstance(error, jax.errors.JaxRuntimeError) and processes.count() > 1:
            # Another process may have stopped, and left this one in the midst of a collective.
            until = time.monotonic() + 3 * EVERY
            while not self.name and time.monotonic() < until:
                time.sleep(EVERY / 5)
        self._ended.set()
        sys.unraisablehook = self._hook
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._writes)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if isinstance(error, jax.errors.JaxRuntimeError) and processes.count() > 1:
            self.let_go()

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Inside, there is something to lose."""
        self.holds = True
        try:
            yield
        finally:
            self.holds = False
        self.let_go()

    def let_go(self) -> None:
        """Raises Interrupted where a signal has come: there is nothing to lose."""
        if self.name:
            raise Interrupted(self.said())

    def said(self) -> str:
        """Where the run has stopped."""
        return (
            f"{self.name}: stopped {self.place}, and nothing is lost; run the same command again to"
            " go on"
        )

    def _heed(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.name and now - self._since > AGAIN:
            raise SystemExit(128 + number)
        if not self.name:
            self._note(signal.Signals(number).name)
        if not self.holds:
            self.let_go()

    def _told(self, number: int, frame: FrameType | None) -> None:
        """Another process has been asked to stop, or this one, and has not listened."""
        if not self.name:
            self._note(next(iter(notes.left("stop").values()), "SIGTERM"))
        if not self.holds:
            self.let_go()

    def _unraisable(self, what: Any) -> None:
        """Interrupted is raised again soon where nothing can be raised, as in a collection."""
        if not isinstance(what.exc_value, Interrupted):
            self._hook(what)

    def _note(self, name: str) -> None:
        self.name, self._since = name, time.monotonic()
        parting.expected(self.status or 0)

    def _watch(self) -> None:
        """Tells the other processes of a signal, and ends what does not listen."""
        with contextlib.suppress(OSError):
            while number := os.read(self._reads, 1):
                if number[0] in (*SIGNALS, signal.SIGUSR1):
                    break
            else:
                os.close(self._reads)
                return
        if number[0] != signal.SIGUSR1:
            notes.leave(f"stop/{processes.index()}", signal.Signals(number[0]).name)
        until = time.monotonic() + GRACE
        while not self._ended.wait(EVERY):
            if self.holds and not notes.left("ended"):  # else there is nobody to save with
                until = time.monotonic() + GRACE
            elif self.status is None or time.monotonic() < until:
                os.kill(os.getpid(), signal.SIGUSR1)  # what is raised in a callback can be lost
            else:
                self.name = self.name or signal.Signals(number[0]).name
                if processes.first():
                    print(f"capjax: {self.said()}", file=sys.stderr, flush=True)
                notes.leave(f"ended/{processes.index()}", '{"status": 0, "why": ""}')
                os._exit(self.status)

    def _listen(self) -> None:
        while not (self.name or self._ended.wait(EVERY)):
            if notes.left("stop"):
                os.kill(os.getpid(), signal.SIGUSR1)
                return
