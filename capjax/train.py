"""`python -m capjax.train --config=configs/mle.py[:dataset] [--workdir=DIR] [--config.x=y]`."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from capjax.checkpoint import Checkpoints, check_folder, check_room
from capjax.data import check_name
from capjax.data.batches import caption_arrays
from capjax.data.prepare import Prepared, encoder_named, prepare
from capjax.data.resumable import only_process
from capjax.data.vocabulary import Vocabulary
from capjax.errors import InputError
from capjax.evaluate import show, write_evaluation
from capjax.evaluation import Evaluation, evaluate
from capjax.parallel import replicate
from capjax.run_report import write_run_report
from capjax.settings import check_settings
from capjax.speaking import check_decoding
from capjax.stages import STAGES, Interrupted, Setting, StopSignal, run_stage
from capjax.workdir import (
    MetricsLog,
    check_claim,
    image_kind,
    open_run,
    saved,
    speaker_of,
    whole,
    write_json,
)


def train(config: Mapping[str, Any], workdir: str | Path) -> dict[str, Any]:
    """Trains by a recipe in a folder, or goes on where a run in that folder was cut.

    Writes config.json, vocabulary.json, metrics.jsonl, checkpoints/, captions.json, scores.json and
    report.html. Started again after any kind of end, it ends with the same bits, on the same
    machine, as a run that was never cut.

    Args:
      config: as `get_config` of a file in configs/ makes it.
    Returns:
      The scores of the validation split.
    Raises:
      InputError: bad input, before any training time is spent.
      Interrupted: SIGTERM or SIGINT came; the state has been saved.
    """
    workdir = Path(workdir)
    check_settings(config, STAGES, jax.local_device_count())
    data = config["data"]
    check_folder(workdir)
    with only_process(workdir / "run"):
        ours = check_claim(workdir, config) and (workdir / "vocabulary.json").exists()
        check_name(data["name"])
        encoder = encoder_named(data["encoder"])
        # A run that has a checkpoint of its own needs nothing any more of where it started from.
        under_way = ours and saved(workdir, "last")
        start = open_run(config["init_from"]) if config["init_from"] and not under_way else None
        prepared = prepare(data["name"], data["path"] or None, data["cache"] or None, encoder)
        if ours:
            vocabulary = _own_vocabulary(workdir / "vocabulary.json")
        else:
            vocabulary = start.vocabulary if start else _vocabulary(prepared, data["min_count"])
        kind = image_kind(data["encoder"], prepared.images["train"].shape[1:])
        speaker = speaker_of(config, len(vocabulary), kind)
        like = jax.eval_shape(speaker.init, jax.random.key(0))
        if start:
            _check_start(config["init_from"], start.params, like)
        check_decoding(config["decoding"], speaker, like, prepared.images["val"], config["noise"])
        # Checkpoints hold the parameters, their average and two moments; three are there at once.
        check_room(workdir, like, copies=4 * 3 + 3)
        write_json(workdir / "config.json", config)
        with whole(workdir / "vocabulary.json") as draft:
            vocabulary.save(draft)

        def arrays(split: str) -> dict[str, jax.Array]:
            return caption_arrays(
                prepared.splits[split], prepared.images[split], vocabulary, data["max_len"]
            )

        checkpoints = workdir / "checkpoints"
        with (
            StopSignal() as stop,
            closing(Checkpoints(checkpoints / "last")) as last,
            closing(Checkpoints(checkpoints / "best")) as best,
        ):
            setting = Setting(
                config=config,
                workdir=workdir,
                speaker=speaker,
                vocabulary=vocabulary,
                image=kind,
                data=replicate(arrays("train")),
                split=prepared.splits["val"],
                images=prepared.images["val"],
                validation=arrays("val"),
                last=last,
                best=best,
                stop=stop,
            )
            params = start.params if start else None
            for index, name in enumerate(config["stages"]):
                params = run_stage(setting, index, name, params)
        return _finish(setting, prepared)


def _own_vocabulary(path: Path) -> Vocabulary:
    try:
        return Vocabulary.load(path)
    except InputError as error:
        raise InputError(f"{error}; delete the file, and it is made again") from error


def _vocabulary(prepared: Prepared, min_count: int) -> Vocabulary:
    texts = (text for texts in prepared.splits["train"].captions for text in texts)
    return Vocabulary.build(texts, min_count)


def _check_start(source: str, params: Any, like: Any) -> None:
    theirs, ours = (
        {jax.tree_util.keystr(path): x.shape for path, x in jax.tree.leaves_with_path(tree)}
        for tree in (params, like)
    )
    differ = [
        name for name in sorted(theirs.keys() | ours.keys()) if theirs.get(name) != ours.get(name)
    ]
    if differ:
        raise InputError(
            f"the speaker of {source} has {differ[0]} {theirs.get(differ[0])} where this recipe has"
            f" {ours.get(differ[0])}; give both the same cell, dim, noise, encoder and vocabulary"
        )


def _finish(setting: Setting, prepared: Prepared) -> dict[str, Any]:
    """Evaluates the best checkpoint, writes what a person looks at, and tells where it lies."""
    workdir, config = setting.workdir, setting.config
    run = open_run(workdir)
    found: dict[str, Evaluation] = {}
    known = {text for texts in prepared.splits["train"].captions for text in texts}
    for split in ("val", "test"):
        if split not in prepared.splits:
            continue
        found[split] = evaluate(
            run.speaker,
            run.params,
            run.vocabulary,
            prepared.splits[split],
            prepared.images[split],
            config["decoding"],
            noise=config["noise"],
            progress=True,
            held_out=True,
            known=known,
        )
        about = {"run": workdir.resolve().name, "dataset": config["data"]["name"], "split": split}
        found[split] = Evaluation(
            about | {"step": run.step} | found[split].scores, found[split].rows
        )
        write_evaluation(workdir, "" if split == "val" else f"-{split}", found[split])
    rows = MetricsLog(workdir / "metrics.jsonl", sys.maxsize).rows
    report = workdir / "report.html"
    with whole(report) as draft:
        write_run_report(draft, config, rows, found, setting.split)
    for split, evaluation in found.items():
        print(show(evaluation.scores, f"{split} of {config['data']['name']}"))
    print(f"captions, scores, report: {workdir}/captions.json, scores.json, {report.name}")
    return found["val"].scores


_CONFIG = config_flags.DEFINE_config_file("config", None, "the recipe", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "the run's folder; default runs/RECIPE-DATASET")


def main(argv: Sequence[str]) -> None:
    logging.set_verbosity(logging.FATAL)  # orbax tells every step, and what is raised anyway
    try:
        if len(argv) > 1:
            raise InputError(f"{argv[1]!r} is no flag; settings are given as --config.x=y")
        try:
            config = _CONFIG.value.to_dict()
        except OSError as error:  # where --config names no file, this is when it is told
            told = " ".join(str(error).split()).partition("Attempted ")[2]
            raise InputError(f"the recipe of --config cannot be loaded: {told or error}") from error
        config["stages"] = list(config["stages"])
        workdir = _WORKDIR.value or f"runs/{config['recipe']}-{config['data']['name']}"
        train(config, workdir)
    except InputError as error:
        sys.exit(_tell(error, 2))
    except Interrupted as error:
        sys.exit(_tell(error, 0))


def _parse(argv: Sequence[str]) -> list[str]:
    """Reads the flags; the recipe is read with them."""
    try:
        return flags.FLAGS(argv)
    except AttributeError as error:
        name = str(error).strip("\"'")
        sys.exit(_tell(f"the recipe has no setting {name!r}; the file of --config names them", 2))
    except (flags.Error, OSError, ImportError, SyntaxError, TypeError, ValueError) as error:
        sys.exit(_tell(" ".join(str(error).split()), 2))


def _tell(error: Exception | str, status: int) -> int:
    print(f"capjax: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main, flags_parser=_parse)
