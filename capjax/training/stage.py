"""What a stage of a recipe is, and what all of them take their settings as."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from capjax.speaker import Params
from capjax.training.stage_setting import Learnt, Setting


class Stage(NamedTuple):
    """How one kind of stage learns."""

    init: Callable[[jax.Array, Learnt], Any]  # (key, what there is) -> state
    update: Callable[[Any, Any, jax.Array, jax.Array], Any]  # (state, data, rows, key), a device's
    trained: Callable[[Any], Learnt]  # out of a state: what is kept of it
    per_epoch: int  # rows of an epoch
    rows: Callable[[int], np.ndarray]  # step, from 0 -> the rows of its batch
    kind: str  # what the rows are, of `images_of`
    captions: int  # people's captions that a step reads
    validate: Callable[[Learnt], dict[str, float]]
    score: Callable[[Mapping[str, float]], float]  # of a validation: the highest one is kept
    beside: Mapping[str, Any] = {}  # arrays that it reads beside the training split's


def steps_of(options: Mapping[str, Any], count: int) -> int:
    """Steps of a stage: as many as `steps` says, or `epochs` of `count` rows come to."""
    return options.get("steps") or max(1, round(options["epochs"] * count / options["batch"]))


def speaker_there(setting: Setting, there: Learnt, key: jax.Array) -> Params:
    return setting.speaker.init(key) if there.speaker is None else there.speaker


def evaluator_there(setting: Setting, there: Learnt, key: jax.Array) -> Params:
    assert setting.evaluator is not None
    return setting.evaluator.init(key) if there.evaluator is None else there.evaluator


def optimizer(
    options: Mapping[str, Any], steps: int, prefix: str = ""
) -> optax.GradientTransformation:
    """Adam with a stage's learning rate (its name after a prefix), clipping and decay."""
    rate = learning_rate(options, steps, prefix)
    clip = [optax.clip_by_global_norm(options["clip"])] if options["clip"] else []
    decay = options[f"{prefix}weight_decay"]
    b1, b2 = options.get("b1", 0.9), options.get("b2", 0.999)
    return optax.chain(*clip, optax.adamw(rate, b1, b2, weight_decay=decay))


def learning_rate(options: Mapping[str, Any], steps: int, prefix: str = "") -> optax.Schedule:
    """A linear warm-up, then a cosine to 2 % or a constant."""
    peak, warmup = options[f"{prefix}learning_rate"], min(options["warmup"], steps // 2)
    if options["schedule"] == "cosine":
        return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, steps, 0.02 * peak)
    return optax.join_schedules(
        [optax.linear_schedule(0.0, peak, warmup), optax.constant_schedule(peak)], [warmup]
    )
