"""What are the numbers? Tables of scores, and lists of settings."""

import json
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from capjax.report.markup import Html, escape, join


class Missing(NamedTuple):
    """A number that there is not, and why."""

    reason: str = ""


def table(
    headers: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "", *, digits: int = 3
) -> Html:
    """A table whose first column names its rows.

    Arguments: headers, one a column; rows, cells that are text, Html, numbers (floats with
    `digits` decimals), None (a dash) or Missing (a dash that tells its reason when pointed at,
    and beneath the table); caption, above it.

    Raises ValueError for a row that is not as long as the headers.
    """
    if any(len(row) != len(headers) for row in rows):
        raise ValueError(f"every row of the table must have {len(headers)} cells")
    number = [
        any(_is_number(row[column]) for row in rows)
        and all(_is_number(row[column]) or _is_missing(row[column]) for row in rows)
        for column in range(len(headers))
    ]
    head = join(
        Html(f'<th scope="col"{_class(right)}>{escape(header)}</th>')
        for header, right in zip(headers, number, strict=True)
    )
    body = join(Html(f"<tr>{_row(row, number, digits)}</tr>") for row in rows)
    title = Html(f"<caption>{escape(caption)}</caption>") if caption else ""
    reasons = dict.fromkeys(
        f"{row[0]}: {cell.reason}"
        for row in rows
        for cell in row
        if isinstance(cell, Missing) and cell.reason
    )
    notes = join(Html(f'<p class="note">\u2013 {escape(reason)}</p>') for reason in reasons)
    return Html(
        f'<div class="wide"><table>{title}<thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>\n{notes}"
    )


def score_table(scores: Mapping[str, Mapping[str, Any]], caption: str = "") -> Html:
    """Scores side by side: {"val": what score_captions returned, "test": ...}, a column each.

    A score that is named under "unavailable" is a dash with that reason.
    """
    if not scores:
        return Html('<p class="nothing">No scores were computed.</p>')
    columns = {
        heading: {
            **{name: value for name, value in result.items() if name != "unavailable"},
            **{name: Missing(str(why)) for name, why in result.get("unavailable", {}).items()},
        }
        for heading, result in scores.items()
    }
    names = dict.fromkeys(name for column in columns.values() for name in column)
    rows = [[name, *(column.get(name) for column in columns.values())] for name in names]
    return table(["score", *columns], rows, caption)


def facts(values: Mapping[str, Any]) -> Html:
    """Names and values, such as a configuration; what is nested is named a.b.c."""
    pairs = join(
        Html(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>")
        for name, value in _flat(values)
    )
    return Html(f'<dl class="facts">{pairs}</dl>')


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            pairs += _flat(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else _json(value)
            pairs.append((f"{prefix}{name}", text))
    return pairs


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(value)


def _row(row: Sequence[Any], number: Sequence[bool], digits: int) -> Html:
    first = Html(f'<th scope="row"{_class(number[0])}>{_cell(row[0], digits)}</th>')
    rest = [
        Html(f"<td{_class(right)}>{_cell(cell, digits)}</td>")
        for cell, right in zip(row[1:], number[1:], strict=True)
    ]
    return join([first, *rest], "")


def _cell(cell: Any, digits: int) -> Html:
    if _is_missing(cell):
        reason = cell.reason if isinstance(cell, Missing) else ""
        return Html(
            f'<span class="missing" title="{escape(reason or "not measured")}">\u2013</span>'
        )
    if _is_number(cell):
        if isinstance(cell, numbers.Integral):
            return Html(f"{int(cell):,}".replace("-", "\u2212"))
        value = float(cell)
        if not math.isfinite(value):
            return escape(value)
        return Html((f"{value:,.{digits}f}").replace("-", "\u2212"))
    return Html(f"<bdi>{escape(cell)}</bdi>")


def _class(right: bool) -> str:
    return ' class="number"' if right else ""


def _is_number(cell: Any) -> bool:
    return isinstance(cell, numbers.Real) and not isinstance(cell, bool)


def _is_missing(cell: Any) -> bool:
    return cell is None or isinstance(cell, Missing)
