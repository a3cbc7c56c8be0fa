"""Training by a recipe in a folder, from its data to its report."""

import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import jax

from capjax.data import CLASSED, Dataset, check_name, load
from capjax.data.batches import caption_arrays
from capjax.data.features import Encoder
from capjax.data.prepare import Prepared, form_of, prepare
from capjax.data.resumable import only_process
from capjax.data.tokens import tokenize
from capjax.data.vocabulary import Vocabulary
from capjax.data.word_notes import word_notes
from capjax.decoding.speaking import check_decoding, speak_all
from capjax.errors import InputError, named
from capjax.evaluation import Evaluation, evaluate_run, show, write_evaluation
from capjax.files.paths import check_path, check_text
from capjax.files.whole import read_json, whole, write_json
from capjax.models.encoders import encoder_named
from capjax.parallel.devices import replicate
from capjax.run.checkpoint import Checkpoints, check_folder, check_room
from capjax.run.data import as_begun, by_contents, check_training_data, record, with_places
from capjax.run.folder import (
    FREE,
    MetricsLog,
    Trained,
    check_claim,
    check_classes,
    evaluator_of,
    image_kind,
    judge_kind,
    open_run,
    saved,
    speaker_of,
)
from capjax.run.settings import check_settings
from capjax.training.loop import StopSignal, run_stage
from capjax.training.report import write_run_report
from capjax.training.stage_setting import Learnt, Setting, decoding_after
from capjax.training.stages import STAGES, TELL_APART
from capjax.training.start import check_encoder, check_judge, check_start, reference_of, with_noise
from capjax.training.where_looked import looks_section


def train(config: Mapping[str, Any], workdir: str | Path) -> dict[str, Any]:
    """Trains by a recipe in a folder, or goes on where a run in that folder was cut.

    Writes config.json, data.json, vocabulary.json, metrics.jsonl, checkpoints/, captions.json,
    scores.json and report.html. Started again after any kind of end, it ends with the same bits, on
    the same machine, as a run that was never cut. Folders among the settings are made absolute, and
    data.json tells what the dataset holds: a run goes on with the same data, wherever they lie.

    Args:
      config: as `get_config` of a file in configs/ makes it.
    Returns:
      The scores of the validation split.
    Raises:
      InputError: bad input, before any training time is spent.
      Interrupted: SIGTERM or SIGINT came; the state has been saved.
    """
    workdir, config = Path(workdir), with_places(config)
    check_settings(config, STAGES, jax.local_device_count())
    data = config["data"]
    check_text(f"--workdir={workdir}", workdir)
    check_folder(workdir)
    if cache := data["cache"]:
        check_path("--config.data.cache", cache, "new")
        check_text(f"--config.data.cache={cache}", cache)
    with only_process(workdir / "run"):
        config = as_begun(workdir, config)
        begun = check_claim(workdir, config, {*FREE, *by_contents(workdir, config)})
        ours = begun and (workdir / "vocabulary.json").exists()
        check_name(data["name"])
        encoder = encoder_named(data["encoder"])
        # A run that has a checkpoint of its own needs nothing any more of where it started from.
        under_way = ours and saved(workdir, "last")
        start = None
        if config["init_from"] and not under_way:
            with named("--config.init_from", config["init_from"]):
                start = open_run(config["init_from"])
        if config.get("concepts") and data["name"] not in CLASSED:
            raise InputError(
                f"config.concepts=True, and the images of {data['name']} have no classes; take"
                f" {' or '.join(CLASSED)}"
            )
        # What can be refused is, before images are encoded, which may take hours.
        dataset = load(data["name"], data["path"] or None, data["cache"] or None)
        if ours:
            vocabulary = _own_vocabulary(workdir / "vocabulary.json")
        else:
            for note in _word_notes(dataset):
                print(f"capjax: {note}", file=sys.stderr)
            vocabulary = start.vocabulary if start else _vocabulary(dataset, data["min_count"])
        form = form_of(encoder, dataset.splits["train"])
        kind = image_kind(data["encoder"], form.shape[1:])
        concepts = dataset.concepts if config.get("concepts") else ()
        if ours and concepts:
            check_classes(str(workdir), read_json(workdir / "concepts.json"), concepts)
        if start:
            check_classes(config["init_from"], start.concepts, concepts)
        speaker = speaker_of(config, len(vocabulary), kind, len(concepts))
        evaluator = evaluator_of(config, len(vocabulary), kind)
        apart = [name for name in config["stages"] if name in TELL_APART]
        if apart and len(dataset.splits["train"].ids) < 2:
            raise InputError(
                f"the training split of {data['name']} has one image, and stage {apart[0]} learns"
                " from other images or their captions; give it two images or more, or take"
                " configs/mle.py"
            )
        like = jax.eval_shape(speaker.init, jax.random.key(0))
        judged = jax.eval_shape(evaluator.init, jax.random.key(0)) if evaluator else None
        if start:
            check_judge(config, start)
        if start:
            start = with_noise(start, config, speaker)
            check_start(config["init_from"], start.params, like)
            check_encoder(config, start)
            if start.evaluator and judge_kind(start.config) == judge_kind(config):
                check_start(config["init_from"], start.evaluator_params, judged, "evaluator")
        reference = reference_of(config, vocabulary)
        for name in config["stages"]:
            check_decoding(
                decoding_after(config, config[name]),
                speaker,
                like,
                form,
                config["noise"],
                judge=(evaluator, judged) if evaluator else None,
                concepts=bool(concepts),
            )

        def check(found: Prepared) -> None:
            if begun:
                check_training_data(workdir, config, found, vocabulary)

        prepared = prepare(
            data["name"],
            data["path"] or None,
            data["cache"] or None,
            encoder,
            dataset=dataset,
            check=check,
        )
        check(prepared)
        if not isinstance(encoder, Encoder):  # are those of another run the same?
            if start:
                check_encoder(config, start, prepared)
            reference_of(config, vocabulary, prepared)
        # Checkpoints hold the parameters, their average and two moments; three are there at once.
        check_room(workdir, (like, judged), copies=4 * 3 + 3)
        write_json(workdir / "config.json", config)
        record(workdir, config, prepared)
        if concepts:
            write_json(workdir / "concepts.json", concepts)
        with whole(workdir / "vocabulary.json") as draft:
            vocabulary.save(draft)

        def arrays(split: str) -> dict[str, jax.Array]:
            return caption_arrays(prepared.splits[split], vocabulary, data["max_len"])

        pictures = prepared.images["train"]
        kept = pictures.nbytes <= data["resident"] * 2**20

        checkpoints = workdir / "checkpoints"
        with (
            StopSignal() as stop,
            closing(Checkpoints(checkpoints / "last")) as last,
        ):
            setting = Setting(
                config=config,
                workdir=workdir,
                speaker=speaker,
                evaluator=evaluator,
                vocabulary=vocabulary,
                image=kind,
                training=prepared.splits["train"],
                pictures=pictures,
                data=replicate(arrays("train") | ({"image": pictures} if kept else {})),
                split=prepared.splits["val"],
                images=prepared.images["val"],
                validation=arrays("val"),
                last=last,
                reference=reference,
            )
            there: Learnt | None = Learnt()
            if start:
                same = judge_kind(start.config) == judge_kind(config)
                there = Learnt(start.params, start.evaluator_params if same else None)
            for index, name in enumerate(config["stages"]):
                there = run_stage(setting, stop, index, name, there)
                if there is not None and name != config["stages"][-1]:
                    _keep_captions(setting, prepared, name)
        return _finish(setting, prepared)


def _own_vocabulary(path: Path) -> Vocabulary:
    try:
        return Vocabulary.load(path)
    except InputError as error:
        raise InputError(f"{error}; delete the file, and it is made again") from error


def _word_notes(dataset: Dataset) -> list[str]:
    splits = dataset.splits.values()
    texts = (text for split in splits for every in split.captions for text in every)
    return word_notes((text, tokenize(text)) for text in texts)


def _vocabulary(dataset: Dataset, min_count: int) -> Vocabulary:
    texts = (text for texts in dataset.splits["train"].captions for text in texts)
    return Vocabulary.build(texts, min_count)


def _evaluate(
    setting: Setting, prepared: Prepared, run: Trained, split: str, stage: str
) -> Evaluation:
    """Evaluates what a run speaks after a stage."""
    decoding = decoding_after(setting.config, setting.config[stage])
    return evaluate_run(run, setting.workdir.resolve().name, prepared, split, decoding)


def _keep_captions(setting: Setting, prepared: Prepared, stage: str) -> None:
    """Writes what the speaker says of the validation split after a stage that others follow."""
    run = open_run(setting.workdir, stage)
    found = _evaluate(setting, prepared, run, "val", stage)
    write_evaluation(setting.workdir, f"-after-{stage}", found)


def _finish(setting: Setting, prepared: Prepared) -> dict[str, Any]:
    """Evaluates the best checkpoint, writes what a person looks at, and tells where it lies."""
    workdir, config = setting.workdir, setting.config
    *before, last = config["stages"]
    run = open_run(workdir, last)
    found: dict[str, Evaluation] = {}
    for split in ("val", "test"):
        if split not in prepared.splits:
            continue
        found[split] = _evaluate(setting, prepared, run, split, last)
        write_evaluation(workdir, "" if split == "val" else f"-{split}", found[split])
    if config["noise"]:
        _add_many(setting, run, found["val"])
    stages = {
        name: Evaluation(
            read_json(workdir / f"scores-after-{name}.json"),
            read_json(workdir / f"captions-after-{name}.json"),
        )
        for name in before
    }
    rows = MetricsLog(workdir / "metrics.jsonl", sys.maxsize).rows
    report = workdir / "report.html"
    with whole(report) as draft:
        every = {**stages, last: found["val"]} if stages else None
        looks = looks_section(run, setting.split, setting.images, found["val"])
        write_run_report(draft, config, rows, found, setting.split, stages=every, looks=looks)
    for name, evaluation in stages.items():
        print(show(evaluation.scores, f"val of {config['data']['name']} after {name}"))
    for split, evaluation in found.items():
        print(show(evaluation.scores, f"{split} of {config['data']['name']}"))
    print(f"captions, scores, report: {workdir}/captions.json, scores.json, {report.name}")
    return found["val"].scores


def _add_many(setting: Setting, run: Trained, found: Evaluation) -> None:
    """Ten captions, from noise ten times, of the first few images: into their rows, as `many`."""
    config = setting.config
    images = setting.images[: config["report_images"]]
    if not len(images):
        return
    decoding = {
        "method": "sample",
        "max_len": config["decoding"]["max_len"],
        "samples": 10,
        "noise_law": config["noise_law"],
        "forbid_unknown": config["decoding"].get("forbid_unknown", False),
    }
    said = speak_all(
        run.speaker, run.params, images, decoding, noise=config["noise"], key=jax.random.key(1)
    )
    every = [words for batch, _ in said for words in batch]
    for row, words in zip(found.rows, every, strict=False):
        row["many"] = [run.vocabulary.decode(w) for w in words]
