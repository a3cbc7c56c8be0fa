"""A recipe: the settings of a run, read once and checked where they are made."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from capjax.data.feature_files import PREFIX
from capjax.decoding.noise import LAWS, Noise
from capjax.decoding.speaking import RANGES
from capjax.errors import InputError
from capjax.files.places import place, stored
from capjax.models.dense import DTYPES
from capjax.models.image_kind import SIGHTS
from capjax.models.paragraphs import LOOKS
from capjax.settings import (
    BELOW_1,
    FROM_0,
    FROM_1,
    OneOf,
    Range,
    check,
    check_names,
    flat,
    read,
)

# What runs did that are older than the setting.
BEFORE: dict[str, Any] = {
    "dtype": "float32",
    "input_dropout": 0.0,
    "sight": "convnet",
    "mle.accumulate": 1,
    "mle.stop_weight": 1.0,
    "contrastive.accumulate": 1,
    "self_critical.accumulate": 1,
    "evaluator.accumulate": 1,
    "adversarial.accumulate": 1,
    "evaluator.mined": 0,
    "adversarial.mined": 0,
    "adversarial.feedback": "word",
    "evaluator.swapped": 0.0,
    "adversarial.swapped": 0.0,
    "evaluator.left_out": 0.0,
    "adversarial.left_out": 0.0,
    "decoding.forbid_unknown": False,
    "mle.decoding.forbid_unknown": False,
    "evaluator.decoding.forbid_unknown": False,
    "listener.decoding.forbid_unknown": False,
    "decoding.block_trigrams": False,
    "mle.decoding.block_trigrams": False,
    "evaluator.decoding.block_trigrams": False,
    "listener.decoding.block_trigrams": False,
}
JUDGED = ("evaluator", "adversarial")  # stages that train an evaluator
DECODING: dict[str, Range | OneOf] = {**RANGES, "noise_law": OneOf(LAWS)}
SEED = Range(lambda x: 0 <= x < 2**32, "from 0 to 2**32 - 1")


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which images and captions a run sees, and how."""

    name: str
    path: str = ""
    cache: str = ""
    encoder: str
    resident: Annotated[float, FROM_0] = 1024  # MB of images that the device keeps
    min_count: Annotated[int, FROM_1] = 5
    max_len: Annotated[int, FROM_1]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a run; those of its stages are read by each stage (`training.stages`)."""

    recipe: str = ""
    seed: Annotated[int, SEED] = 0
    init_from: str = ""
    stages: tuple[str, ...] = ("mle",)
    data: Data
    cell: str
    dim: Annotated[int, FROM_1]
    dtype: Annotated[str, OneOf(DTYPES)] = "float32"
    noise: Annotated[int, FROM_0]
    noise_law: Annotated[str, OneOf(LAWS)] = "uniform"
    dropout: Annotated[float, BELOW_1]
    input_dropout: Annotated[float, BELOW_1] = 0.0
    sight: Annotated[str, OneOf(SIGHTS)] = "convnet"  # what looks at pixels
    sentences: Annotated[int, FROM_1] = 6  # that cell "paragraph" plans; of `paragraph_generator`,
    look: Annotated[str, OneOf(LOOKS)] = "pool"  # as these three are
    noise_parts: Annotated[int, FROM_1] = 1
    hears: bool = False
    concepts: bool = False
    judge: Annotated[str | None, OneOf(("", "evaluator", "listener"))] = None
    evaluator_dim: Annotated[int, FROM_1] = 512
    evaluator_dropout: Annotated[float, BELOW_1] = 0.0
    decoding: Mapping[str, Any]  # how captions are spoken, as of `speak_all`
    validate_every: Annotated[int, FROM_0] = 0
    save_every: Annotated[int, FROM_1] = 300
    log_every: Annotated[int, FROM_1] = 20
    report_images: Annotated[int, FROM_0] = 30
    parallel: Annotated[str, OneOf(("pmap", "shard_map"))] = "pmap"
    given: Mapping[str, Any] = field(repr=False)  # as they are written to config.json

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Recipe":
        """Out of nested settings, as of a file in configs/ or of a run's config.json.

        Raises:
          InputError: one is missing or not what it may be, naming it.
        """
        stages = given.get("stages") or ("mle",)
        if not isinstance(stages, Sequence):
            raise InputError(f"config.stages={stages!r} must be names of stages")
        return read(cls, {**given, "stages": tuple(stages), "given": given}, "config.")

    @property
    def judged_by(self) -> str:
        """What judges captions beside the speaker: "evaluator", "listener" or "" for nothing."""
        if self.judge is not None:
            return self.judge
        return "evaluator" if set(JUDGED) & set(self.stages) else ""

    @property
    def drawn_noise(self) -> Noise:
        """What the speaker's noise is drawn from, when it learns to use it."""
        return Noise(self.noise, self.noise_law)


def check_ranges(decoding: Mapping[str, Any], name: str) -> None:
    """Raises InputError where a setting of a decoding is not what it may be; name: "config.x"."""
    check_names(name, decoding)
    for setting, value in decoding.items():
        if value is not None and (allowed := DECODING.get(setting)):
            check(f"{name}.{setting}", value, allowed)


def with_places(
    given: Mapping[str, Any], runs: Mapping[str, tuple[str, ...]] = {}
) -> dict[str, Any]:
    """Settings whose folders are absolute: a run must not follow the folder it is started in.

    Args:
      runs: settings of a stage that are folders of runs, by the stage's name.
    """
    data = dict(given["data"])
    for name in ("path", "cache"):
        if data[name]:
            _check_here(f"config.data.{name}", data[name])
            data[name] = _absolute(data[name])
    if data["encoder"].startswith(PREFIX):
        _check_here("config.data.encoder", features := data["encoder"].removeprefix(PREFIX))
        data["encoder"] = PREFIX + _absolute(features)
    placed: dict[str, Any] = {**given, "data": data}
    if given.get("init_from"):
        placed["init_from"] = _absolute(given["init_from"])
    for stage, names in runs.items():
        if own := {name: _absolute(given[stage][name]) for name in names if given[stage].get(name)}:
            placed[stage] = {**given[stage], **own}
    return placed


def _absolute(path: str) -> str:
    return str(place(path) if stored(path) else Path(path).expanduser().absolute())


def _check_here(name: str, path: str) -> None:
    if stored(path):
        raise InputError(
            f"--{name}={path} must be on this machine, as what a run reads at random is; copy it"
            " here, or mount the bucket"
        )


def plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their dotted names as config.json gives them back, older ones among them."""
    return BEFORE | flat(json.loads(json.dumps(given)))
