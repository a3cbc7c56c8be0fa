"""Where does a number lie along an axis, and which numbers are written beside it?"""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Axis(NamedTuple):
    """A linear scale between two numbers, low < high, and its ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]  # rising, evenly spaced, within [low, high]

    def place(self, value: float) -> float:
        """How far along the axis a number lies: 0 at low, 1 at high."""
        return (value - self.low) / (self.high - self.low)

    def labels(self) -> list[str]:
        """The ticks as text, all with the same number of decimals."""
        largest = max(abs(tick) for tick in self.ticks)
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else largest or 1.0
        if largest >= 1e7 or step < 1e-5:
            digits = max(0, math.floor(math.log10(largest)) - math.floor(math.log10(step) + 1e-9))
            return [f"{tick:.{min(digits, 6)}e}" if tick else "0" for tick in self.ticks]
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return [f"{tick:,.{decimals}f}".replace("-", "\u2212") for tick in self.ticks]


def axis(values: Sequence[float], *, ticks: int = 5, whole: bool = False) -> Axis:
    """An axis that starts and ends at a tick and has all the values between.

    Arguments: values, at least one, finite; ticks, about how many there shall be at most; whole,
    for numbers that are counted: no tick between two whole ones.
    """
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # one value: some room on both sides
        room = abs(low) / 2 or 1.0
        low, high = low - room, high + room
    step = _step((high - low) / ticks, whole)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    at = tuple(_tidy(index * step) for index in range(first, last + 1))
    return Axis(at[0], at[-1], at)


def span(low: float, high: float, *, ticks: int = 5) -> Axis:
    """An axis of counted things (steps) that ends where they end; it starts at 0 if that is near.

    Arguments: low <= high, whole and not negative; ticks, about how many there shall be at most.
    """
    if low <= high / 4:
        low = 0
    if low == high:
        low, high = max(0, low - 1), high + 1
    step = _step((high - low) / ticks, whole=True)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Axis(low, high, tuple(_tidy(index * step) for index in range(first, last + 1)))


def _step(least: float, whole: bool) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is at least so large."""
    power = 10.0 ** math.floor(math.log10(least))
    for factor in (1, 2, 2.5, 5, 10):
        step = factor * power
        if step >= least * (1 - 1e-9) and not (whole and step % 1):
            return step
    return 1.0  # whole, and least < 1


def _tidy(value: float) -> float:
    return float(f"{value:.12g}")
