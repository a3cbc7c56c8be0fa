"""`python -m capjax.evaluate`: what a run's captions are worth, or anyone's.

python -m capjax.evaluate --workdir=DIR [--split=val] [--samples=5 --temperature=0.7]
python -m capjax.evaluate --workdir=DIR --evaluator=RUN
python -m capjax.evaluate --workdir=DIR --distractors=1 [--rationality=0.5] [--listener=RUN]
python -m capjax.evaluate --workdir=DIR --justify [--blind=RUN]
python -m capjax.evaluate --predictions=FILE --references=FILE
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import logging

from capjax.command import command
from capjax.data.predictions import read_known, read_pair
from capjax.errors import InputError
from capjax.evaluation.flags import check_flags, metrics_of, parser
from capjax.evaluation.of_run import mark_beside, of_run, write_evaluation
from capjax.evaluation.record import Evaluation, measure
from capjax.evaluation.terminal import show
from capjax.parallel.memory import telling_memory
from capjax.run.checkpoint import check_folder


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
