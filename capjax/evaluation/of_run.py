"""What are a run's captions of a split worth? From its folder to the files of the evaluation."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from capjax.data.prepare import Prepared, form_of
from capjax.decoding.speaking import decoding_of, spell
from capjax.errors import named
from capjax.evaluation.data import RunData, data_of
from capjax.evaluation.judge_runs import judge_of, open_judges
from capjax.evaluation.of_speaker import Answer, Captioner, check_retrieval, evaluate
from capjax.evaluation.request import RunRequest
from capjax.evaluation.text_measures import Evaluation
from capjax.evaluation.verdicts import Judge
from capjax.evaluation.written import Written, mark_beside, mark_of, write_evaluation
from capjax.files.places import place, resolved
from capjax.metrics.official import QUICK
from capjax.parallel import by_first
from capjax.run import Trained, check_classes, open_run
from capjax.run.checkpoint import check_folder

DRAWN = ("sample", "best_of", "guided")  # methods whose captions depend on the seed


def of_run(request: RunRequest) -> Written:
    """Evaluates a run's captions of a split, and writes the evaluation.

    Args:
      request: what `capjax.evaluate --workdir` reads out of its flags.
    Returns:
      Written: the evaluation (`measure`), its title, and the files that it lies in.
    Raises:
      InputError: what is asked for does not fit the run or its data.
    """
    workdir, split, seed = request.workdir, request.split, request.seed
    with named("--workdir", workdir):
        run = open_run(workdir)
    judges = open_judges(request.judges)
    decoding = decoding_of(request.question.own_decoding(run.recipe), **request.decoding)
    folder = place(request.out)
    by_first(lambda: check_folder(folder, "--out"))
    # What can be refused is, before images are encoded, which may take hours.
    data = data_of(run, workdir, split, request.places)
    _check(data, decoding, request.retrieval)
    question = request.question.checked(data, decoding)
    judges = [judge.beside(data, question) for judge in judges]
    seen = data.encoded()
    question = question.with_images(seen, decoding)
    seen = question.asked(seen)
    found = evaluate_run(
        run,
        resolved(workdir).name,
        seen.prepared,
        split,
        decoding,
        seed=seed,
        answer=question.answer(seen, decoding, seed),
        judges={judge.name: judge.judge(data, question) for judge in judges},
        retrieval=request.retrieval,
        metrics=request.metrics,
    )
    found = question.finished(seen, found)
    drawn = decoding["method"] in DRAWN or decoding.get("noise_law", "zero") != "zero"
    about = seen.about
    if judges:
        about["judges"] = {judge.name: judge.about for judge in judges}
    if drawn:
        about["seed"] = seed
    found = _with(found, about, [*seen.notes, *question.notes])
    mark = mark_of(split, decoding, run.recipe.decoding, seed, f"{seen.mark}{question.mark}")

    def write() -> tuple[Path, ...]:
        own = resolved(folder) == resolved(workdir)
        beside = mark_beside(folder, mark, found, own)
        paths = write_evaluation(folder, beside, found)
        return (*paths, *question.write(folder, beside, seen, decoding))

    title = ", ".join(filter(None, [f"{split} of {data.name}", spell(decoding), question.title]))
    return Written(found, title, by_first(write))


def _check(data: RunData, decoding: Mapping[str, Any], retrieval: int) -> None:
    """Raises InputError where a run does not fit the data, or cannot speak or be judged so."""
    run, split = data.run, data.split
    if run.concepts:
        check_classes(data.workdir, run.concepts, data.dataset.concepts)
    _captioner(run).check(decoding, form_of(data.encoder, split))
    check_retrieval(retrieval, len(split.ids))


def _captioner(run: Trained) -> Captioner:
    noise, concepts = run.recipe.noise, bool(run.concepts)
    return Captioner(run.speaker, run.params, run.vocabulary, noise, run.judge, concepts)


def _with(found: Evaluation, about: Mapping[str, Any], notes: Sequence[str]) -> Evaluation:
    """With what the scores are of before them, and notes before theirs."""
    scores = dict(found.scores)
    if said := [*notes, *scores.pop("notes", ())]:
        scores["notes"] = said
    return Evaluation({**about, **scores}, found.rows)


def evaluate_run(
    run: Trained,
    name: str,
    prepared: Prepared,
    split: str,
    decoding: Mapping[str, Any],
    *,
    seed: int = 0,
    answer: Answer | None = None,
    judges: Mapping[str, Judge] | None = None,
    retrieval: int = 0,
    metrics: Collection[str] = QUICK,
) -> Evaluation:
    """Evaluates what a run speaks of a split, with all that it has: noise, evaluator, E-GAN by it.

    Args:
      name: of the run, for the tables.
      judges: others than its own evaluator or listener, which judges its captions, too.
      seed, answer, retrieval, metrics: as of `evaluate`.
    """
    own: dict[str, Judge] = {}
    if run.evaluator and not (answer and answer.asked_own):
        judge = judge_of(run)
        own["own_listener" if judge.picks else "e_gan"] = judge
    found = evaluate(
        _captioner(run),
        prepared.splits[split],
        prepared.images[split],
        decoding,
        seed=seed,
        answer=answer,
        judges={**(judges or {}), **own},
        retrieval=retrieval,
        progress=True,
        metrics=metrics,
        held_out=True,
        known={text for texts in prepared.splits["train"].captions for text in texts},
    )
    if split in prepared.contents:
        found.scores["digests"]["images"] = prepared.contents[split].images
    about = {"run": name, "dataset": run.recipe.data.name, "split": split, "step": run.step}
    return Evaluation(about | found.scores, found.rows)
