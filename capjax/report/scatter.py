"""What is paid for what? Two measures of several runs against each other, in one chart."""

from collections.abc import Sequence
from typing import NamedTuple

from capjax.report.axes import axis
from capjax.report.charts import COLOURS, DASHES, HEIGHT, WIDTH, chart
from capjax.report.labels import SIDES, Side, sides
from capjax.report.markup import Html, escape, join

# Marks of 12 by 12 about 0, filled; the second half of them hollow.
MARKS = (
    "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
    "M-4-4h8v8h-8z",
    "M0-5.2L5 3.8h-10z",
    "M0-5.5L5.5 0L0 5.5L-5.5 0z",
)
_SIZES = ((280.0, float(HEIGHT)), (440.0, float(HEIGHT)), (960.0, float(HEIGHT)))  # of the plot
_LETTER, _LINE, _GAP = 6.6, 13.0, 8.0  # pixels


class Point(NamedTuple):
    """One evaluation in a plot."""

    x: float
    y: float
    label: str  # beside it; "" for none
    name: str  # in full, when it is pointed at


class Curve(NamedTuple):
    """Points joined in their order, or one point alone."""

    name: str
    look: int  # colour, mark and dash: the same look for the same curve in every plot
    points: tuple[Point, ...]


class Scatter(NamedTuple):
    """A plot of one measure against another."""

    title: str
    x_title: str
    y_title: str
    curves: tuple[Curve, ...]  # at least one
    note: str  # beneath it


def scatter(plot: Scatter) -> Html:
    """The chart of a plot: a mark a point, a line a curve, labels where they cover nothing.

    All numbers must be finite. How many labels had no room is said beneath the chart.
    """
    points = [point for curve in plot.curves for point in curve.points]
    x, y = axis([point.x for point in points]), axis([point.y for point in points])

    def place(point: Point) -> tuple[float, float]:
        return x.place(point.x), 1 - y.place(point.y)

    chosen = label_sides(plot, [[place(p) for p in curve.points] for curve in plot.curves])
    lines, marks, labels, at = [], [], [], iter(chosen)
    for curve in plot.curves:
        if len(curve.points) > 1:
            path = "L".join(
                f"{WIDTH * left:.1f} {HEIGHT * top:.1f}" for left, top in map(place, curve.points)
            )
            lines.append(Html(f'<path class="line {_look(curve)}" d="M{path}"/>'))
        for point in curve.points:
            left, top = place(point)
            spot = f"left:{100 * left:.2f}%;top:{HEIGHT * top:.1f}px"
            tooltip = f"{point.name}: {plot.x_title} {point.x:.4g}, {plot.y_title} {point.y:.4g}"
            marks.append(
                Html(
                    f'<span class="{_look(curve)}" title="{escape(tooltip)}" style="{spot};'
                    f'transform:translate(-50%,-50%);line-height:0">{_mark(curve)}</span>'
                )
            )
            if side := next(at):
                labels.append(
                    Html(
                        f'<span class="{_look(curve)}" style="{spot};color:var(--k);'
                        f'transform:{_shift(side)}">{escape(point.label)}</span>'
                    )
                )
    lost = sum(bool(point.label) for point in points) - len(labels)
    unlabelled = f" {lost} of the numbers beside points had no room." if lost else ""
    # The name of the x axis takes a line of its own, which the page leaves no room for.
    note = Html(
        f'<span style="display:block;padding-top:0.9rem">{escape(plot.note + unlabelled)}</span>'
    )
    return chart(
        plot.title,
        join(lines),
        x,
        y,
        legend=_legend(plot.curves),
        over=join([*_axis_names(plot), *marks, *labels]),
        note=note,
    )


def _axis_names(plot: Scatter) -> list[Html]:
    return [
        Html(
            '<span style="left:0;bottom:calc(100% + 0.4rem);color:var(--ink)">'
            f"\u2191 {escape(plot.y_title)}</span>"
        ),
        Html(
            '<span style="right:0;top:calc(100% + 1.6rem);color:var(--ink)">'
            f"{escape(plot.x_title)} \u2192</span>"
        ),
    ]


def label_sides(
    plot: Scatter,
    places: Sequence[Sequence[tuple[float, float]]],
    sizes: Sequence[tuple[float, float]] = _SIZES,
    letter: float = _LETTER,
    line_height: float = _LINE,
    gap: float = _GAP,
) -> list[Side | None]:
    """On which side of each point its label stands; arguments as in `labels.sides`, in pixels."""
    points = [point for curve in plot.curves for point in curve.points]
    return sides(
        [place for line in places for place in line],
        [letter * len(point.label) for point in points],
        places,
        sizes=sizes,
        line_height=line_height,
        gap=gap,
    )


def mark(curve: Curve) -> tuple[int, bool]:
    """Which of MARKS a curve has, and whether it is filled."""
    number = curve.look % (2 * len(MARKS))
    return number % len(MARKS), number < len(MARKS)


def _look(curve: Curve) -> str:
    return f"k{curve.look % COLOURS} d{curve.look % DASHES}"


def _mark(curve: Curve) -> Html:
    shape, filled = mark(curve)
    fill = "var(--k)" if filled else "var(--page)"
    return Html(
        '<svg width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true">'
        f'<path style="fill:{fill};stroke:var(--k);stroke-width:1.5" d="{MARKS[shape]}"/></svg>'
    )


def _shift(side: Side) -> str:
    """Moves a label from its point to its side of it."""
    assert side in SIDES
    near = _GAP if 0 in side else 0.6 * _GAP
    across = {-1: f"calc(-100% - {near:g}px)", 0: "-50%", 1: f"{near:g}px"}[side.across]
    down = {-1: f"calc(-100% - {near - 1.5:g}px)", 0: "-50%", 1: f"{near - 1.5:g}px"}[side.down]
    return f"translate({across},{down})"


def _legend(curves: Sequence[Curve]) -> Html:
    keys = []
    for curve in curves:
        line = f'<path class="line {_look(curve)}" d="M0 7h28"/>' if len(curve.points) > 1 else ""
        shape, filled = mark(curve)
        fill = "var(--k)" if filled else "var(--page)"
        keys.append(
            Html(
                f'<li><svg class="key {_look(curve)}" viewBox="0 0 28 14" aria-hidden="true" '
                f'style="height:14px;vertical-align:-2px">{line}'
                f'<path transform="translate(14 7)" style="fill:{fill};stroke:var(--k);'
                f'stroke-width:1.5" d="{MARKS[shape]}"/></svg><bdi>{escape(curve.name)}</bdi></li>'
            )
        )
    return Html(f'<ul class="legend">{join(keys)}</ul>')
