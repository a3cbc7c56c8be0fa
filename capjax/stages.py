"""A stage of a run: an algorithm over batches, with validation, checkpoints and a progress bar."""

import math
import signal
import time
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from capjax.checkpoint import Checkpoints
from capjax.data.batches import gather, rows_by_image, rows_of
from capjax.data.split import Split
from capjax.data.vocabulary import Vocabulary
from capjax.errors import InputError
from capjax.evaluation import evaluate
from capjax.objectives.algorithm import Algorithm
from capjax.objectives.maximum_likelihood import decoded, maximum_likelihood
from capjax.parallel import over_devices
from capjax.speaker import Params, Speaker, log_probs, scored
from capjax.workdir import MetricsLog


class Interrupted(Exception):
    """A signal asked the run to stop; the message says where it stands."""


class StopSignal:
    """Notes SIGTERM and SIGINT, so that a run can save before it ends; a second one ends it."""

    def __enter__(self) -> "StopSignal":
        self.name = ""
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.name:
            raise SystemExit(128 + number)
        self.name = signal.Signals(number).name


class Setting(NamedTuple):
    """What the stages of a run share."""

    config: Mapping[str, Any]
    workdir: Path
    speaker: Speaker
    vocabulary: Vocabulary
    image: tuple  # what the speaker is told of images
    data: dict[str, jax.Array]  # the training split, a row a caption
    split: Split  # the validation split
    images: np.ndarray  # its images
    validation: dict[str, jax.Array]  # and its captions, a row a caption
    last: Checkpoints
    best: Checkpoints
    stop: StopSignal


class Stage(NamedTuple):
    """How one kind of stage learns."""

    algorithm: Algorithm
    decoded: Callable[[Any], Params]  # the parameters to speak with, out of a state


def mle_stage(setting: Setting, options: Mapping[str, Any], steps: int) -> Stage:
    rate = learning_rate(options, steps)
    clip = [optax.clip_by_global_norm(options["clip"])] if options["clip"] else []
    optimizer = optax.chain(*clip, optax.adamw(rate, weight_decay=options["weight_decay"]))
    own = options["scheduled_sampling"]
    algorithm = maximum_likelihood(
        setting.speaker,
        optimizer,
        label_smoothing=options["label_smoothing"],
        scheduled_sampling=optax.linear_schedule(0.0, own, steps) if own else None,
        average=options["average"],
    )
    return Stage(algorithm, decoded)


STAGES = {"mle": mle_stage}


def learning_rate(options: Mapping[str, Any], steps: int) -> optax.Schedule:
    """A linear warm-up, then a cosine to 2 % or a constant."""
    peak, warmup = options["learning_rate"], min(options["warmup"], steps // 2)
    if options["schedule"] == "cosine":
        return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, steps, 0.02 * peak)
    return optax.join_schedules(
        [optax.linear_schedule(0.0, peak, warmup), optax.constant_schedule(peak)], [warmup]
    )


def run_stage(setting: Setting, index: int, name: str, params: Params | None) -> Params | None:
    """Runs one stage of a recipe, or what is left of it, or finds that it is done.

    Args:
      index: which of the recipe's stages it is.
      name: of the stage and of its settings in the configuration.
      params: to start from; None for new ones.
    Returns:
      The parameters to speak with at its end; None where a later stage is under way already.
    Raises:
      Interrupted: after a signal, when the state has been saved.
      InputError: the loss is no longer a number; the last checkpoint before it is kept.
    """
    config, options = setting.config, setting.config[name]
    batch, each = options["batch"], options["captions_per_image"]
    of = np.asarray(setting.data["of"])
    # An epoch is every caption once, or every image once with some of its captions.
    count = len(setting.data["image"]) if each else len(of)
    epoch = max(1, count // batch)
    steps = max(1, round(options["epochs"] * count / batch))
    stage = STAGES[name](setting, options, steps)
    seed = jax.random.fold_in(jax.random.key(config["seed"]), index)

    def fresh() -> Any:
        # One program: a hundred small ones take half a minute to compile.
        return jax.jit(stage.algorithm.init)(jax.random.fold_in(seed, 0), params)

    # Stages follow one another on one count of steps; a checkpoint's note tells where it stands.
    captions = zlib.crc32(np.asarray(setting.data["caption"]).tobytes())

    def like(note: Mapping[str, Any]) -> Any:
        if note.get("captions", captions) != captions:
            raise InputError(
                f"the captions of {config['data']['name']}, or {setting.workdir}/vocabulary.json,"
                f" are not those that the run in {setting.workdir} was trained on;"
                " restore them, or choose another --workdir"
            )
        return jax.eval_shape(fresh) if note["stage"] == index else None

    found = setting.last.restore(like)
    step, state, note = found or (0, None, {"stage": -1})
    if note["stage"] > index:
        return None  # a later stage is under way, and has its own state
    if state is None:
        state, note = fresh(), {"stage": index, "done": 0, "base": step, "best": -1.0}
    begin, base, best = note["done"], note["base"], note["best"]
    log = MetricsLog(setting.workdir / "metrics.jsonl", base + begin)

    def update(state: Any, data: Any, rows: jax.Array, key: jax.Array) -> Any:
        return stage.algorithm.update(state, gather(data, rows), key)

    step_fn = over_devices(update, how=config["parallel"])
    keys = jax.random.fold_in(seed, 1)
    every = config["validate_every"] or epoch

    def save(done: int) -> None:
        note = {"stage": index, "done": done, "base": base, "best": best, "captions": captions}
        setting.last.save(base + done, state, note)

    def validate(done: int) -> None:
        nonlocal best
        scores = validation(setting, stage.decoded(state))
        log.add({"stage": name, "step": base + done, "epoch": done * batch / count, **scores})
        tqdm.write(_line(name, base + done, scores))
        # CIDEr-D cannot be had of a single image.
        score = scores.get("val_cider_d", scores["val_rouge_l"])
        if score > best:
            best = score
            note = {"stage": index, "image": list(setting.image), "scores": scores}
            setting.best.save(base + done, {"params": stage.decoded(state)}, note)

    bar = tqdm(total=steps, initial=begin, desc=name, unit="step", dynamic_ncols=True)
    since, spoken = time.perf_counter(), 0
    with bar:
        for done in range(begin + 1, steps + 1):
            if each:
                rows = rows_by_image(of, batch, each, config["seed"], done - 1)
            else:
                rows = rows_of(count, batch, config["seed"], done - 1)
            state, metrics = step_fn(state, setting.data, rows, jax.random.fold_in(keys, done))
            spoken += rows.size
            # One step in flight at a time: virtual devices starve each other otherwise.
            jax.block_until_ready(metrics)
            bar.update()
            # Looked at on every step: no state that is lost may take the place of a sound one.
            row = {k: float(v) for k, v in metrics.items()}
            if not all(math.isfinite(v) for v in row.values()):
                kept = f"; {setting.workdir} keeps its checkpoints" if setting.last.steps() else ""
                raise InputError(
                    f"the loss or the gradient of stage {name} is not finite at step"
                    f" {base + done}{kept}; start again in another --workdir with a lower"
                    f" config.{name}.learning_rate or a smaller config.{name}.clip"
                )
            if done % config["log_every"] == 0 or done == steps:
                speed = spoken / (time.perf_counter() - since)
                bar.set_postfix(loss=f"{row['loss']:.3f}", captions_per_s=f"{speed:.0f}")
                log.add({"stage": name, "step": base + done, **row, "captions_per_s": speed})
                since, spoken = time.perf_counter(), 0
            if done % every == 0 or done == steps:
                before = time.perf_counter()
                validate(done)
                since += time.perf_counter() - before
            if done % config["save_every"] == 0 or done == steps or setting.stop.name:
                save(done)
            if setting.stop.name and done < steps:
                raise Interrupted(
                    f"{setting.stop.name}: saved at step {base + done} of stage {name};"
                    " run the same command again to go on"
                )
    return stage.decoded(state)


def validation(setting: Setting, params: Params) -> dict[str, float]:
    """Scores of the validation split's captions, by the recipe's decoding."""
    found = evaluate(
        setting.speaker,
        params,
        setting.vocabulary,
        setting.split,
        setting.images,
        setting.config["decoding"],
        noise=setting.config["noise"],
    )
    nll = validation_nll(setting.speaker, params, setting.validation)
    names = ("cider_d", "bleu_4", "rouge_l", "distinct_words", "true", "identifies")
    return {"val_nll": nll} | {
        f"val_{name}": found.scores[name] for name in names if found.scores.get(name) is not None
    }


def validation_nll(speaker: Speaker, params: Params, data: dict[str, jax.Array]) -> float:
    """Nats a word of people's captions, of a split from `caption_arrays`, without dropout."""
    count, total, words = data["caption"].shape[0], 0.0, 0
    batch = min(500, count)
    for first in range(0, count, batch):
        # The last batch is filled up with captions that count for nothing.
        rows = np.arange(first, first + batch)
        nll, length = _nll(speaker, params, data, np.minimum(rows, count - 1), rows < count)
        total, words = total + float(nll), words + int(length)
    return total / words


@partial(jax.jit, static_argnums=0)
def _nll(
    speaker: Speaker, params: Params, data: dict, rows: jax.Array, counts: jax.Array
) -> tuple[jax.Array, jax.Array]:
    batch = gather(data, rows)
    captions = batch.pop("caption")
    log_p = log_probs(speaker, params, batch, captions)
    real = scored(captions) & counts[:, None]
    return -jnp.where(real, log_p, 0).sum(), real.sum()


def _line(name: str, step: int, scores: Mapping[str, float]) -> str:
    told = "  ".join(
        f"{key.removeprefix('val_')} {value:.3f}"
        if isinstance(value, float)
        else f"{key.removeprefix('val_')} {value}"
        for key, value in scores.items()
    )
    return f"{name} step {step}: {told}"
