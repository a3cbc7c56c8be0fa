"""The same plots for a paper: pictures drawn by matplotlib."""

import io
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any

from capjax.errors import InputError
from capjax.report.axes import axis
from capjax.report.charts import COLOURS, DASHES
from capjax.report.labels import Side
from capjax.report.scatter import Scatter, label_sides, mark

# Those of the page's style sheet.
_INK, _SOFT, _RULE = "#1b1c1e", "#5f646b", "#e3e5e8"
_COLOURS = ("#0066a6", "#b84a00", "#00734f", "#99407e", "#7a5c00", "#53575e")
_LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.8)), (0, (7, 2, 1.5, 2)), (0, (10, 3)))
_MARKERS = "os^D"
_WIDTH, _HEIGHT, _DPI = 6.4, 3.6, 200  # inches of a panel without its words, dots an inch
_SIZE = 8.0  # points, of labels


def png(panels: Sequence[tuple[str, Scatter]]) -> bytes:
    """A picture with a panel a plot, one beneath the other.

    Arguments: panels, (under what conditions, plot), at least one.

    Raises InputError where matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            f"plots as PNG need matplotlib: pip install matplotlib and run it again ({error})"
        ) from error
    assert len(_COLOURS) == COLOURS
    assert len(_LINES) == DASHES
    words = [
        2 + _legend_rows(plot) + len(_wrapped(conditions).split("\n"))
        for conditions, plot in panels
    ]
    heights = [_HEIGHT + 0.17 * lines + 0.35 for lines in words]
    figure = Figure(figsize=(_WIDTH, sum(heights)), dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), squeeze=False, gridspec_kw={"height_ratios": heights})
    drawn = [
        (panel, plot, _panel(panel, plot, conditions))
        for panel, (conditions, plot) in zip(axes[:, 0], panels, strict=True)
    ]
    stream = io.BytesIO()
    with warnings.catch_warnings():
        # A name in letters that the font lacks is drawn with boxes; the page has it in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        warnings.filterwarnings("ignore", message=".*does not support.*", category=UserWarning)
        canvas.draw()  # sizes are known after it
        for panel, plot, places in drawn:
            _label(panel, plot, places)
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _panel(panel: Any, plot: Scatter, conditions: str) -> list[list[tuple[float, float]]]:
    """Draws all but the labels. Returns where points lie, across and down in parts of the plot."""
    points = [point for curve in plot.curves for point in curve.points]
    x, y = axis([point.x for point in points]), axis([point.y for point in points])
    handles = []
    for curve in plot.curves:
        shape, filled = mark(curve)
        colour = _COLOURS[curve.look % COLOURS]
        [line] = panel.plot(
            [point.x for point in curve.points],
            [point.y for point in curve.points],
            color=colour,
            linestyle=_LINES[curve.look % DASHES] if len(curve.points) > 1 else "none",
            linewidth=1.4,
            marker=_MARKERS[shape],
            markersize=5.5,
            markerfacecolor=colour if filled else "white",
            clip_on=False,
            zorder=3,
        )
        handles.append(line)
    panel.set(xlim=(x.low, x.high), ylim=(y.low, y.high))
    panel.set_xticks(x.ticks, x.labels())
    panel.set_yticks(y.ticks, y.labels())
    panel.grid(color=_RULE, linewidth=0.8)
    panel.tick_params(colors=_SOFT, labelsize=_SIZE, length=0)
    panel.spines[:].set_visible(False)
    panel.set_xlabel(f"{plot.x_title} \u2192", color=_INK, fontsize=9, loc="right")
    title = f"{plot.title}\n{_wrapped(conditions)}"
    panel.set_title(title, loc="left", fontsize=9, color=_INK, linespacing=1.4, pad=24)
    panel.text(
        0, 1.03, f"\u2191 {plot.y_title}", transform=panel.transAxes, fontsize=9, color=_INK
    )  # fmt: skip
    legend = panel.legend(
        handles,
        # A name that begins with "_" would be hidden.
        [" " + textwrap.shorten(curve.name, 90, placeholder="\u2026") for curve in plot.curves],
        loc="upper left",
        bbox_to_anchor=(-0.02, -0.16),
        frameon=False,
        fontsize=_SIZE,
        labelcolor=_SOFT,
        handlelength=3,
        borderpad=0,
    )
    for text in [*legend.get_texts(), *panel.texts, panel._left_title, panel.xaxis.label]:
        text.set_parse_math(False)  # a dollar in a name is a dollar
    return [[(x.place(p.x), 1 - y.place(p.y)) for p in curve.points] for curve in plot.curves]


def _label(panel: Any, plot: Scatter, places: list[list[tuple[float, float]]]) -> None:
    box = panel.get_window_extent()
    pixels = _DPI / 72  # a point
    chosen = label_sides(
        plot,
        places,
        [(box.width, box.height)],
        letter=0.62 * _SIZE * pixels,
        line_height=1.1 * _SIZE * pixels,
        gap=5.5 * pixels,
    )
    sides = iter(chosen)
    for curve in plot.curves:
        for point in curve.points:
            if side := next(sides):
                _write(panel, point, side, _COLOURS[curve.look % COLOURS])


def _write(panel: Any, point: Any, side: Side, colour: str) -> None:
    near = 5.5 if 0 in side else 3.3
    text = panel.annotate(
        point.label,
        (point.x, point.y),
        (near * side.across, -near * side.down),
        textcoords="offset points",
        ha={-1: "right", 0: "center", 1: "left"}[side.across],
        va={-1: "bottom", 0: "center", 1: "top"}[side.down],
        fontsize=_SIZE,
        color=colour,
        annotation_clip=False,
    )
    text.set_parse_math(False)
    text.set_in_layout(False)


def _legend_rows(plot: Scatter) -> int:
    return len(plot.curves)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100)
