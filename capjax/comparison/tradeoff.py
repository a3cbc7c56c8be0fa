"""Which measures are plotted against which, and which evaluations are points of the plot?"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from capjax.comparison.measures import (
    DISTINCTIVENESS,
    DIVERSITY,
    QUALITY,
    Measure,
    in_order,
    measure,
)
from capjax.comparison.rows import HELD_OUT, Apart, Row
from capjax.comparison.tables import Table, curves
from capjax.errors import InputError
from capjax.report.scatter import Curve, Point, Scatter


class Plot(NamedTuple):
    """One kind of plot, of every table that has points for it."""

    stem: str  # the name of its file
    panels: list[tuple[Table, Scatter]]
    missing: list[str]  # why there is none, in sentences


def choose(tables: Sequence[Table], wanted: Mapping[str, str | None]) -> dict[str, Measure]:
    """The measures to plot, {"quality": ..., "diversity": ..., "distinctiveness": ...}.

    Arguments: wanted, the same with names, or None: then quality is cider_d, diversity self_cider
    where a row has it, else distinct_words, and distinctiveness the listener_accuracy that most
    rows have, where two of them can be compared, else the retrieval_r1 that most rows have, else
    r10, else identifies.

    Raises InputError for a name that no row has.
    """
    rows = [row for table in tables if not table.kind for row in table.rows]
    available = {name for row in rows for name in row.scores}
    for kind, name in wanted.items():
        if name is not None and name not in available:
            has = ", ".join(one.name for one in in_order(available))
            raise InputError(f"no evaluation has --{kind}={name}; they have {has}")

    def most(part: str) -> list[str]:
        """The measures with this in their names, those of most rows first."""
        names = [one.name for one in in_order(available) if part in one.name]
        return sorted(names, key=lambda name: -sum(name in row.scores for row in rows))

    def shared(name: str) -> bool:
        """Whether two rows have it by the same judge, of the same distractors: a plot's points."""
        conditions = [
            (row.conditions.but_images(), row.apart(measure(name)))
            for row in rows
            if name in row.scores
        ]
        return len(set(conditions)) < len(conditions)

    picked = [name for name in most("listener_accuracy@") if shared(name)]
    picked = [name for name in picked if not name.startswith("own_")]
    retrieval = most("retrieval_r1@") + most("retrieval_r10@")
    identifies = [name for name in ("identifies",) if name in available]
    by_default = {
        QUALITY: "cider_d",
        DIVERSITY: "self_cider" if "self_cider" in available else "distinct_words",
        DISTINCTIVENESS: [*picked, *retrieval, *identifies, "self_retrieval_r1@1000"][0],
    }
    return {kind: measure(wanted.get(kind) or name) for kind, name in by_default.items()}


def plots(tables: Sequence[Table], chosen: Mapping[str, Measure]) -> list[Plot]:
    """Quality against diversity and against distinctiveness.

    Only comparable evaluations share a plot. Where a measure depends on the number of captions an
    image, evaluations with other numbers of them have a plot of their own; where it depends on the
    distractors or on a judge, those with others have. A plot of one point alone compares nothing
    and is left out. Every seed is a point.
    """
    kinds = (DIVERSITY, DISTINCTIVENESS)
    tables = [table for table in tables if not table.kind]
    return [_plot(tables, chosen[QUALITY], chosen[kind], kind) for kind in kinds]


def _plot(tables: Sequence[Table], y: Measure, x: Measure, kind: str) -> Plot:
    panels: list[tuple[Table, Scatter]] = []
    missing: list[str] = []
    for table in tables:
        about = f"{table.title} ({table.settings})"
        both = [n for n, r in enumerate(table.rows) if x.name in r.scores and y.name in r.scores]
        classes: dict[Apart, list[int]] = {}
        for index in both:
            classes.setdefault(table.rows[index].apart(x, y), []).append(index)
        for (number, distractors, judges, others), members in classes.items():
            title = f"{y.group} against {x.group}".capitalize()
            if len({apart.captions for apart in classes}) > 1:
                captions = "one caption" if number == 1 else f"{number or 'number of'} captions"
                title += f", {captions} an image{'' if number else ' not told'}"
            if distractors:
                title += f", distractors: {distractors}"
            if judges and len({apart.judges for apart in classes}) > 1:
                who = [table.rows[members[0]].judge(one).words for one in (y, x) if one.judge]
                title += f", by {' and '.join(who)}"
            if others and len({apart.others for apart in classes}) > 1:
                title += f", of {' and '.join(other[:8] or 'not told' for other in others)}"
            if len(members) > 1:
                panels.append((table, _scatter(table, members, x, y, title)))
            else:
                alone = f"{table.labels[members[0]]} would be alone in it"
                missing.append(f"No plot of {y.name} against {x.name} for {about}: {alone}.")
        if not both and table.conditions.protocol != HELD_OUT:
            lacking = [m for m in (y, x) if not any(m.name in row.scores for row in table.rows)]
            mends = "; ".join(f"{m.name}: {m.mend}" for m in lacking if m.mend)
            missing.append(
                f"No plot of {y.name} against {x.name} for {about}: no row has both"
                + (f" ({mends})." if mends else ".")
            )
    if not panels and not missing:  # n-1 tables only
        missing = [f"No plot of {y.name} against {x.name}: no row has both."]
    return Plot(f"quality-{kind}", panels, missing)


def _scatter(table: Table, members: list[int], x: Measure, y: Measure, title: str) -> Scatter:
    drawn: list[Curve] = []
    settings = set()
    # Lines first: the first look is the plainest, and a point needs less of one.
    every = sorted(curves(table), key=lambda curve: len(curve.rows) == 1)
    for look, curve in enumerate(every):
        shown = [index for index in curve.rows if index in members]
        points = []
        for index in shown:
            row = table.rows[index]
            label = f"{row.decoding[curve.setting]:g}" if curve.setting else ""
            points.append(Point(row.scores[x.name], row.scores[y.name], label, table.labels[index]))
        if points:
            settings |= {curve.setting} - {""}
            drawn.append(Curve(curve.name, look, tuple(points)))
    notes = [f"Numbers beside points: {', '.join(sorted(settings))}."] if settings else []
    for one in (x, y):
        if one.name.startswith("self_retrieval") and len({row.run for row in table.rows}) > 1:
            notes.append(
                f"{one.name}: every captioner finds its images by its own probabilities;"
                " there is no common judge."
            )
    notes += _of_distractors([table.rows[index] for index in members], x, len(drawn))
    lacking = [
        table.labels[index]
        for index, row in enumerate(table.rows)
        if x.name not in row.scores or y.name not in row.scores
    ]
    if lacking:
        notes.append(f"Not drawn, as they lack one of the two measures: {'; '.join(lacking)}.")
    titles = [
        f"{table.prefix}{one.name}{f' ({one.reading})' if one.reading else ''}" for one in (x, y)
    ]
    return Scatter(
        title,
        titles[0],
        titles[1],
        tuple(drawn),
        " ".join(notes) or "Each point is a row of the tables.",
    )


def _of_distractors(rows: Sequence[Row], x: Measure, lines: int) -> list[str]:
    """What people's captions reach, and whether all are told from the same pairs, in sentences."""
    if not x.of_distractors:
        return []
    notes = []
    people = x.name.replace("accuracy@", "people_accuracy@")
    reached = [row.scores[people] for row in rows if people in row.scores]
    if reached:
        low, high = (f"{value:.3f}" for value in (min(reached), max(reached)))
        notes.append(f"{people}: {low if low == high else f'{low} to {high}'}.")
    kind = rows[0].distractors.partition(" ")[0]
    if kind == "hard" and lines > 1:
        notes.append(
            "Hard distractors are chosen by what each captioner says without them: those of one"
            " curve are not those of another."
        )
    untold = any("distractors" not in row.digests for row in rows)
    if kind == "nearest" and untold and len({row.run for row in rows}) > 1:
        notes.append(
            "The nearest images are so by the features that each run sees: runs with other encoders"
            " have other distractors."
        )
    return notes
