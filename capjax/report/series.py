"""What of a metric is drawn? Its values by step, in stages, thinned to what a screen can show."""

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

BUCKETS = 240  # along the steps, when there are more values than that
_LARGEST = 1e150  # a metric beyond it has diverged, and a scale from it would overflow


class Stage(NamedTuple):
    """A stage of a run and where it lies along the steps."""

    name: str
    first: int
    last: int
    shift: int  # added to its rows' steps: not 0 where its steps are counted from 0 again


class Point(NamedTuple):
    """One value, or the mean of a few neighbouring ones."""

    step: float
    value: float
    low: float
    high: float


class Series(NamedTuple):
    """The values of one metric as they are drawn."""

    name: str
    runs: tuple[tuple[Point, ...], ...]  # a line each; gaps between them
    lost: int  # how many are not: NaN, infinite, None
    bucket: int  # steps that share one point
    last: float  # the value at the last step that has one


def stages(rows: Sequence[Mapping[str, Any]]) -> list[Stage]:
    """The stages of the rows in their order, laid end to end where each counts steps from 0."""
    bounds: dict[str, tuple[int, int]] = {}
    for row in rows:
        name, step = str(row.get("stage", "")), row["step"]
        low, high = bounds.get(name, (step, step))
        bounds[name] = (min(low, step), max(high, step))
    laid: list[Stage] = []
    for name, (low, high) in bounds.items():
        end = laid[-1].last if laid else 0
        shift = end if low < end else 0
        laid.append(Stage(name, low + shift, high + shift, shift))
    return laid


def series(rows: Sequence[Mapping[str, Any]], name: str, laid: Sequence[Stage]) -> Series | None:
    """What is drawn of one metric; None where no row has a finite value of it.

    Arguments: rows, of metrics.jsonl; name, of the metric; laid, the rows' `stages`.

    A row that lacks the name says nothing of it; one that has it as NaN, infinite or None leaves
    a gap, and so does a whole stage without it. Of two rows for the same step of a stage the
    later one counts: a run that was killed writes some steps again. More than BUCKETS values are
    averaged over equal numbers of steps, never across a stage's end nor over a gap.
    """
    places = {stage.name: (index, stage) for index, stage in enumerate(laid)}
    values: dict[tuple[int, int], float] = {}  # by stage and step; NaN where it is a gap
    for row in rows:
        if name in row:
            index, stage = places[str(row.get("stage", ""))]
            values[index, row["step"] + stage.shift] = _finite(row[name])
    lost = sum(map(math.isnan, values.values()))
    if lost == len(values):
        return None
    ordered = sorted(values.items())
    start, end = laid[0].first, laid[-1].last
    width = math.ceil((end - start + 1) / BUCKETS) if len(ordered) > BUCKETS else 1
    buckets: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for (index, step), value in ordered:
        buckets.setdefault((index, (step - start) // width), []).append((step, value))

    runs: list[list[Point]] = [[]]  # a gap lies on the side of a bucket where its NaN is
    before = ordered[0][0][0]
    for (index, _), members in buckets.items():
        kept = [(step, value) for step, value in members if not math.isnan(value)]
        if index > before + 1 or math.isnan(members[0][1]):
            runs.append([])
        if kept:
            runs[-1].append(_mean(kept))
        if len(kept) < len(members) and not math.isnan(members[0][1]):
            runs.append([])
        before = index
    last = next(value for _, value in reversed(ordered) if not math.isnan(value))
    drawn = tuple(tuple(run) for run in runs if run)
    return Series(name, drawn, lost, width, last)


def _finite(value: Any) -> float:
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return float(value) if real and abs(value) < _LARGEST else math.nan


def _mean(members: list[tuple[int, float]]) -> Point:
    steps, values = zip(*members, strict=True)
    n = len(members)
    return Point(math.fsum(steps) / n, math.fsum(values) / n, min(values), max(values))
