"""Scores as tables for a terminal."""

from collections.abc import Iterable, Mapping
from typing import Any

from capjax.comparison.measures import in_order
from capjax.comparison.scorefiles import BESIDE
from capjax.metrics.protocol import HELD_OUT, HUMAN


def show(scores: Mapping[str, Any], title: str) -> str:
    """Scores as tables for a terminal, each under what its numbers are of."""
    step = f", step {scores['step']}" if "step" in scores else ""
    samples = f", {scores['n_samples']} captions each" if scores["n_samples"] > 1 else ""
    lines = [f"{title}{step}: {scores['n_images']} images{samples}"]
    lines += _table(f"against {scores['references']} references", {"": scores})
    if HELD_OUT in scores:
        columns = {"model": scores[HELD_OUT], "people": scores[HUMAN]}
        lines += _table(f"n-1 protocol: against {scores[HELD_OUT]['references']}", columns)
    df = scores["df"]
    lines.append(f"  tokenizer {scores['tokenizer']}; df of {df['source']}, {df['n']} images")
    if scores["n_wordless"]:
        lines.append(f"  {scores['n_wordless']} captions have no words")
    lines += [f"  no {name}: {why}" for name, why in scores["unavailable"].items()]
    lines += [f"  {note}" for note in scores.get("notes", ())]
    return "\n".join(lines)


def _table(heading: str, columns: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Measures by group; those that every column has as a number."""
    numbers = [
        {name for name, x in column.items() if type(x) in (int, float)}
        for column in columns.values()
    ]
    known = in_order(set.intersection(*numbers) - BESIDE)
    lines = [f"  {heading}{'':{max(0, 30 - len(heading))}}{_cells(columns)}".rstrip()]
    group = ""
    for found in known:
        if found.group != group:
            group = found.group
            lines.append(f"  {group}")
        values = [column[found.name] for column in columns.values()]
        lines.append(f"    {found.name:28}{_cells(values)}")
    return lines


def _cells(values: Iterable[Any]) -> str:
    return "".join(f"{x:11.4f}" if isinstance(x, float) else f"{x!s:>11}" for x in values)
