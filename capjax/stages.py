"""The stages of a recipe: what each learns, from which batches, and how it is validated."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from capjax.checkpoint import Checkpoints
from capjax.data.batches import gather, gather_units, rows_by_image, rows_of, rows_with_others
from capjax.data.split import Split
from capjax.data.vocabulary import Vocabulary
from capjax.decoding.sample import sample
from capjax.evaluation import evaluate
from capjax.judging import Evaluator
from capjax.objectives import losses
from capjax.objectives.adversarial import adversarial, spoken_with
from capjax.objectives.evaluator_training import Noise, evaluator_training, three_scores
from capjax.objectives.maximum_likelihood import decoded, maximum_likelihood
from capjax.speaker import Params, Speaker, log_probs, scored


class Learnt(NamedTuple):
    """What the stages of a run have learnt so far; None for what is still to be made."""

    speaker: Params | None = None
    evaluator: Params | None = None


class Setting(NamedTuple):
    """What the stages of a run share."""

    config: Mapping[str, Any]
    workdir: Path
    speaker: Speaker
    evaluator: Evaluator | None  # where the recipe trains one
    vocabulary: Vocabulary
    image: tuple  # what the speaker is told of images
    data: dict[str, jax.Array]  # the training split, a row a caption
    split: Split  # the validation split
    images: np.ndarray  # its images
    validation: dict[str, jax.Array]  # and its captions, a row a caption
    last: Checkpoints


class Stage(NamedTuple):
    """How one kind of stage learns."""

    init: Callable[[jax.Array, Learnt], Any]  # (key, what there is) -> state
    update: Callable[[Any, Any, jax.Array, jax.Array], Any]  # (state, data, rows, key), a device's
    trained: Callable[[Any], Learnt]  # out of a state: what is kept of it
    per_epoch: int  # rows of an epoch
    rows: Callable[[int], np.ndarray]  # step, from 0 -> the rows of its batch
    captions: int  # people's captions that a step reads
    validate: Callable[[Learnt], dict[str, float]]
    score: Callable[[Mapping[str, float]], float]  # of a validation: the highest one is kept


def steps_of(options: Mapping[str, Any], count: int) -> int:
    """Steps of a stage: as many as `steps` says, or `epochs` of `count` rows come to."""
    return options.get("steps") or max(1, round(options["epochs"] * count / options["batch"]))


def mle_stage(setting: Setting, options: Mapping[str, Any]) -> Stage:
    batch, each, seed = options["batch"], options["captions_per_image"], setting.config["seed"]
    of = np.asarray(setting.data["of"])
    # An epoch is every caption once, or every image once with some of its captions.
    count = len(setting.data["image"]) if each else len(of)
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
        chosen = gather(data, rows)
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
        return algorithm.update(state, gather_units(data, rows), key)

    return Stage(
        init=lambda key, there: algorithm.init(key, _speaker(setting, there, key), there.evaluator),
        update=update,
        trained=lambda state: Learnt(state.speaker, state.params),
        per_epoch=len(of),
        rows=lambda step: rows_with_others(of, batch, 1, seed, step)[:, 0],
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
        return algorithm.update(state, gather_units(data, rows), key)

    return Stage(
        init=lambda key, there: algorithm.init(
            key, _speaker(setting, there, key), _evaluator(setting, there, key)
        ),
        update=update,
        trained=lambda state: Learnt(spoken_with(state), state.evaluator),
        per_epoch=len(of),
        rows=lambda step: rows_with_others(of, batch, units, seed, step),
        captions=batch * units,
        validate=lambda there: (
            speaker_validation(setting, there, options)
            | evaluator_validation(setting, there, noise)
        ),
        # Nothing that is measured on the way tells what is best here: the last is kept.
        score=lambda scores: float("inf"),
    )


def _speaker(setting: Setting, there: Learnt, key: jax.Array) -> Params:
    return setting.speaker.init(key) if there.speaker is None else there.speaker


def _evaluator(setting: Setting, there: Learnt, key: jax.Array) -> Params:
    assert setting.evaluator is not None
    return setting.evaluator.init(key) if there.evaluator is None else there.evaluator


STAGES = {"mle": mle_stage, "evaluator": evaluator_stage, "adversarial": adversarial_stage}


def noise_of(config: Mapping[str, Any]) -> Noise:
    """What a recipe's speaker draws its noise from, when it learns to use it."""
    return Noise(config["noise"], config.get("noise_law", "uniform"))


def decoding_after(config: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """How captions are spoken after a stage: as the stage says, else as the recipe does."""
    return dict(options.get("decoding") or config["decoding"])


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


def speaker_validation(
    setting: Setting, there: Learnt, options: Mapping[str, Any]
) -> dict[str, float]:
    """Scores of the validation split's captions, by the stage's decoding."""
    found = evaluate(
        setting.speaker,
        there.speaker,
        setting.vocabulary,
        setting.split,
        setting.images,
        decoding_after(setting.config, options),
        noise=setting.config["noise"],
        judge=(setting.evaluator, there.evaluator)
        if setting.evaluator and there.evaluator is not None
        else None,
    )
    nll = validation_nll(
        setting.speaker, there.speaker, setting.validation, setting.config["noise"]
    )
    names = ("cider_d", "bleu_4", "rouge_l", "distinct_words", "true", "identifies")
    return {"val_nll": nll} | {
        f"val_{name}": found.scores[name] for name in names if found.scores.get(name) is not None
    }


def evaluator_validation(setting: Setting, there: Learnt, noise: Noise) -> dict[str, float]:
    """The evaluator's loss and mean r by source on the validation split, a caption an image."""
    assert setting.evaluator is not None
    of = np.asarray(setting.validation["of"])
    first = np.searchsorted(of, np.arange(of[-1] + 1))
    rows = np.stack([first, np.roll(first, -1)], 1)  # mismatched: the next image's caption
    batch, sums = min(200, len(rows)), np.zeros(4)
    for begin in range(0, len(rows), batch):
        part = np.arange(begin, begin + batch)
        part = rows[np.minimum(part, len(rows) - 1)]
        counts = np.arange(begin, begin + batch) < len(rows)
        told = _judged(
            setting.speaker, setting.evaluator, noise, there, setting.validation, part, counts
        )
        sums += np.asarray(told)
    names = ("evaluator_loss", "r_real", "r_generated", "r_mismatched")
    return {f"val_{name}": float(x) / len(rows) for name, x in zip(names, sums, strict=True)}


@partial(jax.jit, static_argnums=(0, 1, 2))
def _judged(
    speaker: Speaker,
    evaluator: Evaluator,
    noise: Noise,
    there: Learnt,
    data: dict,
    rows: jax.Array,
    counts: jax.Array,
) -> jax.Array:
    """Sums over rows [B, 2] of loss and r by source: float32[4]; the draws are always the same."""
    batch = gather_units(data, rows)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), rows[:, 0])
    context = noise.context(batch["image"], keys)
    steps = batch["caption"].shape[1]
    drawn = sample(speaker, there.speaker, context, keys, max_len=steps).words
    logits = three_scores(evaluator, there.evaluator, {"image": batch["image"]}, batch, drawn)
    told = jnp.concatenate([jax.vmap(losses.evaluator)(*logits)[None], jax.nn.sigmoid(logits)])
    return jnp.where(counts[None], told, 0).sum(1)


def validation_nll(
    speaker: Speaker, params: Params, data: dict[str, jax.Array], noise: int = 0
) -> float:
    """Nats a word of people's captions, of a split from `caption_arrays`; no dropout, no noise."""
    count, total, words = data["caption"].shape[0], 0.0, 0
    batch = min(500, count)
    for first in range(0, count, batch):
        # The last batch is filled up with captions that count for nothing.
        rows = np.arange(first, first + batch)
        nll, length = _nll(speaker, noise, params, data, np.minimum(rows, count - 1), rows < count)
        total, words = total + float(nll), words + int(length)
    return total / words


@partial(jax.jit, static_argnums=(0, 1))
def _nll(
    speaker: Speaker,
    noise: int,
    params: Params,
    data: dict,
    rows: jax.Array,
    counts: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    batch = gather(data, rows)
    captions = batch.pop("caption")
    if noise:
        batch["noise"] = jnp.zeros((captions.shape[0], noise))
    log_p = log_probs(speaker, params, batch, captions)
    real = scored(captions) & counts[:, None]
    return -jnp.where(real, log_p, 0).sum(), real.sum()
