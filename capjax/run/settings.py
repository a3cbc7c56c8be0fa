"""What the settings of a recipe may be, checked before anything is done with them."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from capjax.decoding.noise import LAWS
from capjax.errors import InputError
from capjax.models.dense import DTYPES
from capjax.models.generator import CELLS
from capjax.objectives import self_critical as critical
from capjax.objectives.adversarial import BASELINES, REWARDS
from capjax.objectives.contrastive import MASKS, PAIRS

BY_JUDGE = ("evaluator", "listener", "self_retrieval")  # rewards that ask a trained judge

# What every recipe tells; settings of stages aside.
_NEEDED = (
    *("recipe", "seed", "init_from", "stages", "cell", "dim", "noise", "dropout"),
    *(f"data.{name}" for name in ("name", "path", "cache", "encoder", "resident")),
    *("data.min_count", "data.max_len", "decoding.method", "decoding.max_len"),
    *("validate_every", "save_every", "log_every", "report_images", "parallel"),
)
_Range = tuple[Callable[[float], bool], str]
_ABOVE_0: _Range = (lambda x: 0 < x < math.inf, "above 0")
_FROM_0: _Range = (lambda x: 0 <= x < math.inf, "at least 0")
_FROM_1: _Range = (lambda x: x >= 1, "at least 1")
_BELOW_1: _Range = (lambda x: 0 <= x < 1, "at least 0 and below 1")
_SHARE: _Range = (lambda x: 0 <= x <= 1, "from 0 to 1")

_RUN: dict[str, _Range] = {
    "seed": (lambda x: 0 <= x < 2**32, "from 0 to 2**32 - 1"),
    "data.resident": _FROM_0,
    "data.min_count": _FROM_1,
    "data.max_len": _FROM_1,
    "dim": _FROM_1,
    "noise": _FROM_0,
    "dropout": _BELOW_1,
    "evaluator_dim": _FROM_1,
    "evaluator_dropout": _BELOW_1,
    "input_dropout": _BELOW_1,
    "decoding.max_len": _FROM_1,
    "decoding.width": _FROM_1,
    "decoding.samples": _FROM_1,
    "decoding.candidates": _FROM_1,
    "decoding.branch": _FROM_1,
    "decoding.rollouts": _FROM_1,
    "decoding.temperature": _ABOVE_0,
    "validate_every": _FROM_0,
    "save_every": _FROM_1,
    "log_every": _FROM_1,
    "report_images": _FROM_0,
}
_STAGE: dict[str, _Range] = {
    "epochs": _ABOVE_0,
    "batch": _FROM_1,
    "captions_per_image": _FROM_0,
    "learning_rate": _ABOVE_0,
    "warmup": _FROM_0,
    "clip": _FROM_0,
    "weight_decay": _FROM_0,
    "label_smoothing": _BELOW_1,
    "scheduled_sampling": _SHARE,
    "average": _BELOW_1,
    "steps": _FROM_0,
    "alpha": _FROM_0,
    "beta": _FROM_0,
    "rollouts": _FROM_1,
    "lanes": _FROM_0,
    "samples": _FROM_1,
    "evaluator_steps": _FROM_0,
    "evaluator_learning_rate": _ABOVE_0,
    "evaluator_weight_decay": _FROM_0,
    "entropy": _FROM_0,
    "likelihood": _FROM_0,
    "lag": _BELOW_1,
    "nu": _ABOVE_0,
    "negatives": _FROM_1,
    "rounds": _FROM_1,
    "mined": _FROM_0,
    "distractors": _FROM_0,
    "half": (lambda x: x in (0, 1, 2), "0, 1 or 2"),
    "margin": _FROM_0,
    **{f"rewards.{name}": _FROM_0 for name in ("cider", *BY_JUDGE)},
    "b1": _BELOW_1,
    "b2": _BELOW_1,
}
_CHOICES = {
    "parallel": ("pmap", "shard_map"),
    "dtype": DTYPES,
    "schedule": ("cosine", "constant"),
    "judge": ("", "evaluator", "listener"),
    "reward": REWARDS,
    "noise_law": LAWS,
    "pairs": PAIRS,
    "masks": MASKS,
    "adversarial.baseline": BASELINES,
    "self_critical.baseline": critical.BASELINES,
}


_TUNED = {"contrastive": "contrastive learning", "self_critical": "self-critical training"}


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def check_settings(config: Mapping[str, Any], stages: Mapping[str, Any], devices: int) -> None:
    """Checks all that can be said of a recipe without its data.

    Args:
      stages: the stages there are, by name.
      devices: among how many a batch is shared.
    Raises:
      InputError: naming the setting and what it may be.
    """
    settings = flat(config)
    if lacks := [name for name in _NEEDED if name not in settings]:
        raise InputError(
            f"the recipe has no setting config.{lacks[0]}; start from a file of configs/, which has"
            " them all"
        )
    unknown = [name for name in config["stages"] if name not in stages]
    if unknown or not config["stages"]:
        told = ", ".join(map(repr, unknown)) or "no stage"
        raise InputError(f"config.stages names {told}; choose from {', '.join(stages)}")
    if bare := [name for name in config["stages"] if not isinstance(config.get(name), Mapping)]:
        raise InputError(
            f"config.stages names {bare[0]!r}, and the recipe has no settings config.{bare[0]} of"
            " it; take a recipe that has, or leave the stage out"
        )
    first = next((name for name in config["stages"] if name != "listener"), "")
    if first in _TUNED and not config["init_from"]:
        raise InputError(
            f"{_TUNED[first]} starts from a captioner: name a run with --config.init_from=DIR,"
            " or put 'mle' before it in config.stages"
        )
    if config.get("concepts") and (list(config["stages"]) != ["mle"] or config["noise"]):
        raise InputError(
            "config.concepts=True is for maximum likelihood without noise; set config.stages to"
            " ('mle',) and config.noise to 0"
        )
    if "self_critical" in config["stages"]:
        _check_rewards(config)
    cell, encoder = config["cell"], config["data"]["encoder"]
    if cell in CELLS and CELLS[cell].regional and encoder == "efficientnet_lite0":
        raise InputError(
            f"config.cell={cell!r} looks at regions, and config.data.encoder={encoder!r} gives one"
            " vector an image; take --config.data.encoder=efficientnet_lite0_grid"
        )
    ranges = _RUN | {f"{s}.{name}": what for s in config["stages"] for name, what in _STAGE.items()}
    for name, value in settings.items():
        if name in ranges:
            fits, told = ranges[name]
            if not fits(value):
                raise InputError(f"config.{name}={value} must be {told}")
        choices = _CHOICES.get(name) or _CHOICES.get(name.rpartition(".")[2])
        if choices and value not in choices:
            raise InputError(f"config.{name}={value!r} must be one of {', '.join(choices)}")
    for stage in config["stages"]:
        own = config[stage]
        if own.get("reference") and own["rounds"] > 1:
            raise InputError(
                f"config.{stage}.rounds={own['rounds']} replaces the reference by the target, and"
                f" config.{stage}.reference names another; take one of the two"
            )
        if own.get("pairs") == "introspective" and own["likelihood"]:
            raise InputError(
                f"config.{stage}.likelihood={own['likelihood']} is for pairs that have a reference;"
                f" with config.{stage}.pairs='introspective' set it to 0"
            )
        if own.get("baseline", "none") not in ("none", "greedy") and own["samples"] < 2:
            raise InputError(
                f"config.{stage}.baseline={own['baseline']!r} needs config.{stage}.samples=2 or"
                f" more, and has {own['samples']}"
            )
        if (batch := config[stage]["batch"]) % devices:
            raise InputError(
                f"config.{stage}.batch={batch} cannot be shared by {devices} devices;"
                f" make it a multiple of {devices}"
            )


def _check_rewards(config: Mapping[str, Any]) -> None:
    """Raises InputError where no reward has a weight, or one has that no judge can give."""
    rewards, judge = config["self_critical"]["rewards"], config["judge"]
    if not any(rewards.values()):
        raise InputError("config.self_critical.rewards are all 0; give one of them a weight")
    for name in BY_JUDGE:
        wanted = "evaluator" if name == "evaluator" else "listener"
        if rewards[name] and judge != wanted:
            raise InputError(
                f"config.self_critical.rewards.{name}={rewards[name]} needs"
                f" config.judge={wanted!r}, and it is {judge!r}; see configs/self_critical.py"
            )
