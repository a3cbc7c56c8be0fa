"""Training by a recipe in a folder, from its data to its report."""

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import jax

from capjax.data.prepare import Prepared
from capjax.data.resumable import only_process
from capjax.decoding.speaking import speak_all
from capjax.errors import InputError
from capjax.evaluation import Evaluation, evaluate_run, show, write_evaluation
from capjax.files.paths import check_path, check_text
from capjax.files.places import place, resolved, stored
from capjax.files.whole import read_json, whole
from capjax.parallel import by_first, processes, wait_for_all
from capjax.parallel.together import gathered, leader
from capjax.run.checkpoint import check_folder
from capjax.run.folder import lock_of
from capjax.run.metrics_log import MetricsLog
from capjax.run.trained import Trained, open_run
from capjax.training.before import said_before
from capjax.training.begin import begin
from capjax.training.loop import run_stage
from capjax.training.next_steps import next_steps, steps_told
from capjax.training.plan import Plan, Planned, as_begun
from capjax.training.report import write_run_report
from capjax.training.stage import Learnt, Run
from capjax.training.stage_measures import stage_lines
from capjax.training.stopping import StopSignal
from capjax.training.telling import Telling
from capjax.training.where_looked import looks_section

EVALUATED = ("val", "test")  # splits, where there are


def train(
    config: Mapping[str, Any],
    workdir: str | Path | None = None,
    *,
    stop_status: int | None = None,
) -> dict[str, Any]:
    """Trains by a recipe in a folder, or goes on where a run in that folder was cut.

    Writes config.json, data.json, vocabulary.json, metrics.jsonl, checkpoints/, captions.json,
    scores.json and report.html. Started again after any kind of end, it ends with the same bits, on
    the same machine, as a run that was never cut. Folders among the settings are made absolute, and
    data.json tells what the dataset holds: a run goes on with the same data, wherever they lie.

    Several processes that were joined train one run: each calls it, its devices learn from their
    rows of each batch, and the first writes what people read.

    Args:
      config: as `get_config` of a file in configs/ makes it.
      workdir: the run's folder; None: runs/RECIPE-DATASET.
      stop_status: what the process is ended with where a signal asks it to stop and it is deep in a
        compiler, which does not listen; None: it goes on until it listens.
    Returns:
      The scores of the validation split.
    Raises:
      InputError: bad input, before any training time is spent.
      Interrupted: SIGTERM or SIGINT came, to any process; the state has been saved.
    """
    with StopSignal(stop_status) as stop:
        plan = Plan(config)
        recipe = plan.recipe
        if workdir is None:
            workdir = f"runs/{recipe.recipe}-{recipe.data.name}"
        workdir = place(workdir)
        _check_folders(workdir, recipe.data.cache)
        with _alone_in(workdir, recipe.data.cache):
            wait_for_all()
            return _train(plan, workdir, stop)


def _train(plan: Plan, workdir: Path, stop: StopSignal) -> dict[str, Any]:
    plan = as_begun(plan, workdir)
    run, prepared, learnt = begin(plan, workdir)
    telling = Telling(run, plan, sum(name in prepared.splits for name in EVALUATED))
    for index, stage in enumerate(plan.stages):
        now = run_stage(run, stop, telling, index, stage, learnt)
        if now is not None and stage.settings.speaks and index + 1 < len(plan.stages):
            with telling.time.evaluating():
                _keep_captions(run, prepared, stage)
        learnt = now or Learnt()
    return _finish(run, prepared, plan)


def _alone_in(workdir: Path, cache: str) -> AbstractContextManager:
    """Waits until no other run is at work in a folder."""
    return only_process(lock_of(workdir, cache)) if processes.first() else nullcontext()


def _check_folders(workdir: Path, cache: str) -> None:
    """Raises InputError where a folder that is to be written to cannot be."""
    check_text(f"--workdir={workdir}", workdir)
    by_first(lambda: check_folder(workdir))
    leaders = [] if stored(workdir) else gathered(leader(workdir))
    if elsewhere := [which for which, leads in enumerate(leaders) if leads]:
        raise InputError(
            f"--workdir={workdir} is another folder for process {elsewhere[0]} than for the first;"
            " give one on a file system that all of them share"
        )
    if cache:
        check_path("--config.data.cache", cache, "cache")
        check_text(f"--config.data.cache={cache}", cache)


def _evaluate(
    run: Run, prepared: Prepared, trained: Trained, split: str, stage: Planned
) -> Evaluation:
    """Evaluates what a run speaks after a stage."""
    decoding = stage.settings.decoding_of(run.recipe)
    return evaluate_run(trained, resolved(run.workdir).name, prepared, split, decoding)


def _keep_captions(run: Run, prepared: Prepared, stage: Planned) -> None:
    """Writes what the speaker says of the validation split after a stage that others follow."""
    trained = open_run(run.workdir, stage.name)
    found = _evaluate(run, prepared, trained, "val", stage)
    if processes.first():
        write_evaluation(run.workdir, f"-after-{stage.name}", found)


def _finish(run: Run, prepared: Prepared, plan: Plan) -> dict[str, Any]:
    """Evaluates the best checkpoint, writes what a person looks at, and tells where it lies."""
    last = plan.stages[-1]
    trained = open_run(run.workdir, last.name)
    found: dict[str, Evaluation] = {}
    for split in EVALUATED:
        if split not in prepared.splits:
            continue
        found[split] = _evaluate(run, prepared, trained, split, last)
        if processes.first():
            write_evaluation(run.workdir, "" if split == "val" else f"-{split}", found[split])
    if processes.first():
        _report(run, plan, trained, found)
    wait_for_all()
    return found["val"].scores


def _report(run: Run, plan: Plan, trained: Trained, found: dict[str, Evaluation]) -> None:
    """Writes the report, and tells what was measured and where it lies."""
    workdir, recipe = run.workdir, run.recipe
    *before, last = plan.stages
    if recipe.noise:
        _add_many(run, trained, found["val"])
    stages = {
        stage.name: Evaluation(
            read_json(workdir / f"scores-after-{stage.name}.json"),
            read_json(workdir / f"captions-after-{stage.name}.json"),
        )
        for stage in before
        if stage.settings.speaks
    }
    rows = MetricsLog(workdir / "metrics.jsonl", sys.maxsize).rows
    report = workdir / "report.html"
    with whole(report) as draft:
        every = {**stages, last.name: found["val"]}
        every = said_before(recipe, found["val"], [*every]) | every
        own, images = run.validation.split, run.validation.images
        looks = looks_section(trained, own, images, found["val"])
        write_run_report(draft, recipe, rows, found, own, every, looks=looks)
    for name, evaluation in found.items():
        print(show(evaluation.scores, f"{name} of {recipe.data.name}"))
    if len(every) > 1:
        print("\n" + "\n".join(stage_lines({name: one.scores for name, one in every.items()})))
    print(f"\ncaptions, scores, report: {workdir}/captions.json, scores.json, {report.name}")
    print(f"\n{steps_told(next_steps(run, plan, trained.concepts))}")


def _add_many(run: Run, trained: Trained, found: Evaluation) -> None:
    """Ten captions, from noise ten times, of the first few images: into their rows, as `many`."""
    recipe = run.recipe
    images = run.validation.images[: recipe.report_images]
    if not len(images):
        return
    decoding = {
        "method": "sample",
        "max_len": recipe.decoding["max_len"],
        "samples": 10,
        "noise_law": recipe.noise_law,
        "forbid_unknown": recipe.decoding.get("forbid_unknown", False),
        "block_trigrams": recipe.decoding.get("block_trigrams", False),
    }
    spoken = speak_all(
        trained.speaker,
        trained.params,
        images,
        decoding,
        noise=recipe.noise,
        key=jax.random.key(1),
    )
    every = [words for batch, _ in spoken for words in batch]
    for row, words in zip(found.rows, every, strict=False):
        row["many"] = [trained.vocabulary.decode(w) for w in words]
