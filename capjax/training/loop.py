"""One stage of a run: batches through an update, validation, checkpoints and a progress bar."""

import math
import signal
import time
import zlib
from collections import deque
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from types import FrameType
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from capjax.data.batches import images_of
from capjax.errors import InputError
from capjax.parallel.devices import over_devices, replicate
from capjax.parallel.memory import check_step, telling_memory
from capjax.run.checkpoint import Checkpoints
from capjax.run.folder import MetricsLog, best_folder
from capjax.training.stage import Stage, steps_of
from capjax.training.stage_setting import Learnt, Setting
from capjax.training.stages import STAGES

AHEAD = 2  # batches that are read while one is learnt from


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


def batches(
    setting: Setting, stage: Stage, begin: int, steps: int
) -> Generator[dict[str, Any], None, None]:
    """The batches of steps `begin` to `steps`: `rows`, and of images that are not kept on the
    device `taken`, read from the disk while the steps before are computed."""
    of = np.asarray(setting.data["of"])

    def one(step: int) -> dict[str, Any]:
        rows = stage.rows(step)
        if "image" in setting.data:
            return {"rows": rows}
        wanted = images_of(stage.kind, of, rows)
        return {"rows": rows, "taken": {k: setting.pictures[i] for k, i in wanted.items()}}

    with ThreadPoolExecutor(1) as pool:
        asked: deque[Future] = deque()
        try:
            for step in range(begin, steps):
                asked.append(pool.submit(one, step))
                if len(asked) > AHEAD:
                    yield asked.popleft().result()
            while asked:
                yield asked.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def run_stage(
    setting: Setting, stop: StopSignal, index: int, name: str, there: Learnt | None
) -> Learnt | None:
    """Runs one stage of a recipe, or what is left of it, or finds that it is done.

    Args:
      index: which of the recipe's stages it is.
      name: of the stage and of its settings in the configuration.
      there: what to start from.
    Returns:
      What there is at its end; None where a later stage is under way already.
    Raises:
      Interrupted: after a signal, when the state has been saved.
      InputError: the loss is no longer a number; the last checkpoint before it is kept.
    """
    config, options = setting.config, setting.config[name]
    stage = STAGES[name](setting, options)
    steps = steps_of(options, stage.per_epoch)
    epoch = max(1, stage.per_epoch // options["batch"])
    seed = jax.random.fold_in(jax.random.key(config["seed"]), index)

    def fresh() -> Any:
        # One program: a hundred small ones take half a minute to compile.
        return jax.jit(stage.init)(jax.random.fold_in(seed, 0), there or Learnt())

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
        state, note = fresh(), {"stage": index, "done": 0, "base": step, "best": None}
    begin, base, best = note["done"], note["base"], note["best"]
    log = MetricsLog(setting.workdir / "metrics.jsonl", base + begin)

    data = {**setting.data, **replicate(dict(stage.beside))}

    def update(state: Any, data: Any, batch: Any, key: jax.Array) -> Any:
        data = data | ({"taken": batch["taken"]} if "taken" in batch else {})
        return stage.update(state, data, batch["rows"], key)

    step_fn = over_devices(update, how=config["parallel"])
    mend = f"lower config.{name}.batch={options['batch']}"
    # Devices of a CPU share one memory.
    devices = jax.local_devices()
    copies = len(devices) if devices[0].platform == "cpu" else 1
    keys = jax.random.fold_in(seed, 1)
    every = config["validate_every"] or epoch

    def save(done: int) -> None:
        note = {"stage": index, "done": done, "base": base, "best": best, "captions": captions}
        setting.last.save(base + done, state, note)

    def validate(done: int) -> None:
        nonlocal best
        now = stage.trained(state)
        with telling_memory("lower config.decoding.width, samples or candidates"):
            scores = stage.validate(now)
        told = {"epoch": done * options["batch"] / stage.per_epoch, **scores}
        log.add({"stage": name, "step": base + done, **told})
        tqdm.write(_line(name, base + done, scores))
        score = stage.score(scores)
        if best is None or score > best or score == math.inf:
            best = score if math.isfinite(score) else None
            note = {"stage": index, "image": list(setting.image), "scores": scores}
            keep = {"params": now.speaker}
            if now.evaluator is not None:
                keep["evaluator"] = now.evaluator
            kept.save(base + done, keep, note | {"evaluator": "evaluator" in keep})

    bar = tqdm(total=steps, initial=begin, desc=name, unit="step", dynamic_ncols=True)
    since, spoken = time.perf_counter(), 0
    folder = best_folder(setting.workdir, config["stages"], name)
    reader = closing(batches(setting, stage, begin, steps))
    with bar, closing(Checkpoints(folder)) as kept, reader as ahead:
        for done, batch in enumerate(ahead, begin + 1):
            with telling_memory(mend):
                key = jax.random.fold_in(keys, done)
                if done == begin + 1:  # the program is the one that the step then runs
                    check_step(step_fn.lower(state, data, batch, key).compile(), copies, mend)
                state, metrics = step_fn(state, data, batch, key)
                # One step in flight at a time: virtual devices starve each other otherwise.
                jax.block_until_ready(metrics)
            spoken += stage.captions
            bar.update()
            # Looked at on every step: no state that is lost may take the place of a sound one.
            row = {k: float(v) for k, v in metrics.items()}
            if not all(math.isfinite(v) for v in row.values()):
                left = f"; {setting.workdir} keeps its checkpoints" if setting.last.steps() else ""
                raise InputError(
                    f"the loss or the gradient of stage {name} is not finite at step"
                    f" {base + done}{left}; start again in another --workdir with a lower"
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
            if done % config["save_every"] == 0 or done == steps or stop.name:
                save(done)
            if stop.name and done < steps:
                raise Interrupted(
                    f"{stop.name}: saved at step {base + done} of stage {name};"
                    " run the same command again to go on"
                )
    return stage.trained(state)


def _line(name: str, step: int, scores: Mapping[str, float]) -> str:
    told = "  ".join(
        f"{key.removeprefix('val_')} {value:.3f}"
        if isinstance(value, float)
        else f"{key.removeprefix('val_')} {value}"
        for key, value in scores.items()
    )
    return f"{name} step {step}: {told}"
