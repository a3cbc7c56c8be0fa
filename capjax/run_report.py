"""What does a run show of itself? Its scores, curves and captions, put into its report."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from capjax.comparison.measures import in_order
from capjax.comparison.scorefiles import BESIDE
from capjax.data.split import Split
from capjax.evaluation import Evaluation
from capjax.metrics.protocol import HELD_OUT, HUMAN
from capjax.report import Example, Html, facts, score_table, write_report
from capjax.speaking import spell


def write_run_report(
    path: Path,
    config: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    found: Mapping[str, Evaluation],
    split: Split,
) -> None:
    """Writes a run's report.

    Args:
      rows: of metrics.jsonl.
      found: the evaluation of each split, "val" among them.
      split: the validation split, whose images are shown.
    """
    scores = {name: evaluation.scores for name, evaluation in found.items()}
    device = jax.devices()[0].device_kind
    write_report(
        path,
        title=f"{config['recipe']} on {config['data']['name']}",
        configuration=config,
        metrics=rows,
        scores={name: measures(mine) for name, mine in scores.items()},
        beside=beside_scores(scores),
        examples=examples(split, found["val"], config["report_images"]),
        groups=chart_groups(rows),
        footer=f"capjax {version('capjax')}, jax {version('jax')}, {device}",
    )


def examples(split: Split, found: Evaluation, number: int) -> list[Example]:
    """Images for the report, evenly out of a split, with the model's captions and people's."""
    chosen = np.linspace(0, len(found.rows) - 1, min(number, len(found.rows))).astype(int)
    shown = []
    for i in chosen:
        row = found.rows[i]
        said = row.get("captions") or [row["caption"]]
        # Of several captions, each has marks of its own: the share or the mean is told.
        notes = {
            name: row[name] if len(said) == 1 else float(np.mean(row[name]))
            for name in ("cider_d", "true", "identifies")
            if name in row
        }
        captions = [("model", said), ("people", row["references"])]
        shown.append(Example(row["id"], split.image(int(i)), captions, notes))
    return shown


def measures(scores: Mapping[str, Any]) -> dict[str, Any]:
    """What a column of a table shows: numbers that were measured, by group, and what was not."""
    names = {name for name, x in scores.items() if type(x) in (int, float)} - BESIDE
    shown = {found.name: scores[found.name] for found in in_order(names)}
    return shown | {"unavailable": scores["unavailable"]}


def beside_scores(found: Mapping[str, Mapping[str, Any]]) -> list[Html]:
    """The n-1 protocol's table, where it was followed, and what all the numbers are of."""
    parts = []
    held: dict[str, dict[str, Any]] = {}
    for split, scores in found.items():
        if HELD_OUT in scores:
            protocol = f"n-1 protocol, against {scores[HELD_OUT]['references']}"
            held |= {split: measures(scores[HELD_OUT]), f"{split}, people": measures(scores[HUMAN])}
    if held:
        renamed = {
            column: {f"n-1 {k}": v for k, v in shown.items() if k != "unavailable"}
            for column, shown in held.items()
        }
        shown = score_table(renamed, protocol)
        parts.append(Html(f'<div style="margin-top:1.75rem">{shown}</div>'))
    about = {
        split: {
            "step": scores["step"],
            "decoding": spell(scores["decoding"]),
            "images": scores["n_images"],
            "references": scores["references"],
            "document frequencies": f"{scores['df']['source']}, {scores['df']['n']} images",
            "tokenizer": scores["tokenizer"],
        }
        for split, scores in found.items()
    }
    return [*parts, facts(about)]


def chart_groups(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """The charts of a report: training and validation nats a word on one, each score on its own."""
    names = dict.fromkeys(name for row in rows for name in row)
    groups: list[tuple[str, list[str]]]
    groups = [("Nats a word", [name for name in ("nll", "val_nll") if name in names])]
    scores = [name for name in names if name.startswith("val_") and name != "val_nll"]
    groups += [(name.removeprefix("val_"), [name]) for name in scores]
    return groups + [
        (name, [name]) for name in ("gradient_norm", "captions_per_s") if name in names
    ]
