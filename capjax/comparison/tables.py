"""Which evaluations can be compared, what is each called, and which is best in what?"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from capjax.comparison.labels import labelled, span
from capjax.comparison.measures import Measure, in_order, natural
from capjax.comparison.rows import HELD_OUT, Conditions, Row
from capjax.comparison.seeds import over_seeds


class Table(NamedTuple):
    """Evaluations under the same conditions, side by side."""

    conditions: Conditions
    rows: list[Row]
    labels: list[str]  # a row each; no two tables of a protocol have one in common
    columns: list[Measure]  # what at least one row has
    best: set[tuple[int, str]]  # (row, measure) of the best values
    lacks: list[str]  # why a value is missing, and what no row has, in sentences
    kind: str = ""  # "seeds": with means of seeds; "differences" from what it is about
    about: str = ""

    @property
    def prefix(self) -> str:
        """What stands before the name of every measure, so that nothing passes for another."""
        less = "\u0394 " if self.kind == "differences" else ""
        return f"{less}{f'{HELD_OUT} ' if self.conditions.protocol == HELD_OUT else ''}"

    def heading(self, column: Measure) -> str:
        """The heading of a column: the name, of what protocol, and an arrow where less is more."""
        arrow = " \u2193" if column.better < 0 else ""
        return f"{self.prefix}{column.name}{arrow}"

    @property
    def title(self) -> str:
        """What the table is about: dataset, split, references, and the protocol where it is n-1."""
        conditions = self.conditions
        data = f"{conditions.dataset or 'dataset not told'} {conditions.split or ''}".rstrip()
        kinds = {"seeds": "Over seeds: ", "differences": f"Differences from {self.about}: "}
        data = kinds.get(self.kind, "") + data
        if conditions.protocol == HELD_OUT:
            return f"{data}, n-1 protocol: {conditions.references or 'references not told'}"
        return f"{data}, references: {conditions.references or 'not told'}"

    @property
    def settings(self) -> str:
        """The rest of what its scores depend on, in words."""
        conditions = self.conditions
        digests = f"; digests: {conditions.data}" if conditions.data else ""
        return (
            f"{conditions.n_images or 'number of'} images"
            f"{'' if conditions.n_images else ' not told'}; "
            f"document frequencies: {conditions.df or 'not told'}; "
            f"tokenizer: {conditions.tokenizer or 'not told'}{digests}"
        )


class Curve(NamedTuple):
    """Rows of a table that differ in one number only, in its order; or one row."""

    name: str
    setting: str  # the number's name; "" of one row
    rows: list[int]


def compare(rows: Sequence[Row]) -> list[Table]:
    """Puts evaluations that can be compared into one table each.

    Rows are comparable when all of their conditions are told and equal. Captions of a file tell no
    images: they stand with all that was scored on their references, unless that was said of images
    of several kinds. People's captions, which every file of a split scores again, are one row.
    Tables stand in the order of their first row, those of the n-1 protocol last. One with runs that
    differ by their seeds alone is followed by one in which their means stand for them.
    """
    kept = _people_once(rows)
    names = {
        id(row): name
        for protocol in dict.fromkeys(row.conditions.protocol for row in kept)
        for row, name in labelled([row for row in kept if row.conditions.protocol == protocol])
    }
    seen: dict[Any, set[str]] = {}
    for row in kept:
        images = seen.setdefault(row.conditions.but_images(), set())
        images |= {row.conditions.images} if row.conditions.images else set()
    groups: dict[Any, list[Row]] = {}
    for row in kept:
        alone = id(row) if row.conditions.lacks() else None
        conditions = row.conditions.but_images()
        if len(seen[conditions]) > 1:
            conditions = conditions._replace(images=row.conditions.images)
        groups.setdefault((conditions, alone), []).append(row)
    order = sorted(groups.values(), key=lambda group: group[0].conditions.protocol == HELD_OUT)
    tables = []
    for group in order:
        tables.append(tabulate(group, names))
        averaged = over_seeds(group)
        if len(averaged) < len(group):
            labels = {id(row): name for row, name in labelled(averaged)}
            tables.append(tabulate(averaged, labels, kind="seeds"))
    return tables


def curves(table: Table) -> list[Curve]:
    """The rows of a table, joined where they differ in one number of their decoding only."""
    free = list(range(len(table.rows)))
    lines: list[Curve] = []
    settings = dict.fromkeys(
        name for row in table.rows for name, value in row.decoding.items() if _is_number(value)
    )
    # Temperature first: where a model was sampled at several and something else differs, too.
    for setting in sorted(settings, key=lambda name: name != "temperature"):
        families: dict[str, list[int]] = {}
        for index in free:
            row = table.rows[index]
            if not row.people and _is_number(row.decoding.get(setting)):
                rest = {name: row.decoding[name] for name in sorted(row.decoding.keys())}
                rest[setting] = None
                families.setdefault(
                    repr((row.run, row.step, row.seed, row.n_samples, rest)), []
                ).append(index)
        for members in families.values():
            values = [table.rows[index].decoding[setting] for index in members]
            if len(set(values)) == len(values) > 1:
                ordered = [index for _, index in sorted(zip(values, members, strict=True))]
                joined = [table.rows[index] for index in ordered]
                name = span(joined, table.labels[ordered[0]], setting)
                lines.append(Curve(name, setting, ordered))
                free = [index for index in free if index not in members]
    lines += [Curve(table.labels[index], "", [index]) for index in free]
    return sorted(lines, key=lambda curve: min(curve.rows))


def _people_once(rows: Sequence[Row]) -> list[Row]:
    kept: list[Row] = []
    for row in rows:
        twin = next(
            (n for n, other in enumerate(kept) if row.people and _same_people(row, other)), None
        )
        if twin is None:
            kept.append(row)
        else:  # one file may have measured what another has not
            kept[twin] = kept[twin]._replace(scores=row.scores | kept[twin].scores)
    return kept


def _same_people(one: Row, other: Row) -> bool:
    return (
        other.people
        and not one.conditions.lacks()
        and one.conditions.alike(other.conditions)
        and one.n_samples == other.n_samples
        and all(
            abs(one.scores[name] - other.scores[name]) <= 1e-9 * abs(other.scores[name])
            for name in one.scores.keys() & other.scores.keys()
        )
    )


def tabulate(
    comparable: Sequence[Row],
    names: Mapping[int, str],
    *,
    kind: str = "",
    about: str = "",
    best: Callable[[list[Row], list[Measure]], set[tuple[int, str]]] | None = None,
) -> Table:
    """Puts comparable rows in order, those of a run together and people last.

    Arguments: names, {id of a row: its label}; kind and about, as of Table; best, what finds the
    values to mark, the best of a column by default.
    """
    runs = list(dict.fromkeys(row.run for row in comparable))

    def place(row: Row) -> tuple:
        return row.people, runs.index(row.run), natural(names[id(row)])

    rows = sorted(comparable, key=place)
    labels = [names[id(row)] for row in rows]
    columns = in_order({name for row in rows for name in row.scores})
    marked, lacks = (best or _best)(rows, columns), _lacks(rows, labels, columns)
    # A run's dataset has a name, and captions of a file only that of the references' file.
    by_lack = sorted(
        (row.conditions for row in rows), key=lambda one: (one.dataset is None, one.images is None)
    )
    conditions = next((c for c in by_lack if c.images), by_lack[0])
    conditions = conditions._replace(dataset=conditions.dataset or by_lack[0].dataset)
    return Table(conditions, rows, labels, columns, marked, lacks, kind, about)


def _best(rows: list[Row], columns: list[Measure]) -> set[tuple[int, str]]:
    """The best model's values. Where a measure depends on the number of captions an image, on the
    distractors, on a judge or on what a digest tells, only rows with the same compete. Where all
    are equal none is best."""
    best: set[tuple[int, str]] = set()
    for column in columns:
        classes: dict[Any, dict[int, float]] = {}
        for index, row in enumerate(rows):
            if column.name in row.scores and not row.people:
                classes.setdefault(row.apart(column), {})[index] = row.scores[column.name]
        for values in classes.values():
            if column.better and len(set(values.values())) > 1:
                top = max(column.better * value for value in values.values())
                best |= {(i, column.name) for i, v in values.items() if column.better * v == top}
    return best


def why_missing(row: Row, column: Measure) -> str:
    """Why a row has no value of a measure."""
    for name, why in row.reasons.items():
        if column.name == name or column.name.startswith(f"{name}_"):
            return why
    return f"not in the file{f'; {column.mend}' if column.mend else ''}"


def _lacks(rows: list[Row], labels: list[str], columns: list[Measure]) -> list[str]:
    shown = {column.name for column in columns}
    unheard = in_order({name for row in rows for name in row.reasons} - shown)
    unheard = [m for m in unheard if not any(name.startswith(f"{m.name}_") for name in shown)]
    missing: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for column in [*(column for column in columns if not column.detail), *unheard]:
        because: dict[str, list[int]] = {}
        for index, row in enumerate(rows):
            if column.name not in row.scores:
                because.setdefault(why_missing(row, column), []).append(index)
        for why, members in because.items():
            missing.setdefault((why, tuple(members)), []).append(column.name)
    sentences = []
    for (why, of), names in missing.items():
        where = "; ".join(labels[index] for index in of)
        if len(of) == len(rows):
            where = "in no row" if len(rows) > 1 else labels[0]
        sentences.append(f"{', '.join(names)}: {why} ({where})")
    return sentences


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
