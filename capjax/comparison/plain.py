"""What are the numbers, as plain text? Tables of a comparison for a terminal, Markdown and CSV."""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence

from capjax.comparison.differences import CLEAR
from capjax.comparison.measures import GROUPS, JUDGES, OF_DIGEST, Measure
from capjax.comparison.tables import Table, why_missing

FIELDS = (
    "protocol", "dataset", "split", "n_images", "references", "df", "tokenizer",
    "references_digest", "images_digest", "label", "run", "people", "decoding", "step", "n_samples",
    "group", "measure", "better", "value", "spread", "best", "reason", "file",
)  # fmt: skip


def number(table: Table, row: int, column: Measure) -> str | None:
    """A value as tables show it, None where there is none: whole, or with three digits or so.

    Means over seeds and differences stand before their standard deviation or error.
    """
    value = table.rows[row].scores.get(column.name)
    if value is None:
        return None
    others = [r.scores[column.name] for r in table.rows if column.name in r.scores]
    largest = max(map(abs, others))
    digits = 1 if largest >= 100 else 2 if largest >= 10 else 3
    if all(isinstance(other, int) for other in others):
        digits = 0
    shown = f"{value:+,.{digits}f}" if table.kind == "differences" else f"{value:,.{digits}f}"
    apart = table.rows[row].spread.get(column.name)
    return shown if apart is None else f"{shown} \u00b1 {apart:,.{digits}f}"


def marks_note(table: Table, mark: str) -> str:
    """What marks in a table mean and which columns it has not, in sentences; or ""."""
    judges = _judges(table)
    sentences = []
    if table.best and table.kind == "differences":
        sentences.append(f"{mark} more than {CLEAR} standard errors from 0.")
    elif table.best:
        sentences.append(_best_note(table, mark, judges))
    if any(column.better < 0 for column in table.columns):
        sentences.append("\u2193 lower is better.")
    for kind, judged in judges.items():
        who = [f"{words} (of {'; '.join(of)})" for words, of in judged]
        sentences.append(f"{kind} is {', or '.join(who) if len(judged) > 1 else judged[0][0]}.")
    if table.kind == "differences":
        sentences.append("\u00b1 the standard error of the mean difference, image by image.")
    means = {row.run: ", ".join(one.run for one in row.over) for row in table.rows if row.over}
    if means:
        of = "; ".join(f"{name} is the mean of {runs}" for name, runs in means.items())
        sentences.append(f"\u00b1 the standard deviation over seeds (n - 1); {of}.")
    if details := [table.prefix + column.name for column in table.columns if column.detail]:
        sentences.append(f"In table.csv only: {', '.join(details)}.")
    return " ".join(sentences)


def _best_note(table: Table, mark: str, judges: Mapping[str, Sequence]) -> str:
    models = " of a model" if any(row.people for row in table.rows) else ""
    several = len({row.n_samples for row in table.rows if not row.people}) > 1
    among = []
    if several and any(column.of_samples for column in table.columns):
        among.append("of several captions an image: among rows with equally many")
    picked = [column.name for column in table.columns if column.of_distractors]
    distractors = {row.distractors for row in table.rows if any(n in row.scores for n in picked)}
    if len(distractors) > 1:
        among.append("told from distractors: among rows with the same")
    if any(len(judged) > 1 for judged in judges.values()):
        among.append("by a judge: among rows with the same")
    for column in table.columns:
        rows = [row for row in table.rows if column.name in row.scores and not row.people]
        if column.depends and len({row.apart(column).others for row in rows}) > 1:
            among.append(f"{column.name}: among rows with the same {OF_DIGEST[column.depends]}")
    only = f" ({'; '.join(among)})" if among else ""
    return f"{mark} the best value{models} in its column{only}."


def _judges(table: Table) -> dict[str, list[tuple[str, list[str]]]]:
    """{"listener": [(who judged, labels of the rows), ...]}, and "e_ngan", where they judged."""
    judges = {}
    for kind in JUDGES:
        judged: dict[str, tuple[str, list[str]]] = {}
        columns = [column for column in table.columns if column.judge == kind]
        for row, label in zip(table.rows, table.labels, strict=True):
            if theirs := [column for column in columns if column.name in row.scores]:
                judge = row.judge(theirs[0])
                judged.setdefault(judge.parameters, (judge.words, []))[1].append(label)
        if judged:
            judges[kind] = list(judged.values())
    return judges


def groups(table: Table) -> list[tuple[str, list[Measure]]]:
    """The columns by what they tell, each with the name of that, without details."""
    return [
        (group, columns)
        for group in GROUPS
        if (columns := [c for c in table.columns if c.group == group and not c.detail])
    ]


def terminal(tables: Sequence[Table], width: int = 100) -> str:
    """The tables for a terminal of so many columns; names of measures run over several lines."""
    return "\n\n".join(_terminal(table, width) for table in tables)


def _terminal(table: Table, width: int) -> str:
    lines = [table.title, f"  {table.settings}"]
    labels = _shortened(table.labels, max(width // 2, 40))
    room = max(map(len, labels)) + 4
    for group, columns in groups(table):
        blocks: list[list[tuple[list[str], list[str], int]]] = [[]]
        used = room
        for column in columns:
            head = _broken(table.heading(column))
            cells = [_marked(table, row, column) for row in range(len(table.rows))]
            wide = max(map(len, [*head, *cells])) + 2
            if used + wide > width and blocks[-1]:
                blocks.append([])
                used = room
            blocks[-1].append((head, cells, wide))
            used += wide
        for block in blocks:
            high = max(len(head) for head, _, _ in block)
            lines.append("")
            for level in range(high):
                name = f"  {group}" if level == high - 1 else ""
                tops = [[""] * (high - len(head)) + head for head, _, _ in block]
                lines.append(_line(name, room, [top[level] for top in tops], block))
            for row, label in enumerate(labels):
                shown = [cells[row] for _, cells, _ in block]
                lines.append(_line(f"  {label}", room, shown, block))
    lines += ["", *(f"  - {lack}" for lack in table.lacks)]
    if note := marks_note(table, "*"):
        lines.append(f"  {note}")
    return "\n".join(line.rstrip() for line in lines).rstrip()


def _shortened(labels: list[str], width: int) -> list[str]:
    """Labels that leave room for numbers; whole where they would look alike."""
    short = [
        label if len(label) <= width else f"{label[: width // 2]}\u2026{label[1 - width // 2 :]}"
        for label in labels
    ]
    return short if len(set(short)) == len(short) else labels


def markdown(tables: Sequence[Table], plots: Sequence[tuple[str, str]] = ()) -> str:
    """The tables as Markdown. Arguments: plots, (title, file) of pictures beside it."""
    parts = [f"![{_md(title)}]({file})" for title, file in plots]
    for table in tables:
        parts += [f"## {_md(table.title)}", _md(table.settings)]
        for group, columns in groups(table):
            heads = [group, *(map(table.heading, columns))]
            lines = [_md_row(map(_md, heads)), _md_row(["---", *["---:"] * len(columns)])]
            for row, label in enumerate(table.labels):
                cells = []
                for column in columns:
                    shown = number(table, row, column) or "\u2013"
                    best = (row, column.name) in table.best
                    cells.append(f"**{shown}**" if best else shown)
                lines.append(_md_row([_md(label), *cells]))
            parts.append("\n".join(lines))
        if table.lacks:
            parts.append("\n".join(f"- \u2013 {_md(lack)}" for lack in table.lacks))
        if note := marks_note(table, "**Bold:**"):
            parts.append(note)
    return "\n\n".join(parts) + "\n"


def long_csv(tables: Sequence[Table]) -> str:
    """Every value as a line of CSV, with all that it depends on, and every dash with its reason.

    Columns are FIELDS. A mean over seeds is a line more, with all of its files and its standard
    deviation as `spread`; the runs that it is of have their own lines. So is a difference, with its
    standard error. Values are written so that they are read back the same to the last bit; names of
    n-1 measures and of differences say so.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(FIELDS)
    for table in tables:
        for index, (row, label) in enumerate(zip(table.rows, table.labels, strict=True)):
            of_row: list[object] = ["" if value is None else value for value in row.conditions]
            of_row += [label, row.run, "yes" if row.people else "no"]
            of_row += [json.dumps(row.decoding)]
            of_row += ["" if value is None else value for value in (row.step, row.n_samples)]
            files = "; ".join(str(one.source) for one in row.over or (row,))
            for column in table.columns:
                value = row.scores.get(column.name)
                shown = "" if value is None else repr(value)
                best = "best" if (index, column.name) in table.best else ""
                why = why_missing(row, column) if value is None else ""
                name = table.prefix + column.name
                apart = row.spread.get(column.name)
                of_measure = [column.group, name, column.reading, shown]
                of_measure += ["" if apart is None else repr(apart), best, why, files]
                writer.writerow([*of_row, *of_measure])
    return stream.getvalue()


def _broken(name: str, width: int = 11) -> list[str]:
    """A measure's name over several lines, broken after "_" and before "@"."""
    lines = [""]
    for piece in re.findall(r"@[^_@ ]*|[^_@ ]+[_ ]?|[_ ]", name):
        if lines[-1] and len(lines[-1] + piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def _marked(table: Table, row: int, column: Measure) -> str:
    shown = number(table, row, column)
    mark = "*" if (row, column.name) in table.best else " "
    return f"{shown or '-'}{mark}"


def _line(name: str, room: int, cells: Sequence[str], block: Sequence[tuple]) -> str:
    return name.ljust(room) + "".join(
        (cell if cell.endswith((" ", "*")) else f"{cell} ").rjust(wide)
        for cell, (_, _, wide) in zip(cells, block, strict=True)
    )


def _md(text: str) -> str:
    """Text that Markdown shows as it is."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*{}\[\]#!|~]|\b_|_\b)", r"\\\1", text)


def _md_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
