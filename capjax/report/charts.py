"""How did the numbers move? Line charts of what was measured while a model trained."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from capjax.report.axes import Axis, axis, span
from capjax.report.markup import Html, escape, join
from capjax.report.series import Point, Series, Stage, series, stages

# Lines are stretched to the page's width, text never is: the drawing is 1,000 units wide whatever
# the screen, its height is in pixels, and all words are HTML laid over it.
WIDTH, HEIGHT = 1000, 220
COLOURS, DASHES = 6, 5  # of the page's style sheet; thirty lines before two look the same
_LABEL = 16  # pixels a label needs
_MARKED = 40  # up to so many values get a dot each

Rows = Sequence[Mapping[str, Any]]


def chart_groups(rows: Rows) -> list[tuple[str, list[str]]]:
    """Which metrics share a chart: all losses one, every other name its own, as (title, names)."""
    names = dict.fromkeys(name for row in rows for name in row if name not in ("step", "stage"))
    losses = [name for name in names if "loss" in re.split(r"[^a-z]+", name.lower())]
    others = [(name, [name]) for name in names if name not in losses]
    return ([("Loss", losses)] if losses else []) + others


def curves(rows: Rows, groups: Sequence[tuple[str, Sequence[str]]]) -> Html:
    """Charts over the steps of a run, one a group, beside each other where there is room.

    Arguments: rows, of metrics.jsonl: {"step": int, "stage": text, name: number, ...}; groups,
    (title, names of the metrics) of each chart. How values are read, thinned and left out is
    `series.series`; every chart says beneath it what was done to its values.
    """
    laid = stages(rows)
    return Html(
        '<div class="charts">\n'
        + join(_steps_chart(rows, laid, title, names) for title, names in groups)
        + "\n</div>"
    )


def chart(
    title: str,
    marks: Html,
    x: Axis,
    y: Axis,
    *,
    legend: Html | None = None,
    over: Html | None = None,
    beside: Html | None = None,
    note: str = "",
    x_title: str = "",
) -> Html:
    """One chart: axes and words around marks that are drawn already.

    Arguments: title; marks, SVG in a box of WIDTH by HEIGHT with the origin at the top left; x, y,
    the axes; legend, above the plot; over and beside, words laid on the plot and right of it,
    placed in per cent of its width and pixels of its height; note, beneath it, in words; x_title,
    what x counts.
    """
    rules = join(
        Html(f'<path class="rule" d="M0 {_y(y, tick)}h{WIDTH}"/>') for tick in y.ticks
    )  # fmt: skip
    y_ticks = join(
        Html(f'<span class="y" style="top:{_y(y, tick)}px">{escape(label)}</span>')
        for tick, label in zip(y.ticks, y.labels(), strict=True)
    )
    x_ticks = join(
        Html(f'<span class="x" style="left:{100 * x.place(tick):.2f}%">{escape(label)}</span>')
        for tick, label in zip(x.ticks, x.labels(), strict=True)
    )
    room = max(map(len, y.labels()))
    kind = "chart labelled" if beside else "chart"
    x_name = Html(f'<span class="name">{escape(x_title)}</span>') if x_title else ""
    caption = Html(f"<figcaption>{escape(note)}</figcaption>") if note else ""
    return Html(
        f'<figure class="{kind}" style="--y:{0.75 * room:g}ch"><h3>{escape(title)}</h3>\n'
        f"{legend or ''}\n"
        f'<div class="plot" style="height:{HEIGHT}px">\n'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)}">\n{rules}\n{marks}\n</svg>\n'
        f"{y_ticks}\n{x_name}\n{x_ticks}\n{over or ''}\n{beside or ''}\n</div>\n{caption}</figure>"
    )


def _steps_chart(rows: Rows, laid: list[Stage], title: str, names: Sequence[str]) -> Html:
    every = [(name, series(rows, name, laid)) for name in dict.fromkeys(names)]
    drawn = [line for _, line in every if line]
    missing = [name for name, line in every if not line]
    if not drawn:
        never = f"No finite value of {', '.join(missing)} was measured." if missing else "Empty."
        return Html(
            f'<figure class="chart"><h3>{escape(title)}</h3>'
            f'<p class="nothing">{escape(never)}</p></figure>'
        )
    points = [point for line in drawn for run in line.runs for point in run]
    x = span(laid[0].first, laid[-1].last)  # the same for all charts of a run
    y = axis([v for point in points for v in (point.low, point.high)])
    ends = [stage.first for stage in laid[1:] if x.low < stage.first < x.high]
    marks = [
        Html(f'<path class="stage" d="M{_x(x, end)} 0v{HEIGHT}"/>') for end in ends
    ]  # fmt: skip
    marks += [_band(line, look, x, y) for look, line in enumerate(drawn)]
    marks += [_line(line, look, x, y) for look, line in enumerate(drawn)]
    return chart(
        title,
        join(marks),
        x,
        y,
        legend=_legend(drawn, title),
        over=_stage_names(laid, x),
        beside=_end_labels(drawn, y),
        note=_note(drawn, missing),
        x_title="step",
    )


def _x(x: Axis, value: float) -> str:
    return f"{WIDTH * x.place(value):.1f}"


def _y(y: Axis, value: float) -> str:
    return f"{HEIGHT * (1 - y.place(value)):.1f}"


def _look(index: int) -> str:
    return f"k{index % COLOURS} d{index % DASHES}"


def _value(number: float) -> Html:
    return Html(f"<b>{number:.4g}</b>".replace("-", "\u2212"))


def _band(line: Series, look: int, x: Axis, y: Axis) -> Html:
    """From the lowest to the highest of the values that share a point."""
    shapes = []
    for run in line.runs:
        if len(run) > 1 and any(point.low < point.high for point in run):
            over = [f"{_x(x, point.step)} {_y(y, point.high)}" for point in run]
            under = [f"{_x(x, point.step)} {_y(y, point.low)}" for point in reversed(run)]
            shapes.append("M" + "L".join(over + under) + "Z")
    return Html(f'<path class="band {_look(look)}" d="{"".join(shapes)}"/>' if shapes else "")


def _line(line: Series, look: int, x: Axis, y: Axis) -> Html:
    """A path a run; dots on a few values, and on those that no line would show."""

    def at(point: Point) -> str:
        return f"{_x(x, point.step)} {_y(y, point.value)}"

    lines = [f"M{'L'.join(map(at, run))}" for run in line.runs if len(run) > 1]
    few = sum(map(len, line.runs)) <= _MARKED
    dots = [f"M{at(point)}h0" for run in line.runs if few or len(run) == 1 for point in run]
    return join(
        Html(f'<path class="{mark} {_look(look)}" d="{"".join(shapes)}"/>')
        for mark, shapes in (("line", lines), ("dot", dots))
        if shapes
    )


def _legend(drawn: Sequence[Series], title: str) -> Html:
    """How each line looks, and the value that it ends with."""
    if [line.name for line in drawn] == [title]:
        return Html(f'<p class="legend"><span>last {_value(drawn[0].last)}</span></p>')
    keys = join(
        Html(
            f'<li><svg class="key" viewBox="0 0 28 10" aria-hidden="true">'
            f'<path class="line {_look(look)}" d="M0 5h28"/></svg>'
            f"<bdi>{escape(line.name)}</bdi> {_value(line.last)}</li>"
        )
        for look, line in enumerate(drawn)
    )
    return Html(f'<ul class="legend">{keys}</ul>')


def _end_labels(drawn: Sequence[Series], y: Axis) -> Html:
    """The name of each line where it ends, moved apart where they would overlap."""
    if len(drawn) == 1:
        return Html("")  # the title and the legend say it
    wanted = []
    for look, line in enumerate(drawn):
        end = line.runs[-1][-1]
        wanted.append((float(_y(y, end.value)), look, line.name))
    wanted.sort()
    tops: list[float] = []
    for top, *_ in wanted:
        tops.append(max(top, tops[-1] + _LABEL) if tops else max(top, 0.0))
    for index in reversed(range(len(tops))):  # and back up from the bottom
        limit = HEIGHT - _LABEL * (len(tops) - 1 - index)
        tops[index] = min(tops[index], limit)
    return join(
        Html(
            f'<span class="end {_look(look)}" style="top:{top:.1f}px">'
            f"<bdi>{escape(name)}</bdi></span>"
        )
        for top, (_, look, name) in zip(tops, wanted, strict=True)
    )


def _stage_names(laid: Sequence[Stage], x: Axis) -> Html:
    """What each part of the plot belongs to, above it, where a run has several stages."""
    if len(laid) < 2:
        return Html("")
    starts = [x.low] + [stage.first for stage in laid[1:]] + [x.high]
    names = []
    for index, stage in enumerate(laid):
        left, right = (min(1.0, max(0.0, x.place(at))) for at in starts[index : index + 2])
        if left < right:
            names.append(
                Html(
                    f'<span class="stage" title="{escape(stage.name)}" '
                    f'style="left:{100 * left:.2f}%;width:{100 * (right - left):.2f}%">'
                    f"<bdi>{escape(stage.name)}</bdi></span>"
                )
            )
    return join(names)


def _note(drawn: Sequence[Series], missing: Sequence[str]) -> str:
    """What the drawing does not show by itself."""
    sentences = []
    if thinned := [line for line in drawn if line.bucket > 1]:
        who = f" ({', '.join(line.name for line in thinned)})" if len(drawn) > 1 else ""
        sentences.append(
            f"Means of every {thinned[0].bucket:,} steps{who}, "
            "with a band from the lowest to the highest value."
        )
    for line in drawn:
        if line.lost:
            values = "values were" if line.lost > 1 else "value was"
            sentences.append(f"{line.name}: {line.lost:,} {values} not a finite number (gaps).")
    if missing:
        sentences.append(f"No finite value of {', '.join(missing)} was measured.")
    return " ".join(sentences)
