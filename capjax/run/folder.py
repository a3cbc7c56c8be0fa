"""A run's folder: what is in it, whose it is, and a trained speaker out of it."""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from capjax.data.vocabulary import Vocabulary
from capjax.errors import InputError
from capjax.files.whole import read_json, whole
from capjax.judging import Evaluator
from capjax.models.evaluator import evaluator
from capjax.models.generator import generator
from capjax.models.listener import listener
from capjax.run.checkpoint import Checkpoints
from capjax.run.settings import flat
from capjax.speaker import Params, Speaker

# Settings that do not change what a run computes: a run may go on with others.
FREE = ("data.path", "data.cache", "data.resident", "log_every", "save_every", "report_images")

# Folders: runs of older versions named them as seen from where they were started.
PLACES = ("init_from", "contrastive.reference", "data.encoder")

# What runs did that are older than the setting.
BEFORE: dict[str, Any] = {
    "dtype": "float32",
    "input_dropout": 0.0,
    "decoding.forbid_unknown": False,
    "mle.decoding.forbid_unknown": False,
    "evaluator.decoding.forbid_unknown": False,
    "listener.decoding.forbid_unknown": False,
}


class Trained(NamedTuple):
    """A speaker out of a run's folder, ready to speak."""

    config: dict[str, Any]
    vocabulary: Vocabulary
    speaker: Speaker
    params: Params
    step: int
    evaluator: Evaluator | None = None  # the evaluator that the run trained, where it did
    evaluator_params: Params | None = None
    concepts: tuple[str, ...] = ()  # the classes that the speaker is told, by name

    @property
    def judge(self) -> tuple[Evaluator, Params] | None:
        """The evaluator and its parameters, for decoding that asks it."""
        return (self.evaluator, self.evaluator_params) if self.evaluator else None


def read_config(workdir: Path) -> dict[str, Any]:
    """The settings of a run. Raises InputError where there are none or they are damaged."""
    config = read_json(workdir / "config.json")
    wanted = ("data", "decoding", "cell", "dim", "noise", "dropout")
    if not isinstance(config, dict) or (lacks := [name for name in wanted if name not in config]):
        what = f"lacks {', '.join(lacks)}" if isinstance(config, dict) else "holds no settings"
        raise InputError(f"{workdir / 'config.json'} {what}; restore it or start anew")
    return config


def saved(workdir: Path, kind: str = "*") -> bool:
    """Whether there is a checkpoint, of the kind "last" or "best*" or of any."""
    return any(found.name.isdigit() for found in (workdir / "checkpoints").glob(f"{kind}/*"))


def check_claim(workdir: Path, config: Mapping[str, Any], free: Collection[str] = FREE) -> bool:
    """Checks that a folder is free or belongs to a run of this recipe with these settings.

    A folder without a checkpoint is free: what came of a first try there is begun anew anyway.

    Args:
      free: settings that may be others.
    Returns:
      Whether it is such a run's.
    Raises:
      InputError: it belongs to a run with other settings (the first few are named).
    """
    if not saved(workdir):
        return False
    theirs = BEFORE | flat(read_config(workdir))
    ours = BEFORE | flat(json.loads(json.dumps(config)))
    differ = [
        f"{name} is {theirs.get(name)!r} there and {ours.get(name)!r} here"
        for name in sorted(theirs.keys() | ours.keys())
        if theirs.get(name) != ours.get(name)
        and name not in free
        and not (name in PLACES and one_place(theirs.get(name), ours.get(name)))
    ]
    if differ:
        more = f" ({len(differ) - 3} more differ)" if len(differ) > 3 else ""
        raise InputError(
            f"{workdir} belongs to another run: {'; '.join(differ[:3])}{more};"
            " choose another --workdir, or the settings of that run"
        )
    return True


def one_place(relative: Any, absolute: Any) -> bool:
    """Whether an absolute folder may be what a run called by a relative name."""
    if not (isinstance(relative, str) and isinstance(absolute, str) and relative):
        return False
    kinds = [name.partition(":")[0] if ":" in name else "" for name in (relative, absolute)]
    names = [name.rpartition(":")[2] for name in (relative, absolute)]
    if kinds[0] != kinds[1] or os.path.isabs(names[0]):
        return False
    parts = [part for part in Path(os.path.normpath(names[0])).parts if part not in ("..", ".")]
    return list(Path(os.path.normpath(names[1])).parts[-len(parts) :]) == parts if parts else True


def speaker_of(
    config: Mapping[str, Any], vocab_size: int, image: tuple, concepts: int = 0
) -> Speaker:
    """The speaker that a configuration describes.

    Args:
      concepts: how many classes it is told one of.
    Raises:
      InputError: its settings do not fit one another or the images.
    """
    config = BEFORE | dict(config)
    names = ("cell", "dim", "noise", "dropout", "input_dropout", "dtype")
    settings = {name: config[name] for name in names} | {"concepts": concepts}
    try:
        return generator(vocab_size, image, **settings)
    except ValueError as error:
        raise InputError(f"the captioner cannot be made: {error}") from error


JUDGES = {"evaluator": evaluator, "listener": listener}
JUDGED = ("evaluator", "adversarial")  # stages that train an evaluator


def judge_kind(config: Mapping[str, Any]) -> str:
    """Which of JUDGES a recipe has beside its speaker: as it says, or as its stages need; or ""."""
    needed = "evaluator" if set(JUDGED) & set(config.get("stages", ())) else ""
    return config.get("judge", needed)


def evaluator_of(config: Mapping[str, Any], vocab_size: int, image: tuple) -> Evaluator | None:
    """The evaluator or listener that a configuration describes; None where it has none.

    Raises:
      InputError: its settings do not fit one another or the images.
    """
    kind = judge_kind(config)
    if not kind:
        return None
    dim, dropout = config["evaluator_dim"], config["evaluator_dropout"]
    dtype = (BEFORE | dict(config))["dtype"]
    try:
        return JUDGES[kind](vocab_size, image, dim=dim, dropout=dropout, dtype=dtype)
    except ValueError as error:
        raise InputError(f"the {kind} cannot be made: {error}") from error


def best_folder(workdir: Path, stages: Sequence[str], stage: str) -> Path:
    """Where the best checkpoint of a stage lies: the last stage's in `best`, as what is spoken."""
    name = "best" if stage == stages[-1] else f"best-{stage}"
    return workdir / "checkpoints" / name


def image_kind(encoder: str, shape: Iterable[int]) -> tuple:
    """What the generator is told of images: from the encoder's name and the shape of one output."""
    shape = tuple(int(s) for s in shape)
    if encoder.startswith("pixels"):
        return ("pixels", *shape[:2])
    return ("features", *shape) if len(shape) == 1 else ("regions", *shape)


def open_run(workdir: str | Path, stage: str | None = None) -> Trained:
    """The trained speaker of a run, the best by validation, and its evaluator if it has one.

    Args:
      stage: after which of its stages; None: after the last that has got so far.
    Raises:
      InputError: the folder holds no run, or none of its checkpoints can be read.
    """
    workdir = Path(workdir)
    if not workdir.is_dir():
        raise InputError(f"there is no folder {workdir}; give the folder of a training run")
    config = read_config(workdir)
    stages = config.get("stages") or ["mle"]
    if stage is not None and stage not in stages:
        raise InputError(f"the run in {workdir} has no stage {stage!r}; it has {', '.join(stages)}")
    wanted = [stage] if stage else list(reversed(stages))
    folders = [best_folder(workdir, stages, name) for name in wanted]
    folder = next((f for f in folders if saved(workdir, f.name)), None)
    if folder is None:
        after = f" of stage {stage}" if stage else ""
        raise InputError(
            f"{workdir} has no checkpoint{after} yet;"
            " run capjax.train with it until a first validation"
        )
    vocabulary = Vocabulary.load(workdir / "vocabulary.json")
    concepts = read_json(workdir / "concepts.json") if config.get("concepts") else []
    made: dict[str, Any] = {"evaluator": None}

    def like(note):
        image = tuple(note["image"])
        made["speaker"] = speaker_of(config, len(vocabulary), image, len(concepts))
        form = {"params": jax.eval_shape(made["speaker"].init, jax.random.key(0))}
        if note.get("evaluator"):
            made["evaluator"] = evaluator_of(config, len(vocabulary), image)
            form["evaluator"] = jax.eval_shape(made["evaluator"].init, jax.random.key(0))
        return form

    with contextlib.closing(Checkpoints(folder, keep=None)) as best:
        found = best.restore(like)
    assert found is not None  # a checkpoint was seen above
    step, state, _ = found
    return Trained(
        config,
        vocabulary,
        made["speaker"],
        state["params"],
        step,
        made["evaluator"],
        state.get("evaluator"),
        tuple(concepts),
    )


def check_classes(where: str, theirs: Sequence[str], ours: Sequence[str]) -> None:
    """Raises InputError where a run is told other classes than the dataset or a recipe has."""
    if tuple(theirs) != tuple(ours):
        told = [f"{len(names)} classes" if names else "none" for names in (theirs, ours)]
        raise InputError(
            f"the run in {where} is told {told[0]}, and not the same as here ({told[1]}): the names"
            " or their order differ; take the dataset that it was trained on, or train anew"
        )


def fingerprint(params: Params) -> str:
    """Eight hexadecimal digits that tell parameters from others, wherever they lie."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:8]


class MetricsLog:
    """`metrics.jsonl`: a JSON object a line, each with its `step`."""

    def __init__(self, path: Path, step: int):
        """Opens the file to go on after `step`: later rows, of a run that was cut, are dropped."""
        self.path = path
        self.rows: list[dict] = []
        lines = path.read_text("utf-8", "replace").split("\n") if path.exists() else [""]
        last = lines.pop()  # the line that was being written when the run was cut
        if _row(last):
            lines.append(last)
        for number, line in enumerate(lines, 1):
            row = _row(line)
            if row is None:
                print(f"capjax: line {number} of {path} is damaged and left out", file=sys.stderr)
            elif row["step"] <= step:
                self.rows.append(row)
        if last or len(self.rows) < len(lines):
            with whole(path) as draft:
                draft.write_text("".join(json.dumps(row) + "\n" for row in self.rows), "utf-8")

    def add(self, row: Mapping[str, Any]) -> None:
        self.rows.append(dict(row))
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.rows[-1]) + "\n")
        except OSError as error:
            raise InputError(
                f"cannot write {self.path}: {error.strerror}; make room and run it again"
            ) from error


def _row(line: str) -> dict | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
