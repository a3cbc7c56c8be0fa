"""What do judges say of captions? Their scores, and by image into the rows of an evaluation."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from capjax.evaluation.distractors import Distractors, picked
from capjax.evaluation.verdicts import Judge, evaluator_scores, verdicts
from capjax.metrics.retrieval import Score
from capjax.parallel import shared_out


def judged(
    name: str, judge: Judge, images: np.ndarray, rows: list[dict[str, Any]]
) -> dict[str, float]:
    """What an evaluator says of a model's captions and of people's; r goes into the rows."""
    evaluator, params, vocabulary, max_len, others, _ = judge
    seen = images if others is None else others[: len(images)]
    said = [row.get("captions") or [row["caption"]] for row in rows]
    r = verdicts(evaluator, params, vocabulary, seen, said, max_len, over=shared_out)
    for row, values in zip(rows, r.tolist(), strict=True):
        row[name] = values if "captions" in row else values[0]
    texts = [row["references"] for row in rows]
    people = verdicts(evaluator, params, vocabulary, seen, texts, max_len, over=shared_out)
    return {
        name: float(r.mean(dtype=np.float64)),
        f"{name}_people": float(np.nanmean(people, dtype=np.float64)),
    }


def picked_among(
    name: str,
    judge: Judge,
    images: np.ndarray,
    distractors: Distractors,
    rows: list[dict[str, Any]],
) -> dict[str, float]:
    """How often a listener picks the image by its first caption, and by a person's."""
    pool = images if distractors.pool is None else distractors.pool
    seen = pool if judge.images is None else judge.images
    others = distractors.rows
    metric = f"accuracy@{1 + others.shape[1]}"
    said = [row.get("captions", [row.get("caption")])[0] for row in rows]
    right = picked(judge, seen, others, said)
    for row, mark in zip(rows, right.tolist(), strict=True):
        row[f"{name}_{metric}"] = mark
    people = picked(judge, seen, others, [row["references"][0] for row in rows])
    return {
        f"{name}_{metric}": float(right.mean()),
        f"{name}_people_{metric}": float(people.mean()),
    }


def scorer(judge: Judge, texts: Sequence[str]) -> Score:
    """An evaluator as a scorer of texts: the captions it is given, in its own words."""

    def score(_: Any, images: Any) -> np.ndarray:
        seen = images if judge.images is None else judge.images[: len(images)]
        return evaluator_scores(judge.evaluator, judge.params, seen, judge.read(texts), shared_out)

    return score
