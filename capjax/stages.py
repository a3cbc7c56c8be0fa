"""The stages of a recipe: what each learns, from which batches, and what of it is kept."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from capjax.data.batches import (
    gather,
    rows_beside_images,
    rows_by_image,
    rows_of,
    rows_with_others,
)
from capjax.data.neighbours import nearest
from capjax.data.vocabulary import tokenize
from capjax.metrics import encode, ngram_table, pack_references
from capjax.objectives.adversarial import adversarial
from capjax.objectives.algorithm import decoded
from capjax.objectives.contrastive import contrastive
from capjax.objectives.evaluator_training import evaluator_training
from capjax.objectives.listener_training import listener_training
from capjax.objectives.maximum_likelihood import maximum_likelihood
from capjax.objectives.rewards import (
    cider_reward,
    evaluator_reward,
    listener_reward,
    self_retrieval_reward,
)
from capjax.objectives.self_critical import self_critical
from capjax.speaker import Params
from capjax.stage_setting import Learnt, Setting, noise_of
from capjax.validation import evaluator_validation, listener_validation, speaker_validation

PACKED = 5000  # images whose references are weighed at once


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
        init=lambda key, there: algorithm.init(key, _speaker(setting, there, key), there.evaluator),
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
            key, _speaker(setting, there, key), _evaluator(setting, there, key)
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


def contrastive_stage(setting: Setting, options: Mapping[str, Any]) -> Stage:
    batch, seed = options["batch"], setting.config["seed"]
    of = np.asarray(setting.data["of"])
    names = ("nu", "pairs", "masks", "average")
    steps, other = steps_of(options, len(of)), setting.reference
    algorithm = contrastive(
        setting.speaker,
        other.speaker if other else setting.speaker,
        optimizer(options, steps),
        replace=-(-steps // options["rounds"]) if options["rounds"] > 1 else 0,
        **{name: options[name] for name in names},
    )
    width, mined = setting.config["noise"], options["mined"]
    near = nearest(setting.pictures, min(mined, len(setting.pictures) - 1)) if mined else None

    def init(key, there):
        start = _speaker(setting, there, key)
        return algorithm.init(key, start, other.params if other else start)

    def update(state, data, rows, key):
        chosen = gather("others", data, rows)
        if width:
            chosen["noise"] = jnp.zeros((rows.shape[0], width))
        return algorithm.update(state, chosen, key)

    return Stage(
        init=init,
        update=update,
        trained=lambda state: Learnt(decoded(state)),
        per_epoch=len(of),
        rows=lambda step: rows_with_others(of, batch, 1, seed, step, options["negatives"], near)[
            :, 0
        ],
        kind="others",
        captions=batch,
        validate=lambda there: speaker_validation(setting, there, options),
        score=lambda scores: scores.get("val_cider_d", scores["val_rouge_l"]),
    )


def listener_stage(setting: Setting, options: Mapping[str, Any]) -> Stage:
    assert setting.evaluator is not None
    batch, seed, half = options["batch"], setting.config["seed"], options["half"]
    of = np.asarray(setting.data["of"])
    among = np.arange(of[-1] + 1)
    among = among[half - 1 :: 2] if half else among
    near = _near(setting, options, among)
    algorithm = listener_training(
        setting.evaluator, optimizer(options, steps_of(options, len(among)))
    )

    def init(key, there):
        return _speaker(setting, there, key), algorithm.init(key, there.evaluator)

    def update(state, data, rows, key):
        told = algorithm.update(state[1], gather("beside", data, rows), key)
        return (state[0], told[0]), told[1]

    return Stage(
        init=init,
        update=update,
        trained=lambda state: Learnt(state[0], state[1].params),
        per_epoch=len(among),
        rows=lambda step: rows_beside_images(
            of, batch, seed, step, among=among, near=near, distractors=options["distractors"]
        ),
        kind="beside",
        captions=batch,
        validate=lambda there: listener_validation(setting, there),
        score=lambda scores: -scores["val_listener_loss"],
    )


def self_critical_stage(setting: Setting, options: Mapping[str, Any]) -> Stage:
    batch, seed, weights = options["batch"], setting.config["seed"], options["rewards"]
    of = np.asarray(setting.data["of"])
    count = len(setting.training.ids)
    steps = steps_of(options, count)
    near = _near(setting, options, np.arange(count))
    names = ("samples", "baseline", "likelihood", "dropout", "average")
    learnt = optimizer(options, steps)

    asked = setting.evaluator

    def algorithm(data, judge):
        known = {"cider": cider_reward(data["table"])}
        if asked:
            known |= {
                "evaluator": evaluator_reward(asked, judge),
                "listener": listener_reward(asked, judge),
                "self_retrieval": self_retrieval_reward(asked, judge, options["margin"]),
            }
        return self_critical(
            setting.speaker,
            learnt,
            {name: (weight, known[name]) for name, weight in weights.items() if weight},
            max_len=setting.config["data"]["max_len"],
            noise=noise_of(setting.config),
            **{name: options[name] for name in names},
        )

    def init(key, there):
        start = algorithm({"table": None}, None).init(key, _speaker(setting, there, key))
        return start, _evaluator(setting, there, key) if asked else None

    def update(state, data, rows, key):
        chosen = gather("beside", data, rows)
        image = data["of"][rows[:, 0]]
        chosen["references"] = jax.tree.map(lambda x: x[image], data["references"])
        new, metrics = algorithm(data, state[1]).update(state[0], chosen, key)
        return (new, state[1]), metrics

    return Stage(
        init=init,
        update=update,
        trained=lambda state: Learnt(decoded(state[0]), state[1]),
        per_epoch=count,
        rows=lambda step: rows_beside_images(
            of, batch, seed, step, near=near, distractors=options["distractors"]
        ),
        kind="beside",
        captions=batch * options["samples"],
        validate=lambda there: speaker_validation(setting, there, options),
        # What is raised need not be CIDEr alone: the last is kept.
        score=lambda scores: float("inf"),
        beside=packed_references(setting, options["count_end"]),
    )


def _near(setting: Setting, options: Mapping[str, Any], among: np.ndarray) -> np.ndarray | None:
    """The nearest of some images to each of them, where a stage has distractors."""
    if not options["distractors"]:
        return None
    return nearest(setting.pictures[among], min(options["mined"], len(among) - 1))


def packed_references(setting: Setting, count_end: bool) -> dict[str, Any]:
    """The training captions as CIDEr-D reads them: `table`, and `references` of all images.

    Words that the vocabulary lacks have ids of their own, which no speaker says.
    """
    texts = [[" ".join(tokenize(t)) for t in every] for every in setting.training.captions]
    references, _ = encode(texts, setting.vocabulary.ids)
    table = ngram_table(references)
    parts = [
        pack_references(references[i : i + PACKED], table, count_end=count_end)
        for i in range(0, len(references), PACKED)
    ]
    return {"table": table, "references": jax.tree.map(lambda *x: jnp.concatenate(x), *parts)}


def _speaker(setting: Setting, there: Learnt, key: jax.Array) -> Params:
    return setting.speaker.init(key) if there.speaker is None else there.speaker


def _evaluator(setting: Setting, there: Learnt, key: jax.Array) -> Params:
    assert setting.evaluator is not None
    return setting.evaluator.init(key) if there.evaluator is None else there.evaluator


STAGES = {
    "mle": mle_stage,
    "evaluator": evaluator_stage,
    "adversarial": adversarial_stage,
    "contrastive": contrastive_stage,
    "listener": listener_stage,
    "self_critical": self_critical_stage,
}
TELL_APART = tuple(name for name in STAGES if name != "mle")  # they need two images


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
