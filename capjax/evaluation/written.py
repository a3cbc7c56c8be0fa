"""Which files is an evaluation written to? One of something else never takes another's place."""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from capjax.comparison.scorefiles import BESIDE
from capjax.data.contents import digest
from capjax.decoding.speaking import METHODS
from capjax.errors import InputError
from capjax.evaluation.text_measures import Evaluation
from capjax.files.whole import read_json, write_json


class Written(NamedTuple):
    """An evaluation, and where it was written."""

    found: Evaluation
    title: str  # what it is of, for people
    paths: tuple[Path, ...]  # captions, scores, and pages beside them


def write_evaluation(folder: Path, mark: str, found: Evaluation) -> tuple[Path, Path]:
    """Writes `captions.json`, an image a row, and `scores.json`, with a mark in their names.

    Tells of measures of the same captioner that lay there and are none of these.
    """
    captions, scores = folder / f"captions{mark}.json", folder / f"scores{mark}.json"
    if lost := _lost(scores, found.scores):
        print(
            f"capjax: {scores} is replaced, and with it what was not asked for this time:"
            f" {', '.join(lost)}; ask for all of it at once, or for less with another --out",
            file=sys.stderr,
        )
    write_json(captions, found.rows)
    write_json(scores, found.scores)
    return captions, scores


def mark_of(
    split: str, decoding: Mapping[str, Any], recipe: Mapping[str, Any], seed: int, more: str = ""
) -> str:
    """What tells the files of one evaluation of a run from another's: "" for the recipe's own.

    Args:
      recipe: the decoding of the run's recipe.
      more: what else was not as in training.
    """
    if dict(decoding) == dict(recipe) and not seed:
        return f"-{split}{more}" if split != "val" or more else ""
    short = {"samples": "x", "temperature": "t", "top_p": "p", "top_k": "k", "width": "w"}
    short |= {"candidates": "c", "branch": "b", "rollouts": "r"}
    default = {"groups": 1, "diversity": 0.0, "top_k": None, "top_p": None}
    # As decoding_of keeps them.
    default["noise_law"] = recipe.get("noise_law", "zero")
    for ban in ("forbid_unknown", "block_trigrams"):
        default[ban] = recipe.get(ban, False)
    parts = [
        f"{short.get(name, name)}{decoding[name]}"
        for name in METHODS[decoding["method"]]
        if name in decoding and name != "max_len" and decoding[name] != default.get(name, "")
    ]
    parts += [f"seed{seed}"] if seed else []
    return "-".join(["", split, decoding["method"], *parts]) + more


def mark_beside(folder: Path, mark: str, found: Evaluation, own: bool) -> str:
    """A mark by which an evaluation takes no other's place: of another run, of other references.

    Args:
      mark: which is kept where nothing lies there, or an evaluation of the same.
      own: whether the folder is that of the run that is evaluated, whose name may have changed.
    """
    path = folder / f"scores{mark}.json"
    earlier = _read(path)
    if earlier is None:
        return mark
    mine, theirs = _conditions(found.scores, own), _conditions(earlier, own)
    steps = found.scores.get("step"), earlier.get("step")
    if own and None not in steps and steps[0] != steps[1]:
        return mark  # the same run has been trained on
    if all(mine.get(name) == theirs[name] for name in theirs):
        return mark
    beside = f"{mark}-{digest([mine])[:8]}"
    print(
        f"capjax: {path} is of other data, questions or captions and is kept; these scores go to"
        f" scores{beside}.json",
        file=sys.stderr,
    )
    return beside


def _read(path: Path) -> dict[str, Any] | None:
    """Earlier scores; None where there are none, or they can be of no use."""
    earlier: Any = None
    if path.is_file():
        with contextlib.suppress(InputError):
            earlier = read_json(path)
    return earlier if isinstance(earlier, dict) else None


def _lost(path: Path, scores: Mapping[str, Any]) -> list[str]:
    """The measures of an earlier evaluation that a later one of the same step does not take."""
    earlier = _read(path)
    if earlier is None or earlier.get("step") != scores.get("step"):
        return []
    kept = {name for name, value in scores.items() if value is not None} | BESIDE
    taken = (name for name, value in earlier.items() if type(value) in (int, float))
    return [name for name in taken if name not in kept]


def _conditions(scores: Mapping[str, Any], own: bool) -> dict[str, Any]:
    """What the scores are of, besides what is in the name of their file."""
    names = ["dataset", "split", "predictions", *([] if own else ["run"])]
    found = {name: scores[name] for name in names if name in scores}
    found["of"] = "a run" if "step" in scores else "a file"
    digests = scores.get("digests")
    if isinstance(digests, dict):
        names = ["references", "images", "distractors", "questions"]
        found |= {name: digests[name] for name in names if name in digests}
    about = scores.get("decoding")
    if isinstance(about, dict):
        found |= {name: about[name] for name in ("guide", "blind") if name in about}
    return found
