"""What a run's captions of a split are worth, as the flags of `capjax.evaluate` ask."""

import argparse
import contextlib
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from capjax.comparison.scorefiles import BESIDE
from capjax.data.contents import digest
from capjax.data.feature_files import FeatureFiles
from capjax.data.features import Encoder
from capjax.data.prepare import Prepared, form_of
from capjax.decoding.speaking import METHODS, check_decoding, decoding_of, spell
from capjax.decoding.telling_apart import RANKED, apart_decoding
from capjax.errors import InputError, named
from capjax.evaluation.data import asked_of, of_data, other_data
from capjax.evaluation.flags import metrics_of
from capjax.evaluation.justified import why_of
from capjax.evaluation.record import Evaluation, check_retrieval, evaluate
from capjax.evaluation.told_apart import apart_of, check_twins, pool_for, teller_of
from capjax.evaluation.verdicts import Judge
from capjax.files.whole import read_json, write_json
from capjax.models.encoders import encoder_named
from capjax.run import Trained, check_classes, fingerprint, open_run
from capjax.run.checkpoint import check_folder
from capjax.run.data import same_features

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
    recipe = run.recipe
    without_noise = apart_decoding(recipe.decoding, recipe.noise) if flags.distractors else None
    decoding = decoding_of(
        without_noise or recipe.decoding,
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

    split = flags.split
    folder = Path(flags.out or flags.workdir)
    check_folder(folder, "--out")
    # What can be refused is, before images are encoded, which may take hours.
    asked = asked_of(flags, run)
    own = asked.dataset.splits[split]
    if run.concepts:
        check_classes(flags.workdir, run.concepts, asked.dataset.concepts)
    noise, concepts = run.config["noise"], bool(run.concepts)
    form = form_of(asked.encoder, own)
    check_decoding(decoding, run.speaker, run.params, form, noise, run.judge, concepts)
    check_retrieval(flags.retrieval, len(own.ids))
    why = why_of(flags, run, asked.dataset.splits) if flags.justify else None
    teller = teller_of(flags, run, own, decoding) if flags.distractors else None
    check_twins(flags, asked.encoder)
    encoders = {}
    for kind, judge in judged.items():
        theirs, place = judge.config["data"]["encoder"], getattr(flags, kind)
        if theirs != data["encoder"] and not same_features(Path(place), Path(flags.workdir)):
            with named(f"--{kind}", place):
                encoders[kind] = encoder_named(theirs)
            check_twins(flags, encoders[kind])
    prepared = asked.encoded(asked.encoder, partial(other_data, flags, run))
    differ = other_data(flags, run, prepared)
    why = why.with_images(own, prepared.images[split]) if why else None
    other = f"-data-{prepared.contents[split].name}" if differ else ""
    apart = apart_of(flags, run, teller, prepared, decoding, folder, other) if teller else None

    def pictures(encoder: Encoder | FeatureFiles) -> np.ndarray:
        """The split's images, and what they are told from, as another encoder has them."""
        theirs = asked.encoded(encoder)
        more = pool_for(apart, theirs, split, encoder) if apart else None
        return theirs.images[split] if more is None else more

    judges: dict[str, Judge] = {}
    notes: dict[str, Any] = of_data(flags, prepared, differ)
    for kind, judge in judged.items():
        called = {"evaluator": "e_ngan"}.get(kind, kind)
        judges[called] = judge_of(judge, pictures(encoders[kind]) if kind in encoders else None)
        told = {"run": str(getattr(flags, kind)), "step": judge.step}
        told["parameters"] = fingerprint(judge.evaluator_params)
        notes["judges"] = notes.get("judges", {}) | {called: told}
    if decoding["method"] in DRAWN or decoding.get("noise_law", "zero") != "zero":
        notes["seed"] = flags.seed
    mark, title = mark_of(split, decoding, run.config, flags.seed), spell(decoding)
    mark = f"{mark or f'-{split}'}{other}" if other else mark
    options: dict[str, Any] = {}
    pool = None
    if apart:
        pool = pool_for(apart, prepared, split, asked.encoder)
        images = prepared.images[split]
        spoken = apart.spoken(run, images, decoding, pool, flags.seed)
        options = {"distractors": apart.distractors, "pool": pool, "spoken": spoken}
        # A listener that guides does not judge, though it be the run's own.
        mine = apart.guide and Path(apart.guide).resolve() == Path(flags.workdir).resolve()
        options["own_judges"] = not mine
    if why:
        prepared = why.asked(prepared, split)
        options = {"spoken": why.answers(run, prepared.images[split], decoding)}
    if told_of := apart or why:
        options["about"] = told_of.about
        title, mark = f"{title}, {told_of.told}", f"{mark or f'-{split}'}{told_of.mark}"
        if told_of.notes:
            notes["notes"] = [*notes.get("notes", []), *told_of.notes]
    name = Path(flags.workdir).resolve().name
    found = evaluate_run(
        run,
        name,
        prepared,
        split,
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
        shown = apart.write_page(page, run, prepared, split, decoding, pool, name)
        paths += (shown,) if shown else ()
    return found, f"{split} of {data['name']}, {title}", paths


def _open_judge(workdir: str, kind: str) -> Trained:
    """The run of --evaluator or --listener, with what is asked of it."""
    with named(f"--{kind}", workdir):
        run = open_run(workdir)
    if run.evaluator is None or run.recipe.judged_by != kind:
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
    picks = run.recipe.judged_by == "listener"
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


def _lost(scores: Path, found: Mapping[str, Any]) -> list[str]:
    """The measures of an earlier evaluation that a later one of the same step does not take."""
    there: Any = None
    if scores.is_file():
        with contextlib.suppress(InputError):
            there = read_json(scores)
    if not isinstance(there, dict) or there.get("step") != found.get("step"):
        return []
    kept = {name for name, value in found.items() if value is not None} | BESIDE
    taken = (name for name, value in there.items() if type(value) in (int, float))
    return [name for name in taken if name not in kept]


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
