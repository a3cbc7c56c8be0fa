"""`python -m capjax.evaluate`: what a run's captions are worth, or anyone's.

python -m capjax.evaluate --workdir=DIR [--split=val] [--samples=5 --temperature=0.7]
python -m capjax.evaluate --workdir=DIR --evaluator=RUN
python -m capjax.evaluate --predictions=FILE --references=FILE
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from capjax.checkpoint import check_folder
from capjax.comparison.measures import in_order
from capjax.comparison.scorefiles import BESIDE
from capjax.data.predictions import read_pair, read_references
from capjax.data.prepare import Prepared, encoder_named, prepare
from capjax.errors import InputError
from capjax.evaluate_apart import apart_decoding, apart_of, pool_for
from capjax.evaluate_flags import check_flags, metrics_of, parser
from capjax.evaluate_why import why_of
from capjax.evaluation import Evaluation, evaluate, measure
from capjax.lifted_words import RATIONALITIES, write_pairs
from capjax.metrics.protocol import HELD_OUT, HUMAN
from capjax.speaking import METHODS, decoding_of, spell
from capjax.telling_apart import RANKED, tell_apart
from capjax.verdicts import Judge
from capjax.workdir import Trained, judge_kind, open_run, write_json

DRAWN = ("sample", "best_of", "guided")  # methods whose captions depend on the seed


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


def write_evaluation(folder: Path, mark: str, found: Evaluation) -> tuple[Path, Path]:
    """Writes `captions.json`, an image a row, and `scores.json`, with a mark in their names."""
    captions, scores = folder / f"captions{mark}.json", folder / f"scores{mark}.json"
    write_json(captions, found.rows)
    write_json(scores, found.scores)
    return captions, scores


def mark_of(split: str, decoding: Mapping[str, Any], config: Mapping[str, Any], seed: int) -> str:
    """What tells the files of one evaluation of a run from another's: "" for the recipe's own."""
    own = dict(decoding) == dict(config["decoding"]) and not seed
    if own:
        return "" if split == "val" else f"-{split}"
    short = {"samples": "x", "temperature": "t", "top_p": "p", "top_k": "k", "width": "w"}
    short |= {"candidates": "c", "branch": "b", "rollouts": "r"}
    default = {"groups": 1, "diversity": 0.0, "forbid_unknown": False, "top_k": None, "top_p": None}
    default |= {"noise_law": config["decoding"].get("noise_law", "zero")}  # as decoding_of keeps it
    parts = [
        f"{short.get(name, name)}{decoding[name]}"
        for name in METHODS[decoding["method"]]
        if name in decoding and name != "max_len" and decoding[name] != default.get(name, "")
    ]
    parts += [f"seed{seed}"] if seed else []
    return "-".join(["", split, decoding["method"], *parts])


def judge_of(run: Trained, images: np.ndarray | None = None) -> Judge:
    """The evaluator or listener that a run trained as a judge of text.

    Args:
      images: as it takes them, where the speaker that it judges takes others.
    Raises:
      ValueError: the run trained none.
    """
    if run.evaluator is None:
        raise ValueError("the run trained no evaluator")
    max_len = run.config["data"]["max_len"]
    picks = judge_kind(run.config) == "listener"
    return Judge(run.evaluator, run.evaluator_params, run.vocabulary, max_len, images, picks)


def _open_judge(workdir: str, kind: str) -> Trained:
    """The run of --evaluator or --listener, with what is asked of it."""
    run = open_run(workdir)
    if run.evaluator is None or judge_kind(run.config) != kind:
        raise InputError(
            f"the run in {workdir} trained no {kind}; give --{kind} the folder of a run of"
            f" configs/{kind}.py"
        )
    return run


def of_run(flags: argparse.Namespace) -> tuple[Evaluation, str, tuple[Path, ...]]:
    """Evaluates a run's captions of a split: the evaluation, its title, the files written."""
    run = open_run(flags.workdir)
    others = {
        kind: _open_judge(folder, kind)
        for kind, folder in (("evaluator", flags.evaluator), ("listener", flags.listener))
        if folder
    }
    data = run.config["data"]
    drawn = flags.samples is not None and flags.decoding is None
    decoding = decoding_of(
        run.config,
        method="sample" if drawn else flags.decoding,
        width=flags.width,
        groups=flags.groups,
        diversity=flags.diversity,
        samples=flags.samples,
        candidates=None if flags.speaker in RANKED else flags.candidates,
        branch=flags.branch,
        rollouts=flags.rollouts,
        temperature=flags.temperature,
        top_k=flags.top_k,
        top_p=flags.top_p,
    )

    if flags.distractors:
        decoding = apart_decoding(run.config, decoding, flags.decoding)

    def prepared_with(encoder: str) -> Prepared:
        path, cache = flags.path or data["path"] or None, flags.cache or data["cache"] or None
        return prepare(data["name"], path, cache, encoder_named(encoder))

    def pictures(encoder: str) -> np.ndarray:
        """The split's images, and what they are told from, as another encoder has them."""
        theirs = prepared_with(encoder)
        more = pool_for(apart, theirs, flags.split, encoder) if apart else None
        return theirs.images[flags.split] if more is None else more

    prepared = prepared_with(data["encoder"])
    if flags.split not in prepared.splits:
        raise InputError(
            f"{data['name']} has no split {flags.split!r}; it has {', '.join(prepared.splits)}"
        )
    folder = Path(flags.out or flags.workdir)
    check_folder(folder)
    why = why_of(flags, run, prepared) if flags.justify else None
    apart = apart_of(flags, run, prepared, decoding, folder) if flags.distractors else None
    judges: dict[str, Judge] = {}
    notes: dict[str, Any] = {}
    for kind, other in others.items():
        theirs = other.config["data"]["encoder"]
        same = theirs == data["encoder"]
        name = {"evaluator": "e_ngan"}.get(kind, kind)
        judges[name] = judge_of(other, None if same else pictures(theirs))
        told = f"{name} is by the {kind} of {getattr(flags, kind)}, step {other.step}"
        notes["notes"] = [*notes.get("notes", []), told]
    if decoding["method"] in DRAWN or decoding.get("noise_law", "zero") != "zero":
        notes["seed"] = flags.seed
    told, mark = "", mark_of(flags.split, decoding, run.config, flags.seed)
    options: dict[str, Any] = {}
    if apart:
        pool = pool_for(apart, prepared, flags.split, data["encoder"])
        options = {"distractors": apart.distractors, "pool": pool, "about": apart.about}
        if apart.teller:
            options["spoken"] = tell_apart(
                run.speaker,
                run.params,
                prepared.images[flags.split],
                apart.distractors.rows,
                decoding,
                teller=apart.teller,
                pool=pool,
                noise=run.config["noise"],
                key=jax.random.key(flags.seed),
            )
        told = f", {apart.told}"
        notes["notes"] = [*notes.get("notes", []), apart.told]
        mark = f"{mark or f'-{flags.split}'}{apart.mark}"
    if why:
        prepared = why.asked(prepared, flags.split)
        spoken = why.answers(run, prepared.images[flags.split], decoding)
        options = {"about": why.about, "spoken": spoken}
        told, mark = f", {why.told}", f"{mark or f'-{flags.split}'}{why.mark}"
        notes["notes"] = [*notes.get("notes", []), why.told]
    found = evaluate_run(
        run,
        Path(flags.workdir).resolve().name,
        prepared,
        flags.split,
        decoding,
        judges=judges,
        seed=flags.seed,
        retrieval=flags.retrieval,
        metrics=metrics_of(flags),
        **options,
    )
    found = why.judged(found) if why else found
    found = Evaluation(notes | found.scores, found.rows)
    title = f"{flags.split} of {data['name']}, {spell(decoding)}{told}"
    paths: tuple[Path, ...] = write_evaluation(folder, mark, found)
    if apart:
        shown = write_pairs(
            folder / f"distractors{mark}.html",
            f"{found.scores['run']}, {flags.split} of {data['name']}: {apart.told}",
            run,
            prepared.splits[flags.split],
            prepared.images[flags.split],
            apart.distractors,
            pool=options["pool"],
            decoding=decoding,
            teller=apart.teller,
            rationalities=sorted({*RATIONALITIES, apart.about["rationality"]}, reverse=True),
        )
        paths += (shown,) if shown else ()
    return found, title, paths


def evaluate_run(
    run: Trained,
    name: str,
    prepared: Prepared,
    split: str,
    decoding: Mapping[str, Any],
    *,
    judges: Mapping[str, Judge] | None = None,
    **options: Any,
) -> Evaluation:
    """Evaluates what a run speaks of a split, with all that it has: noise, evaluator, E-GAN by it.

    Args:
      name: of the run, for the tables.
      judges: others than its own evaluator; as of `evaluate`, like options.
    """
    config = run.config
    own: dict[str, Judge] = {}
    if run.evaluator:
        judge = judge_of(run)
        own["own_listener" if judge.picks else "e_gan"] = judge
    found = evaluate(
        run.speaker,
        run.params,
        run.vocabulary,
        prepared.splits[split],
        prepared.images[split],
        decoding,
        noise=config["noise"],
        judge=run.judge,
        judges={**(judges or {}), **own},
        concepts=bool(run.concepts),
        progress=True,
        held_out=True,
        known={text for texts in prepared.splits["train"].captions for text in texts},
        **options,
    )
    about = {"run": name, "dataset": config["data"]["name"], "split": split, "step": run.step}
    return Evaluation(about | found.scores, found.rows)


def of_files(flags: argparse.Namespace) -> tuple[Evaluation, str, tuple[Path, ...]]:
    """Evaluates a file of captions against a file of references; as `of_run`."""
    if not flags.references:
        raise InputError("--predictions needs --references=FILE, the captions of people")
    pairs = read_pair(flags.predictions, flags.references, split=flags.split, subset=flags.subset)
    known = None
    if flags.known:
        texts = read_references(flags.known, split="train" if flags.split else None)
        known = {text for every in texts.values() for text in every}
    name = Path(flags.predictions).stem
    folder = Path(flags.out or f"evaluation-{name}")
    check_folder(folder)
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
    if flags.split:
        about["split"] = flags.split
    notes = {"notes": list(pairs.notes)} if pairs.notes else {}
    found = Evaluation(about | found.scores | notes, found.rows)
    return found, flags.predictions, write_evaluation(folder, "", found)


def main(argv: Sequence[str] | None = None) -> int:
    flags = parser(__doc__).parse_args(argv)
    logging.set_verbosity(logging.FATAL)  # orbax tells every step, and what is raised anyway
    try:
        check_flags(flags)
        metrics_of(flags)  # fails before any work
        if flags.workdir:
            flags.split = flags.split or "val"
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
    sys.exit(main())
