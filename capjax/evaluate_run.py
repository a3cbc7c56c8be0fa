"""What a run's captions of a split are worth, as the flags of `capjax.evaluate` ask."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from capjax.checkpoint import check_folder
from capjax.data.contents import digest
from capjax.data.prepare import Prepared, encoder_named, prepare
from capjax.errors import InputError
from capjax.evaluate_apart import apart_of, pool_for
from capjax.evaluate_flags import metrics_of
from capjax.evaluate_why import why_of
from capjax.evaluation import Evaluation, evaluate
from capjax.paths import named
from capjax.run_data import others, spoken
from capjax.speaking import METHODS, check_decoding, decoding_of, spell
from capjax.starting import check_classes
from capjax.telling_apart import RANKED, apart_config
from capjax.verdicts import Judge
from capjax.workdir import Trained, fingerprint, judge_kind, open_run, read_json, write_json

DRAWN = ("sample", "best_of", "guided")  # methods whose captions depend on the seed


def of_run(flags: argparse.Namespace) -> tuple[Evaluation, str, tuple[Path, ...]]:
    """Evaluates a run's captions of a split: the evaluation, its title, the files written."""
    with named("--workdir", flags.workdir):
        run = open_run(flags.workdir)
    judged = {
        kind: _open_judge(folder, kind)
        for kind, folder in (("evaluator", flags.evaluator), ("listener", flags.listener))
        if folder
    }
    data = run.config["data"]
    drawn = flags.samples is not None and flags.decoding is None
    config = apart_config(run.config) if flags.distractors else run.config
    decoding = decoding_of(
        config,
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
        forbid_unknown=flags.forbid_unknown,
    )

    def prepared_with(encoder: str) -> Prepared:
        path, cache = flags.path or data["path"] or None, flags.cache or data["cache"] or None
        if not flags.path and path and not Path(path).expanduser().exists():
            raise InputError(
                f"the data of the run in {flags.workdir} lay in {path}, where nothing is; give the"
                " folder that they are in with --path=DIR"
            )
        try:
            return prepare(data["name"], path, cache, encoder_named(encoder))
        except InputError as error:  # what this command calls it
            told = str(error).replace("--config.data.path", "--path")
            raise InputError(told.replace("another cache", "another --cache")) from error

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
    differ = _other_data(flags, run, prepared)
    if run.concepts:
        check_classes(flags.workdir, run.concepts, prepared.concepts)
    pictured, noise = prepared.images[flags.split], run.config["noise"]
    concepts = bool(run.concepts)
    check_decoding(decoding, run.speaker, run.params, pictured, noise, run.judge, concepts)
    folder = Path(flags.out or flags.workdir)
    check_folder(folder, "--out")
    why = why_of(flags, run, prepared) if flags.justify else None
    other = f"-data-{prepared.contents[flags.split].name}" if differ else ""
    apart = apart_of(flags, run, prepared, decoding, folder, other) if flags.distractors else None
    judges: dict[str, Judge] = {}
    notes: dict[str, Any] = _of_data(flags, prepared, differ)
    for kind, judge in judged.items():
        theirs = judge.config["data"]["encoder"]
        same = theirs == data["encoder"]
        called = {"evaluator": "e_ngan"}.get(kind, kind)
        judges[called] = judge_of(judge, None if same else pictures(theirs))
        told = {"run": str(getattr(flags, kind)), "step": judge.step}
        told["parameters"] = fingerprint(judge.evaluator_params)
        notes["judges"] = notes.get("judges", {}) | {called: told}
    if decoding["method"] in DRAWN or decoding.get("noise_law", "zero") != "zero":
        notes["seed"] = flags.seed
    mark, title = mark_of(flags.split, decoding, run.config, flags.seed), spell(decoding)
    mark = f"{mark or f'-{flags.split}'}{other}" if other else mark
    options: dict[str, Any] = {}
    pool = None
    if apart:
        pool = pool_for(apart, prepared, flags.split, data["encoder"])
        images = prepared.images[flags.split]
        spoken = apart.spoken(run, images, decoding, pool, flags.seed)
        options = {"distractors": apart.distractors, "pool": pool, "spoken": spoken}
        # A listener that guides does not judge, though it be the run's own.
        mine = apart.guide and Path(apart.guide).resolve() == Path(flags.workdir).resolve()
        options["own_judges"] = not mine
    if why:
        prepared = why.asked(prepared, flags.split)
        options = {"spoken": why.answers(run, prepared.images[flags.split], decoding)}
    if asked := apart or why:
        options["about"] = asked.about
        title, mark = f"{title}, {asked.told}", f"{mark or f'-{flags.split}'}{asked.mark}"
        if asked.notes:
            notes["notes"] = [*notes.get("notes", []), *asked.notes]
    name = Path(flags.workdir).resolve().name
    found = evaluate_run(
        run,
        name,
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
    if said := [*notes.pop("notes", ()), *found.scores.pop("notes", ())]:
        found.scores["notes"] = said
    found = Evaluation(notes | found.scores, found.rows)
    mark = mark_beside(folder, mark, found, folder.resolve() == Path(flags.workdir).resolve())
    paths: tuple[Path, ...] = write_evaluation(folder, mark, found)
    if apart:
        page = folder / f"distractors{mark}.html"
        shown = apart.write_page(page, run, prepared, flags.split, decoding, pool, name)
        paths += (shown,) if shown else ()
    return found, f"{flags.split} of {data['name']}, {title}", paths


def _other_data(flags: argparse.Namespace, run: Trained, prepared: Prepared) -> list[str] | None:
    """In what the data that are asked for are not the run's; None where that is not known.

    Raises InputError where they are others, and were not named by --path.
    """
    parts = [flags.split] if flags.split == "train" else [flags.split, "train captions"]
    data, workdir = run.config["data"], Path(flags.workdir)
    differ = others(workdir, prepared, run.vocabulary, data["max_len"], parts)
    if differ and not flags.path:
        raise InputError(
            f"{spoken(differ, data)} are not those that the"
            f" run in {workdir} was trained on; restore them, name their folder with --path=DIR, or"
            " name that of these with --path to score them in files of their own"
        )
    return differ


def _of_data(
    flags: argparse.Namespace, prepared: Prepared, differ: list[str] | None
) -> dict[str, Any]:
    """What the scores tell of data that are not the run's, or not known to be."""
    if differ is None:
        said = "it is not known whether these are the data of the run, which does not tell"
        return {"notes": [f"{said}; go on with its training once, and it does"]}
    if not differ:
        return {}
    place = str(Path(flags.path).expanduser().absolute())
    said = f"scored on other data than the run's, in {place}: {', '.join(differ)} differ"
    return {"data": {"path": place, "differ": differ}, "notes": [said]}


def _open_judge(workdir: str, kind: str) -> Trained:
    """The run of --evaluator or --listener, with what is asked of it."""
    with named(f"--{kind}", workdir):
        run = open_run(workdir)
    if run.evaluator is None or judge_kind(run.config) != kind:
        raise InputError(
            f"the run in {workdir} trained no {kind}; give --{kind} the folder of a run of"
            f" configs/{kind}.py"
        )
    return run


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


def evaluate_run(
    run: Trained,
    name: str,
    prepared: Prepared,
    split: str,
    decoding: Mapping[str, Any],
    *,
    judges: Mapping[str, Judge] | None = None,
    own_judges: bool = True,
    **options: Any,
) -> Evaluation:
    """Evaluates what a run speaks of a split, with all that it has: noise, evaluator, E-GAN by it.

    Args:
      name: of the run, for the tables.
      judges: others than its own evaluator; as of `evaluate`, like options.
      own_judges: whether its own evaluator or listener judges it, too.
    """
    config = run.config
    own: dict[str, Judge] = {}
    if run.evaluator and own_judges:
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
    if split in prepared.contents:
        found.scores["digests"]["images"] = prepared.contents[split].images
    about = {"run": name, "dataset": config["data"]["name"], "split": split, "step": run.step}
    return Evaluation(about | found.scores, found.rows)


def write_evaluation(folder: Path, mark: str, found: Evaluation) -> tuple[Path, Path]:
    """Writes `captions.json`, an image a row, and `scores.json`, with a mark in their names."""
    captions, scores = folder / f"captions{mark}.json", folder / f"scores{mark}.json"
    write_json(captions, found.rows)
    write_json(scores, found.scores)
    return captions, scores


def mark_beside(folder: Path, mark: str, found: Evaluation, own: bool) -> str:
    """A mark by which an evaluation takes no other's place: of another run, of other references.

    Args:
      mark: which is kept where nothing lies there, or an evaluation of the same.
      own: whether the folder is that of the run that is evaluated, whose name may have changed.
    """
    path = folder / f"scores{mark}.json"
    if not path.is_file():
        return mark
    try:
        there = read_json(path)
    except InputError:
        return mark  # it can be of no use
    if not isinstance(there, dict):
        return mark
    mine, theirs = _asked(found.scores, own), _asked(there, own)
    later = own and None not in (steps := (found.scores.get("step"), there.get("step")))
    if later and steps[0] != steps[1]:
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


def _asked(scores: Mapping[str, Any], own: bool) -> dict[str, Any]:
    """What the scores are of, besides what is in the name of their file."""
    names = ["dataset", "split", "predictions", *([] if own else ["run"])]
    told = {name: scores[name] for name in names if name in scores}
    told["of"] = "a run" if "step" in scores else "a file"
    digests = scores.get("digests")
    if isinstance(digests, dict):
        names = ["references", "images", "distractors", "questions"]
        told |= {name: digests[name] for name in names if name in digests}
    about = scores.get("decoding")
    if isinstance(about, dict):
        told |= {name: about[name] for name in ("guide", "blind") if name in about}
    return told


def mark_of(split: str, decoding: Mapping[str, Any], config: Mapping[str, Any], seed: int) -> str:
    """What tells the files of one evaluation of a run from another's: "" for the recipe's own."""
    own = dict(decoding) == dict(config["decoding"]) and not seed
    if own:
        return "" if split == "val" else f"-{split}"
    short = {"samples": "x", "temperature": "t", "top_p": "p", "top_k": "k", "width": "w"}
    short |= {"candidates": "c", "branch": "b", "rollouts": "r"}
    default = {"groups": 1, "diversity": 0.0, "top_k": None, "top_p": None}
    # As decoding_of keeps them.
    default["noise_law"] = config["decoding"].get("noise_law", "zero")
    default["forbid_unknown"] = config["decoding"].get("forbid_unknown", False)
    parts = [
        f"{short.get(name, name)}{decoding[name]}"
        for name in METHODS[decoding["method"]]
        if name in decoding and name != "max_len" and decoding[name] != default.get(name, "")
    ]
    parts += [f"seed{seed}"] if seed else []
    return "-".join(["", split, decoding["method"], *parts])
