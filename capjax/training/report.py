"""What does a run show of itself? Its scores, curves and captions, put into its report."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from capjax.comparison.measures import in_order
from capjax.comparison.scorefiles import BESIDE
from capjax.data.split import Split
from capjax.decoding.speaking import spell
from capjax.evaluation import Evaluation
from capjax.metrics.protocol import HELD_OUT, HUMAN
from capjax.report import Html, evenly, facts, score_table, write_report
from capjax.run.recipe import Recipe
from capjax.training.stage_captions import many_section, opening, stage_examples


def write_run_report(
    path: Path,
    recipe: Recipe,
    rows: Sequence[Mapping[str, Any]],
    found: Mapping[str, Evaluation],
    split: Split,
    stages: Mapping[str, Evaluation],
    *,
    looks: Html | None = None,
) -> None:
    """Writes a run's report.

    Args:
      rows: of metrics.jsonl.
      found: the evaluation of each split, "val" among them.
      split: the validation split, whose images are shown.
      stages: its evaluation after each stage of the recipe, in their order.
      looks: of `looks_section`.
    """
    scores = {name: evaluation.scores for name, evaluation in found.items()}
    device = jax.devices()[0].device_kind
    number = recipe.report_images
    rows = [charted(row) for row in rows]
    shown = stage_examples(split, stages, evenly(len(split.ids), number))
    many = many_section(split, found["val"]) if number else None
    write_report(
        path,
        title=f"{recipe.recipe} on {recipe.data.name}",
        configuration=recipe.given,
        metrics=rows,
        scores={name: measures(mine) for name, mine in scores.items()},
        beside=beside_scores(scores),
        first=opening(split, stages, found.get("test"), number),
        examples=shown,
        more=[part for part in (looks, many) if part],
        groups=chart_groups(rows),
        footer=f"capjax {version('capjax')}, jax {version('jax')}, {device}",
    )


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
        parts.append(_apart(score_table(renamed, protocol)))
    about = {
        split: {
            "step": scores["step"],
            "decoding": spell(scores["decoding"]),
            "images": scores["n_images"],
            "references": scores["references"],
            "document frequencies": f"{scores['df']['source']}, {scores['df']['n']} images",
            "tokenizer": ". ".join((scores["tokenizer"], *scores.get("notes", ()))),
        }
        for split, scores in found.items()
    }
    return [*parts, facts(about)]


def _apart(shown: Html) -> Html:
    return Html(f'<div style="margin-top:1.75rem">{shown}</div>')


# Charts of several lines, or of one whose name does not say enough.
_CHARTS = {
    "Nats a word": ("nll", "val_nll"),
    "Evaluator's loss": ("evaluator_loss", "val_evaluator_loss"),
    "r by the captions' source": ("r_real", "r_generated", "r_mismatched"),
    "r on the validation split": ("val_r_real", "val_r_generated", "val_r_mismatched"),
    "Listener's loss": ("listener_loss", "val_listener_loss"),
    "Images picked by their captions": ("picked_image", "val_listener_r1", "val_listener_r10"),
    "True sentences, and objects covered": ("val_true_sentences", "val_covered"),
    "Loss of the policy gradient": ("policy_loss",),
    "Reward of drawn captions": ("reward_total", "baseline"),
    "CIDEr-D of drawn captions": ("cider",),
    "Self-retrieval reward": ("self_retrieval",),
    "Listener's reward, nats": ("listener",),
    "Evaluator's reward, r": ("evaluator",),
    "Contrastive loss": ("contrastive_loss",),
    "h by pair": ("h_true", "h_mismatched"),
    "Log-ratio to the reference, nats": ("log_ratio",),
    "Value of words, in r": ("value_first", "value_middle", "value_last", "reward"),
    "Advantage, root mean square": ("advantage",),
    "Entropy, nats a word": ("entropy",),
    "Captions that fail": ("repeats", "unended"),
    "Words of a drawn caption": ("words",),
}
_WORK = {
    "Gradient norm": (
        "gradient_norm",
        "evaluator_gradient_norm",
        "listener_gradient_norm",
    ),
    "Busy share of rollout lanes": ("busy",),
    "captions_per_s": ("captions_per_s",),
}

_RENAMED = {  # by stage
    "evaluator": {"loss": "evaluator_loss", "gradient_norm": "evaluator_gradient_norm"},
    "adversarial": {"loss": "policy_loss"},
    "contrastive": {"loss": "contrastive_loss"},
    "listener": {"loss": "listener_loss", "gradient_norm": "listener_gradient_norm"},
    "self_critical": {"loss": "policy_loss", "reward": "reward_total"},
}


def charted(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of metrics.jsonl as it is drawn: under one name what is one thing, whatever a stage
    calls it, and under two what is not."""
    renamed = _RENAMED.get(row.get("stage", ""), {})
    return {renamed.get(name, name): value for name, value in row.items()}


def chart_groups(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """The charts of a report: what is learnt, each score of the validation split, then the work."""
    names = dict.fromkeys(name for row in rows for name in row)

    def drawn(charts: Mapping[str, Sequence[str]]) -> list[tuple[str, list[str]]]:
        found = [(title, [n for n in every if n in names]) for title, every in charts.items()]
        return [(title, every) for title, every in found if every]

    known = {name for every in _CHARTS.values() for name in every}
    scores = [name for name in names if name.startswith("val_") and name not in known]
    own = [(name.removeprefix("val_"), [name]) for name in scores]
    return drawn(_CHARTS) + own + drawn(_WORK)
