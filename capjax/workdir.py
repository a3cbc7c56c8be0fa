"""A run's folder: what is in it, whose it is, and a trained speaker out of it."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from capjax.checkpoint import Checkpoints
from capjax.data.vocabulary import Vocabulary
from capjax.errors import InputError
from capjax.models.generator import generator
from capjax.speaker import Params, Speaker

# Settings that do not change what a run computes: a run may go on with others.
FREE = ("data.path", "data.cache", "log_every", "save_every", "report_images")


class Trained(NamedTuple):
    """A speaker out of a run's folder, ready to speak."""

    config: dict[str, Any]
    vocabulary: Vocabulary
    speaker: Speaker
    params: Params
    step: int


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file whole or not at all."""
    draft = path.with_name(path.name + ".new")
    try:
        draft.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
        os.replace(draft, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; make room for it") from error


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{path.parent} holds no {path.name}: give the folder of a run that has been trained"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); restore it or start anew") from error


def check_claim(workdir: Path, config: Mapping[str, Any]) -> None:
    """Checks that a folder is new or belongs to a run of this recipe with these settings.

    Raises:
      InputError: it belongs to a run with other settings (the first few are named).
    """
    path = workdir / "config.json"
    if not path.exists():
        return
    theirs, ours = _flat(read_json(path)), _flat(json.loads(json.dumps(config)))
    differ = [
        f"{name} is {theirs.get(name)!r} there and {ours.get(name)!r} here"
        for name in sorted(theirs.keys() | ours.keys())
        if theirs.get(name) != ours.get(name) and name not in FREE
    ]
    if differ:
        more = f" ({len(differ) - 3} more differ)" if len(differ) > 3 else ""
        raise InputError(
            f"{workdir} belongs to another run: {'; '.join(differ[:3])}{more};"
            " choose another --workdir, or the settings of that run"
        )


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def speaker_of(config: Mapping[str, Any], vocab_size: int, image: tuple) -> Speaker:
    """The speaker that a configuration describes.

    Raises:
      InputError: its settings do not fit one another or the images.
    """
    names = ("cell", "dim", "noise", "dropout")
    try:
        return generator(vocab_size, image, **{name: config[name] for name in names})
    except ValueError as error:
        raise InputError(f"the captioner cannot be made: {error}") from error


def image_kind(encoder: str, shape: Iterable[int]) -> tuple:
    """What the generator is told of images: from the encoder's name and the shape of one output."""
    shape = tuple(int(s) for s in shape)
    if encoder.startswith("pixels"):
        return ("pixels", *shape[:2])
    return ("features", *shape) if len(shape) == 1 else ("regions", *shape)


def open_run(workdir: str | Path) -> Trained:
    """The trained speaker of a run: the best by validation, else the newest there is.

    Raises:
      InputError: the folder holds no run, or none of its checkpoints can be read.
    """
    workdir = Path(workdir)
    if not workdir.is_dir():
        raise InputError(f"there is no folder {workdir}; give the --workdir of a training run")
    config = read_json(workdir / "config.json")
    folder = workdir / "checkpoints" / "best"
    if not folder.is_dir():
        raise InputError(
            f"{workdir} has no checkpoint yet; run capjax.train with it until a first validation"
        )
    vocabulary = Vocabulary.load(workdir / "vocabulary.json")
    made: dict[str, Speaker] = {}

    def like(note):
        made["speaker"] = speaker_of(config, len(vocabulary), tuple(note["image"]))
        return {"params": jax.eval_shape(made["speaker"].init, jax.random.key(0))}

    found = Checkpoints(folder, keep=1).restore(like)
    if found is None:
        raise InputError(
            f"{workdir} has no checkpoint yet; run capjax.train with it until a first validation"
        )
    step, state, _ = found
    return Trained(config, vocabulary, made["speaker"], state["params"], step)


class MetricsLog:
    """`metrics.jsonl`: a JSON object a line, each with its `step`."""

    def __init__(self, path: Path, step: int):
        """Opens the file to go on after `step`: later rows, of a run that was cut, are dropped."""
        self.path = path
        self.rows: list[dict] = []
        if path.exists():
            for line in path.read_text("utf-8").splitlines():
                try:
                    row = json.loads(line)
                except ValueError:
                    break  # the line being written when the run was cut
                if row["step"] <= step:
                    self.rows.append(row)
        draft = path.with_name(path.name + ".new")
        draft.write_text("".join(json.dumps(row) + "\n" for row in self.rows), "utf-8")
        os.replace(draft, path)

    def add(self, row: Mapping[str, Any]) -> None:
        self.rows.append(dict(row))
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.rows[-1]) + "\n")
        except OSError as error:
            raise InputError(
                f"cannot write {self.path}: {error.strerror}; make room and run it again"
            ) from error
