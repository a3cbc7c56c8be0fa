"""The stages of a recipe: what each learns, from which batches, and what of it is kept."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from capjax.data.batches import (
    gather,
    rows_by_image,
    rows_of,
    rows_with_others,
)
from capjax.objectives.adversarial import adversarial
from capjax.objectives.algorithm import decoded
from capjax.objectives.evaluator_training import evaluator_training
from capjax.objectives.maximum_likelihood import maximum_likelihood
from capjax.training.stage import Stage, evaluator_there, optimizer, speaker_there, steps_of
from capjax.training.stage_setting import Learnt, Setting, noise_of
from capjax.training.tuning_stages import contrastive_stage, listener_stage, self_critical_stage
from capjax.training.validation import evaluator_validation, speaker_validation


def mle_stage(setting: Setting, options: Mapping[str, Any]) -> Stage:
    batch, each, seed = options["batch"], options["captions_per_image"], setting.config["seed"]
    of = np.asarray(setting.data["of"])
    # An epoch is every caption once, or every image once with some of its captions.
    count = len(setting.training.ids) if each else len(of)
    steps = steps_of(options, count)
    own = options["scheduled_sampling"]
    algorithm = maximum_likelihood(
        setting.speaker,
        optimizer(options, steps),
        label_smoothing=options["label_smoothing"],
        scheduled_sampling=optax.linear_schedule(0.0, own, steps) if own else None,
        average=options["average"],
    )
    width = setting.config["noise"]

    def update(state, data, rows, key):
        chosen = gather("captions", data, rows)
        if width:  # G-GAN's generator learns to speak without noise first
            chosen["noise"] = jnp.zeros((rows.shape[0], width))
        return algorithm.update(state, chosen, key)

    return Stage(
        init=lambda key, there: algorithm.init(key, there.speaker),
        update=update,
        trained=lambda state: Learnt(decoded(state)),
        per_epoch=count,
        rows=lambda step: (
            rows_by_image(of, batch, each, seed, step)
            if each
            else rows_of(count, batch, seed, step)
        ),
        kind="captions",
        captions=batch * (each or 1),
        validate=lambda there: speaker_validation(setting, there, options),
        # CIDEr-D cannot be had of a single image.
        score=lambda scores: scores.get("val_cider_d", scores["val_rouge_l"]),
    )


def evaluator_stage(setting: Setting, options: Mapping[str, Any]) -> Stage:
    assert setting.evaluator is not None
    batch, seed = options["batch"], setting.config["seed"]
    of = np.asarray(setting.data["of"])
    noise = noise_of(setting.config)
    algorithm = evaluator_training(
        setting.speaker,
        setting.evaluator,
        optimizer(options, steps_of(options, len(of))),
        alpha=options["alpha"],
        beta=options["beta"],
        noise=noise,
    )

    def update(state, data, rows, key):
        return algorithm.update(state, gather("units", data, rows), key)

    return Stage(
        init=lambda key, there: algorithm.init(
            key, speaker_there(setting, there, key), there.evaluator
        ),
        update=update,
        trained=lambda state: Learnt(state.speaker, state.params),
        per_epoch=len(of),
        rows=lambda step: rows_with_others(of, batch, 1, seed, step)[:, 0],
        kind="units",
        captions=batch,
        validate=lambda there: evaluator_validation(setting, there, noise),
        score=lambda scores: -scores["val_evaluator_loss"],
    )


def adversarial_stage(setting: Setting, options: Mapping[str, Any]) -> Stage:
    assert setting.evaluator is not None
    batch, seed = options["batch"], setting.config["seed"]
    units = 1 + options["evaluator_steps"]
    of = np.asarray(setting.data["of"])
    noise = noise_of(setting.config)
    steps = steps_of(options, len(of))
    names = (
        *("rollouts", "samples", "evaluator_steps", "alpha", "beta", "reward", "baseline"),
        *("entropy", "likelihood", "dropout", "lag", "average"),
    )
    algorithm = adversarial(
        setting.speaker,
        setting.evaluator,
        optimizer(options, steps),
        optimizer(options, steps * options["evaluator_steps"], "evaluator_"),
        lanes=options["lanes"] or None,
        noise=noise,
        **{name: options[name] for name in names},
    )

    def update(state, data, rows, key):
        return algorithm.update(state, gather("units", data, rows), key)

    return Stage(
        init=lambda key, there: algorithm.init(
            key, speaker_there(setting, there, key), evaluator_there(setting, there, key)
        ),
        update=update,
        trained=lambda state: Learnt(decoded(state), state.evaluator),
        per_epoch=len(of),
        rows=lambda step: rows_with_others(of, batch, units, seed, step),
        kind="units",
        captions=batch * units,
        validate=lambda there: (
            speaker_validation(setting, there, options)
            | evaluator_validation(setting, there, noise)
        ),
        # Nothing that is measured on the way tells what is best here: the last is kept.
        score=lambda scores: float("inf"),
    )


STAGES = {
    "mle": mle_stage,
    "evaluator": evaluator_stage,
    "adversarial": adversarial_stage,
    "contrastive": contrastive_stage,
    "listener": listener_stage,
    "self_critical": self_critical_stage,
}
TELL_APART = tuple(name for name in STAGES if name != "mle")  # they need two images
