"""Is one run better than another? Paired differences over the images, with standard errors."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from capjax.comparison.measures import OF_DIGEST, Measure, measure
from capjax.comparison.rows import ORDINARY, Row
from capjax.comparison.tables import Table, tabulate
from capjax.data.image_ids import plain
from capjax.errors import InputError
from capjax.files.places import resolved
from capjax.files.whole import read_json

CLEAR = 2  # standard errors from 0 at which a difference is marked


def differences(tables: Sequence[Table], baseline: str) -> list[Table]:
    """The tables, each that has the baseline in it followed by one of the differences from it.

    Rows are compared image by image, so what makes an image easy or hard for both cancels. Only
    measures that are means over the images have such differences: CIDEr-D and R@k, not BLEU.

    Args:
      baseline: the folder of a run, a file of its scores, or its name. Of several evaluations of
        it each row is compared with that by the same decoding.
    Raises:
      InputError: no table has it, or captions that its scores are of cannot be read.
    """
    result: list[Table] = []
    named = False
    for table in tables:
        result.append(table)
        if table.kind or table.conditions.protocol != ORDINARY:
            continue
        bases = [n for n, row in enumerate(table.rows) if _is(row, baseline)]
        named = named or bool(bases)
        others = [n for n, row in enumerate(table.rows) if n not in bases and not row.people]
        if bases and others:
            result.append(_differences(table, bases, others))
    if not named:
        runs = dict.fromkeys(row.run for table in tables for row in table.rows if not row.over)
        raise InputError(f"--against={baseline} is none of the runs compared: {', '.join(runs)}")
    return result


def _is(row: Row, baseline: str) -> bool:
    source = resolved(row.source)
    return resolved(baseline) in (source, source.parent) or row.run == baseline


def _differences(table: Table, bases: list[int], others: list[int]) -> Table:
    about = table.rows[bases[0]].run
    rows, names = [], {}
    for index in others:
        row, label = table.rows[index], table.labels[index]
        alike = [n for n in bases if table.rows[n].decoding == row.decoding] or bases
        base = table.rows[alike[0]]
        if len(alike) > 1:
            several = "; ".join(table.labels[n] for n in alike)
            reasons = dict.fromkeys(row.scores, f"it could be from {several}: name one file")
            rows.append(row._replace(scores={}, reasons=reasons))
        else:
            rows.append(_less(row, base))
        plain = len(alike) > 1 or base.decoding == row.decoding
        names[id(rows[-1])] = label if plain else f"{label}, less {table.labels[alike[0]]}"
    result = tabulate(rows, names, kind="differences", about=about, best=_clear)
    return result._replace(conditions=table.conditions)


def _clear(rows: Sequence[Row], columns: Sequence[Measure]) -> set[tuple[int, str]]:
    return {
        (index, column.name)
        for index, row in enumerate(rows)
        for column in columns
        if abs(row.scores.get(column.name, 0)) > CLEAR * row.spread.get(column.name, 0)
    }


def _less(row: Row, base: Row) -> Row:
    """A row with differences from another in the place of its scores, or why there is none."""
    scores, spread, reasons = {}, {}, {}
    mine, theirs = _images(row.source), _images(base.source)
    for name in row.scores:
        if name not in base.scores:
            reasons[name] = f"{base.run} has no value"
        elif measure(name).of_own_judge:
            reasons[name] = "each run has its own judge of it"
        elif row.apart(measure(name)) != base.apart(measure(name)):
            what = OF_DIGEST.get(measure(name).depends) or "distractors"
            reasons[name] = f"of {base.run} it is by another judge or of other {what}"
        elif mine is None or theirs is None:
            reasons[name] = f"there is no {_captions((row if mine is None else base).source)}"
        elif mine.keys() != theirs.keys():
            reasons[name] = f"{base.run} was scored on other images"
        elif not ((a := _values(name, mine, row)) and (b := _values(name, theirs, base))):
            reasons[name] = "it is no mean over the images"
        else:
            apart = [a[image] - b[image] for image in a]
            scores[name] = fmean(apart)
            spread[name] = stdev(apart) / math.sqrt(len(apart)) if len(apart) > 1 else math.inf
    return row._replace(scores=scores, spread=spread, reasons=reasons)


def _values(name: str, images: Mapping[str, Mapping[str, Any]], row: Row) -> dict[str, float]:
    """Each image's part of a measure that is their mean; empty where it is no such mean."""
    ranked = re.fullmatch(r"(\w*retrieval)_(?:r(\d+)|mean_rank)(@.*)", name)
    key = f"{ranked[1]}_rank{ranked[3]}" if ranked else name
    values: dict[str, Any] = {image: scores.get(key) for image, scores in images.items()}
    if not values or not all(isinstance(value, int | float) for value in values.values()):
        return {}
    if ranked and ranked[2]:
        values = {image: rank <= int(ranked[2]) for image, rank in values.items()}
    return values if math.isclose(fmean(values.values()), row.scores[name], abs_tol=1e-6) else {}


def _images(scores: Path) -> dict[str, dict[str, Any]] | None:
    """What evaluate wrote of each image beside its scores; None where the file is gone."""
    path = _captions(scores)
    if not path.is_file():
        return None
    rows = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(r, dict) and "id" in r for r in rows):
        raise InputError(f"{path} holds no captions of images; evaluate again")
    names = plain([str(row["id"]) for row in rows])
    return dict(zip(names, rows, strict=True))


def _captions(scores: Path) -> Path:
    return scores.with_name(scores.name.replace("scores", "captions", 1))
