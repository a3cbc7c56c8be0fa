"""A signal asks a run to stop: it saves what there is to save, and ends soon, wherever it is."""

import contextlib
import itertools
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

from capjax.parallel import notes, parting, processes

SIGNALS = (signal.SIGTERM, signal.SIGINT)
AGAIN = 2.0  # seconds after which another signal is not the same one sent twice
GRACE = 6.0  # seconds after which what does not listen is ended all the same
EVERY = 0.5  # seconds between looks at whether another process has been asked to stop
_runs = itertools.count()  # processes that have joined call `train` as often as one another


class Interrupted(BaseException):
    """A signal asked the run to stop; the message says where it stands.

    No Exception: what fails meanwhile in libraries must not be taken for it, or it for that.
    """


class StopSignal:
    """Heeds SIGTERM and SIGINT, sent to any process of the run, from `__enter__` on.

    While there is something to lose (`holds`), a signal is noted in `name`, and whoever trains
    saves and raises Interrupted. Else all is on the disk: Interrupted is raised where the run is,
    and where that is deep in a compiler, and does not listen for GRACE seconds, the process ends.
    A second signal ends it at once. Of SIGINT that is so while there is something to lose; else it
    does what it did before.

    Args:
      status: what the process ends with where it does not listen; None: it is not ended then, and
        all processes must be asked to stop.
    """

    def __init__(self, status: int | None = None):
        self.status = status
        self.name = ""  # of the signal that came, to this process or to another one
        self.place = "before the first step"  # where the run stands, to be told
        self.holds = False
        self._since: float | None = None  # when a signal came to this very process
        self._raised = False  # and is on its way up
        self._notes = f"stop-{next(_runs)}"

    def __enter__(self) -> "StopSignal":
        parting.expected(None)
        self._hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
        self._before = {s: signal.signal(s, self._heed) for s in SIGNALS}
        self._before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._told)
        self._reads, self._writes = os.pipe()
        os.set_blocking(self._writes, False)
        # Written to as a signal comes, though Python's handlers wait for a compiler to return.
        self._wakeup = signal.set_wakeup_fd(self._writes, warn_on_full_buffer=False)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._watch, daemon=True)]
        if processes.joined():
            self._threads.append(threading.Thread(target=self._listen, daemon=True))
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        lost = error is not None and parting.of_lost(error)
        if lost:
            # Another process may have stopped, and left this one in the midst of a collective.
            until = time.monotonic() + 3 * EVERY
            while not self.name and time.monotonic() < until:
                time.sleep(EVERY / 5)
        self._ended.set()
        sys.unraisablehook = self._hook
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._writes)
        for thread in self._threads:
            thread.join(GRACE)
        if any(thread.is_alive() for thread in self._threads):  # its signal must not end this
            self._before[signal.SIGUSR1] = signal.SIG_IGN
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if lost or (not isinstance(error, Interrupted) and _came_of_a_stop(error)):
            self.let_go()

    def let_go(self) -> None:
        """Raises Interrupted where a signal has come: there is nothing to lose."""
        if self.name:
            self._raised = True
            raise Interrupted(
                f"{self.name}: stopped {self.place}, from where it goes on; run the same command"
                " again"
            )

    def _heed(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._since is not None and now - self._since > AGAIN:
            raise SystemExit(128 + number)
        self._since = now if self._since is None else self._since
        before = self._before[signal.SIGINT]
        if number == signal.SIGINT and not self.holds and callable(before):
            before(number, frame)  # with nothing to save Ctrl-C is what it is anywhere
        self._stop(signal.Signals(number).name)

    def _told(self, number: int, frame: FrameType | None) -> None:
        """Another process has been asked to stop, or this one, and has not listened."""
        self._stop("SIGTERM")

    def _stop(self, name: str) -> None:
        self.name = self.name or name
        if not self.holds and not self._raised:
            self.let_go()

    def _unraisable(self, what: Any) -> None:
        """Interrupted is raised again soon where nothing can be raised, as in a collection."""
        if isinstance(what.exc_value, Interrupted):
            self._raised = False
        else:
            self._hook(what)

    def _watch(self) -> None:
        """Tells the other processes of a signal, and ends what does not listen."""
        name = ""
        with contextlib.suppress(OSError):
            while not name and (came := os.read(self._reads, 1)):
                number = signal.Signals(came[0])
                name = number.name if number in (*SIGNALS, signal.SIGUSR1) else ""
        if name:
            self._ends(name)
        os.close(self._reads)

    def _ends(self, name: str) -> None:
        parting.expected(self.status or 0)
        if name != signal.SIGUSR1.name:
            notes.leave(f"{self._notes}/{processes.index()}", name)
        until = time.monotonic() + GRACE
        while not self._ended.wait(EVERY):
            if self.holds and not notes.left("ended"):  # else there is nobody to save with
                until = time.monotonic() + GRACE
            elif self.status is not None and time.monotonic() > until:
                if processes.first():
                    said = f"{self.name or name}: stopped {self.place}, from where it goes on"
                    told = f"\ncapjax: {said}; run the same command again"  # below the bar
                    print(told, file=sys.stderr, flush=True)
                notes.leave(f"ended/{processes.index()}", '{"status": 0, "why": ""}')
                os._exit(self.status)
            elif not self._raised:
                os.kill(os.getpid(), signal.SIGUSR1)  # what is raised in a callback can be lost

    def _listen(self) -> None:
        while not self._ended.wait(EVERY):
            if notes.left(self._notes) or notes.left("stop"):
                parting.expected(self.status or 0)
                if not self.name:
                    os.kill(os.getpid(), signal.SIGUSR1)
                return


def _came_of_a_stop(error: BaseException | None) -> bool:
    """Whether an error is what other code made of Interrupted, as C modules being imported do."""
    while error is not None and not isinstance(error, Interrupted):
        error = error.__cause__ or error.__context__
    return error is not None
