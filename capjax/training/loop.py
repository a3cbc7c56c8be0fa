"""One stage of a run: batches through an update, validation, checkpoints and a progress bar."""

import math
import signal
import time
from collections import deque
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from capjax.data.batches import images_of
from capjax.errors import InputError
from capjax.parallel import check_step, over_devices, replicate, telling_memory
from capjax.run.checkpoint import Checkpoints
from capjax.run.data import captions_sum
from capjax.run.folder import best_folder
from capjax.run.metrics_log import MetricsLog
from capjax.training.plan import Planned
from capjax.training.stage import Learnt, Run, Stage

AHEAD = 2  # batches that are read while one is learnt from


def steps_under_way() -> int:
    """Steps that devices are given before the first one's metrics are looked at.

    Accelerators need not wait for the host then; virtual devices of a CPU would starve each other.
    """
    return 1 if jax.local_devices()[0].platform == "cpu" else 3


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
    run: Run, stage: Stage, begin: int, steps: int
) -> Generator[dict[str, Any], None, None]:
    """The batches of steps `begin` to `steps`: `rows`, and of images that are not kept on the
    device `taken`, read from the disk while the steps before are computed."""
    arrays, images = run.training.arrays, run.training.images
    of = np.asarray(arrays["of"])

    def one(step: int) -> dict[str, Any]:
        rows = stage.rows(step)
        if "image" in arrays:
            return {"rows": rows}
        wanted = images_of(stage.kind, of, rows)
        return {"rows": rows, "taken": {k: images[i] for k, i in wanted.items()}}

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


@dataclass
class _Place:
    """Where a stage stands. Stages follow one another on one count of steps."""

    stage: int  # which of the recipe's
    done: int  # its steps
    base: int  # those of the stages before
    best: float | None  # score of the best validation

    @property
    def step(self) -> int:
        return self.base + self.done


def run_stage(
    run: Run, stop: StopSignal, index: int, planned: Planned, learnt: Learnt
) -> Learnt | None:
    """Runs one stage of a recipe, or what is left of it, or finds that it is done.

    Args:
      index: which of the recipe's stages it is.
      learnt: what to start from.
    Returns:
      What is learnt at its end; None where a later stage is under way already.
    Raises:
      Interrupted: after a signal, when the state has been saved.
      InputError: the loss is no longer a number; the last checkpoint before it is kept.
    """
    stage = planned.stage(run, planned.settings)
    seed = jax.random.fold_in(jax.random.key(run.recipe.seed), index)

    def fresh() -> Any:
        # One program: a hundred small ones take half a minute to compile.
        return jax.jit(stage.init)(jax.random.fold_in(seed, 0), learnt)

    with closing(Checkpoints(run.workdir / "checkpoints" / "last")) as last:
        step, state, note = _restored(run, last, index, fresh)
        if note["stage"] > index:
            return None  # a later stage is under way, and has its own state
        if state is None:
            state, place = fresh(), _Place(index, 0, step, None)
        else:
            place = _Place(index, note["done"], note["base"], note["best"])
        folder = best_folder(run.workdir, run.recipe.stages, planned.name)
        with closing(Checkpoints(folder)) as kept:
            work = _Work(run, planned, stage, place, last, kept)
            state = work.learn(state, jax.random.fold_in(seed, 1), stop)
    return stage.trained(state)


def _restored(run: Run, last: Checkpoints, index: int, fresh: Any) -> tuple[int, Any, Any]:
    """(step, state, note) of the last checkpoint; no state where it is of another stage."""
    captions = captions_sum(run.training.arrays)

    def like(note: Mapping[str, Any]) -> Any:
        if note.get("captions", captions) != captions:
            raise InputError(
                f"the captions of {run.recipe.data.name}, or {run.workdir}/vocabulary.json,"
                f" are not those that the run in {run.workdir} was trained on;"
                " restore them, or choose another --workdir"
            )
        return jax.eval_shape(fresh) if note["stage"] == index else None

    return last.restore(like) or (0, None, {"stage": -1})


class _Work:
    """A stage at work: what it writes, and where it stands."""

    def __init__(
        self,
        run: Run,
        planned: Planned,
        stage: Stage,
        place: _Place,
        last: Checkpoints,
        kept: Checkpoints,
    ):
        self.run, self.planned, self.stage, self.place = run, planned, stage, place
        self.last, self.kept = last, kept
        self.steps = planned.settings.steps_of(stage.per_epoch)
        self.log = MetricsLog(run.workdir / "metrics.jsonl", place.step)
        batch, parts = planned.settings.batch, planned.settings.accumulate
        self.mend = f"lower config.{planned.name}.batch={batch}"
        if planned.settings.accumulates:
            self.mend += f" or raise config.{planned.name}.accumulate={parts}"
        self.captions = captions_sum(run.training.arrays)
        self.under_way = steps_under_way()
        self.unseen: deque[tuple[int, Mapping[str, jax.Array]]] = deque()  # (step, its metrics)

    def learn(self, state: Any, keys: jax.Array, stop: StopSignal) -> Any:
        """Goes on to the stage's last step: the state there."""
        recipe, place, name = self.run.recipe, self.place, self.planned.name
        epoch = max(1, self.stage.per_epoch // self.planned.settings.batch)
        every = recipe.validate_every or epoch
        data = {**self.run.training.arrays, **replicate(dict(self.stage.beside))}
        step_fn = self._step_fn()
        self.since, self.spoken = time.perf_counter(), 0  # of the speed that is logged
        bar = tqdm(total=self.steps, initial=place.done, desc=name, unit="step", dynamic_ncols=True)
        reader = closing(batches(self.run, self.stage, place.done, self.steps))
        with bar, reader as ahead:
            for first, batch in enumerate(ahead):
                place.done += 1
                key = jax.random.fold_in(keys, place.done)
                with telling_memory(self.mend):
                    if not first:  # the program is the one that the step then runs
                        self._check_memory(step_fn.lower(state, data, batch, key).compile())
                    state, metrics = step_fn(state, data, batch, key)
                self.unseen.append((place.done, metrics))
                self._look(bar, leave=self.under_way - 1)
                ended = place.done == self.steps
                if place.done % every == 0 or ended:
                    self._look(bar)
                    self._validate(state)
                if place.done % recipe.save_every == 0 or ended or stop.name:
                    self._look(bar)
                    self._save(state)
                if stop.name and not ended:
                    raise Interrupted(
                        f"{stop.name}: saved at step {place.step} of stage {name};"
                        " run the same command again to go on"
                    )
        return state

    def _step_fn(self) -> Any:
        def update(state: Any, data: Any, batch: Any, key: jax.Array) -> Any:
            data = data | ({"taken": batch["taken"]} if "taken" in batch else {})
            return self.stage.update(state, data, batch["rows"], key)

        return over_devices(update, how=self.run.recipe.parallel)

    def _check_memory(self, program: Any) -> None:
        devices = jax.local_devices()
        # Devices of a CPU share one memory.
        copies = len(devices) if devices[0].platform == "cpu" else 1
        check_step(program, copies, self.mend)

    def _look(self, bar: tqdm, leave: int = 0) -> None:
        """Looks at what steps gave, the last `leave` aside, and so waits for them.

        Every step is looked at before its state is kept: none that is lost may take the place of a
        sound one. Raises InputError at the first NaN.
        """
        while len(self.unseen) > leave:
            done, metrics = self.unseen.popleft()
            with telling_memory(self.mend):
                row = {k: float(v) for k, v in jax.device_get(metrics).items()}
            bar.update()
            self._note_metrics(done, row, bar)

    def _note_metrics(self, done: int, row: Mapping[str, float], bar: tqdm) -> None:
        """Logs a step's metrics when their time has come. Raises InputError at a NaN."""
        step, name = self.place.base + done, self.planned.name
        self.spoken += self.stage.captions
        if not all(math.isfinite(v) for v in row.values()):
            workdir = self.run.workdir
            self.log.keep()
            left = f"; {workdir} keeps its checkpoints" if self.last.steps() else ""
            raise InputError(
                f"the loss or the gradient of stage {name} is not finite at step"
                f" {step}{left}; start again in another --workdir with a lower"
                f" config.{name}.learning_rate or a smaller config.{name}.clip"
            )
        if done % self.run.recipe.log_every == 0 or done == self.steps:
            speed = self.spoken / (time.perf_counter() - self.since)
            bar.set_postfix(loss=f"{row['loss']:.3f}", captions_per_s=f"{speed:.0f}")
            self.log.add({"stage": name, "step": step, **row, "captions_per_s": speed})
            self.since, self.spoken = time.perf_counter(), 0

    def _validate(self, state: Any) -> None:
        """Scores the validation split, and keeps what is learnt where it is the best so far."""
        before, place, stage = time.perf_counter(), self.place, self.stage
        now = stage.trained(state)
        with telling_memory("lower config.decoding.width, samples or candidates"):
            scores = stage.validate(now)
        epochs = place.done * self.planned.settings.batch / stage.per_epoch
        name = self.planned.name
        self.log.add({"stage": name, "step": place.step, "epoch": epochs, **scores})
        tqdm.write(_line(name, place.step, scores))
        score = stage.score(scores)
        if place.best is None or score > place.best or score == math.inf:
            place.best = score if math.isfinite(score) else None
            keep = {"params": now.speaker}
            if now.evaluator is not None:
                keep["evaluator"] = now.evaluator
            note = {"stage": place.stage, "image": list(self.run.image), "scores": scores}
            self.kept.save(place.step, keep, note | {"evaluator": "evaluator" in keep})
        self.since += time.perf_counter() - before

    def _save(self, state: Any) -> None:
        self.log.keep()
        note = asdict(self.place) | {"captions": self.captions}
        self.last.save(self.place.step, state, note)


def _line(name: str, step: int, scores: Mapping[str, float]) -> str:
    shown = "  ".join(
        f"{key.removeprefix('val_')} {value:.3f}"
        if isinstance(value, float)
        else f"{key.removeprefix('val_')} {value}"
        for key, value in scores.items()
    )
    return f"{name} step {step}: {shown}"
