"""How far along is a command? A bar on a terminal; in a log, a pipe or a notebook plain lines."""

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import IO, Any, TypeVar

from tqdm import tqdm

FORMAT = "{desc}: {percentage:.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"
BAR, LINE = 0.2, 10.0  # seconds between two looks of a bar, and between two lines
Part = TypeVar("Part")


class Progress:
    """Work of so many parts as it is seen on stderr, whatever stderr is.

    Args:
      total: how many parts there are.
      label: what is done with them.
      unit: what they are, in the plural.
      done: those that had been done before.
      shown: whether it is seen at all: of several processes only the first prints.
      beside: what else is told, asked whenever something is shown; it also tells how long it takes.
    """

    def __init__(
        self,
        total: int,
        label: str,
        unit: str,
        *,
        done: int = 0,
        shown: bool = True,
        beside: Callable[[], str] | None = None,
    ):
        self.total, self.label, self.unit, self.done = total, label, unit, done
        self._before, self._beside = done, beside
        self._begun = self._shown = time.monotonic()
        self._every = LINE if shown else math.inf
        self._lines = 0
        self._bar: tqdm | None = None
        if shown and sys.stderr.isatty():
            self._every = BAR
            # Seconds and steps between two looks are counted here, for bars and lines alike.
            options: dict[str, Any] = {"mininterval": 0, "miniters": 0, "dynamic_ncols": True}
            if beside:
                options["bar_format"] = FORMAT
            self._bar = tqdm(
                total=total, initial=done, desc=label, unit=f" {unit}", file=sys.stderr, **options
            )

    def update(self, parts: int = 1) -> None:
        """So many more are done."""
        self.done += parts
        now = time.monotonic()
        if now - self._shown >= self._every:
            self._shown = now
            self._show()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, where: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._show()
            self._bar.close()
        elif self._lines and kind is None:  # what ends before the first line needs none
            self._show()

    def _show(self) -> None:
        beside = self._beside() if self._beside else ""
        if self._bar is not None:
            self._bar.set_postfix_str(beside, refresh=False)
            self._bar.update(self.done - self._bar.n)
            return
        self._lines += 1
        more = beside if self._beside else self._left()
        told = f"{self.label}: {self.done:,} of {self.total:,} {self.unit}"
        write(f"{told}, {more}" if more else told, sys.stderr)

    def _left(self) -> str:
        took, parts = time.monotonic() - self._begun, self.done - self._before
        if self.done >= self.total or not parts:
            return ""
        return f"{about(took * (self.total - self.done) / parts)} left"


def along(
    parts: Iterable[Part], total: int, label: str, unit: str, *, shown: bool = True
) -> Iterator[Part]:
    """Parts one after another, with how far along they are; arguments as of `Progress`."""
    with Progress(total, label, unit, shown=shown) as progress:
        for part in parts:
            yield part
            progress.update()


def write(text: str, file: IO[str] | None = None) -> None:
    """Prints a line at once, above the bars; file: stdout by default."""
    file = sys.stdout if file is None else file
    tqdm.write(text, file)
    file.flush()  # or in a log it would stand after what was said later on stderr


def about(seconds: float) -> str:
    """A time in words, no finer than it can be foretold: "about 40 s", "about 2 h 10 min"."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 95:
        return f"about {10 * round(seconds / 10)} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"about {minutes} min"
    minutes = 10 * round(minutes / 10)
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"about {hours} h {rest} min" if rest else f"about {hours} h"
    return f"about {round(hours / 24)} days"
