"""`python -m capjax.evaluate`: what a run's captions are worth, or anyone's.

python -m capjax.evaluate --workdir=DIR [--split=val] [--samples=5 --temperature=0.7]
python -m capjax.evaluate --workdir=DIR --evaluator=RUN
python -m capjax.evaluate --workdir=DIR --distractors=1 [--rationality=0.5] [--listener=RUN]
python -m capjax.evaluate --workdir=DIR --justify [--blind=RUN]
python -m capjax.evaluate --predictions=FILE --references=FILE
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from capjax.checkpoint import check_folder
from capjax.command import command
from capjax.comparison.measures import in_order
from capjax.comparison.scorefiles import BESIDE
from capjax.data.predictions import read_known, read_pair
from capjax.errors import InputError
from capjax.evaluate_flags import check_flags, metrics_of, parser
from capjax.evaluate_run import mark_beside, of_run, write_evaluation
from capjax.evaluation import Evaluation, measure
from capjax.metrics.protocol import HELD_OUT, HUMAN
from capjax.room import telling_memory


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


def of_files(flags: argparse.Namespace) -> tuple[Evaluation, str, tuple[Path, ...]]:
    """Evaluates a file of captions against a file of references; as `of_run`."""
    if not flags.references:
        raise InputError("--predictions needs --references=FILE, the captions of people")
    pairs = read_pair(
        flags.predictions,
        flags.references,
        split=flags.split,
        subset=flags.subset,
        ids=flags.ids,
    )
    known = None
    if flags.known:
        # A file that is split by its names for the references is so for the training captions.
        same = Path(flags.known).resolve() == Path(flags.references).resolve()
        known = read_known(flags.known, by_name=same and flags.split is not None)
    name = Path(flags.predictions).stem
    folder = Path(flags.out or f"evaluation-{name}")
    check_folder(folder, "--out")
    for note in pairs.notes:
        print(f"capjax: {note}", file=sys.stderr)
    found = measure(
        pairs.candidates,
        pairs.references,
        metrics=metrics_of(flags),
        held_out=True,
        known=known,
        df_source=pairs.df_source,
    )
    about: dict[str, Any] = {"run": name, "dataset": Path(flags.references).stem}
    about["predictions"] = str(Path(flags.predictions).absolute())
    if flags.split:
        about["split"] = flags.split
    said = [*pairs.notes, *found.scores.get("notes", ())]
    notes = {"notes": said} if said else {}
    found = Evaluation(about | found.scores | notes, found.rows)
    mark = mark_beside(folder, "", found, own=False)
    return found, flags.predictions, write_evaluation(folder, mark, found)


def main(argv: Sequence[str] | None = None) -> int:
    flags = parser(__doc__).parse_args(argv)
    logging.set_verbosity(logging.FATAL)  # orbax tells every step, and what is raised anyway
    try:
        check_flags(flags)
        metrics_of(flags)  # fails before any work
        if flags.workdir is not None:
            flags.split = flags.split or "val"
            with telling_memory("lower --width, --samples, --candidates or --retrieval"):
                found, title, paths = of_run(flags)
        else:
            found, title, paths = of_files(flags)
    except InputError as error:
        print(f"capjax: {error}", file=sys.stderr)
        return 2
    print(show(found.scores, title))
    for name, path in zip(("captions:", "scores:", "pairs:"), paths, strict=False):
        print(f"{name:9} {path}")
    return 0


if __name__ == "__main__":
    command(main)
