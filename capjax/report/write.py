"""A run's report: its numbers, its curves and what its model says, in one file."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capjax.report.charts import chart_groups, curves
from capjax.report.gallery import Example, gallery
from capjax.report.markup import Html
from capjax.report.page import page, section
from capjax.report.tables import facts, score_table


def write_report(
    path: str | Path,
    *,
    title: str,
    configuration: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Mapping[str, Any]],
    examples: Sequence[Example],
    first: Sequence[Html] = (),
    beside: Sequence[str] = (),
    more: Sequence[Html] = (),
    groups: Sequence[tuple[str, Sequence[str]]] | None = None,
    footer: str = "",
) -> Path:
    """Writes the report of a run as one file that needs nothing else, and returns its path.

    Arguments: path, of the file; configuration, shown as it is, folded up; metrics, the rows of
    metrics.jsonl; scores, a column of the table each: {"val": {"bleu_1": ..., "unavailable":
    {name: reason}}}; beside, more on the scores, such as other tables; examples, images with
    captions; first, sections that the report opens with; more, sections after the captions; groups,
    (title, names) of the charts, else those of `chart_groups`; footer, the version and date, say.
    """
    if groups is None:
        groups = chart_groups(metrics)
    parts = [
        *first,
        section("Curves", curves(metrics, groups)),
        section("Captions", gallery(examples)),
        *more,
        section("All scores", score_table(scores), *beside),
        section("Configuration", facts(configuration), folded=True),
    ]
    return write_page(path, page(title, parts, footer=footer))


def write_page(path: str | Path, text: str) -> Path:
    """Writes a page in one step: whoever reads the path finds the old file or all of the new."""
    path = Path(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        # A name may hold bytes that are no text.
        draft.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return path
