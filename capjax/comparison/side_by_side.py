"""How do runs compare? The page of a comparison: its plots, its tables, and what is not in them."""

import re
from collections.abc import Sequence

from capjax.comparison.measures import Measure
from capjax.comparison.plain import groups, marks_note, number
from capjax.comparison.tables import Table, why_missing
from capjax.comparison.tradeoff import Plot
from capjax.report.markup import Html, escape, join
from capjax.report.page import page, section
from capjax.report.scatter import scatter
from capjax.report.tables import table as html_table


def comparison_page(
    tables: Sequence[Table], plots: Sequence[Plot], notes: Sequence[str], *, footer: str = ""
) -> Html:
    """A whole page: a section a table, under the conditions of its scores, with its plots.

    Arguments: notes, sentences on what is left out; footer, in words.
    """
    parts = []
    for table in tables:
        drawn = [plot for kind in plots for of, plot in kind.panels if of is table]
        charts = (
            Html(
                f'<div class="charts" style="margin-top:1.25rem">{join(map(scatter, drawn))}</div>'
            )
            if drawn
            else ""
        )
        parts.append(section(table.title, _note(table.settings), charts, _tables(table)))
    left_out = [*notes, *(note for kind in plots for note in kind.missing)]
    if left_out:
        parts.append(section("Left out", *map(_note, left_out)))
    every = [row for table in tables if not table.kind for row in table.rows]
    runs = dict.fromkeys(row.run for row in every if not row.people)
    title = "One run" if len(runs) == 1 else f"{len(runs)} runs side by side"
    return page(title, parts, footer=footer)


def _tables(table: Table) -> Html:
    pieces: list[Html] = []
    for group, columns in groups(table):
        rows = [
            [_kept_together(label), *(_cell(table, row, column) for column in columns)]
            for row, label in enumerate(table.labels)
        ]
        heads = [Html(""), *(_head(table.heading(column)) for column in columns)]
        shown = html_table(heads, rows, group.capitalize())
        pieces.append(Html(f'<div style="margin-top:1.75rem">{shown}</div>'))
    pieces += [_note(f"\u2013 {lack}") for lack in table.lacks]
    if note := marks_note(table, "Bold:"):
        pieces.append(_note(note))
    return join(pieces)


def _kept_together(label: str) -> Html:
    """A label that is broken after commas only, unless what is between them is long."""
    pieces = [
        Html(f'<span style="white-space:nowrap">{escape(piece)}</span>')
        if len(piece) < 32
        else piece
        for piece in re.split("(?<=,) ", label)
    ]
    return join(pieces, " ")


def _cell(table: Table, row: int, column: Measure) -> Html:
    shown = escape(
        (number(table, row, column) or "\u2013").replace("-", "\u2212").replace(" ", "\xa0")
    )
    if column.name not in table.rows[row].scores:
        why = escape(why_missing(table.rows[row], column))
        shown = Html(f'<span class="missing" title="{why}">{shown}</span>')
    elif (row, column.name) in table.best:
        shown = Html(f"<b>{shown}</b>")
    return Html(f'<div class="number">{shown}</div>')


def _head(name: str) -> Html:
    """A measure's name; a long one may be broken after "_" and before "@"."""
    shown = escape(name.replace(" \u2193", "\xa0\u2193"))
    if len(name) > 9:
        shown = Html(re.sub("(?<=_)|(?=@)", "<wbr>", shown))
    return Html(f'<div class="number">{shown}</div>')


def _note(text: str) -> Html:
    return Html(f'<p class="note">{escape(text)}</p>')
