"""One stage of a run: batches through an update, validation, checkpoints, and what is told."""

import math
import time
from collections import deque
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import jax

from capjax.errors import InputError
from capjax.parallel import (
    by_first,
    check_step,
    over_devices,
    processes,
    replicate,
    telling_memory,
)
from capjax.run.checkpoint import Checkpoints
from capjax.run.data import captions_sum
from capjax.run.folder import best_folder
from capjax.run.metrics_log import MetricsLog
from capjax.terminal.progress import Progress
from capjax.training.ahead import batches
from capjax.training.pace import Pace
from capjax.training.plan import Planned
from capjax.training.stage import Learnt, Run, Stage, update_of
from capjax.training.stopping import Interrupted, StopSignal
from capjax.training.telling import Telling
from capjax.training.validation import SAID


def steps_under_way() -> int:
    """Steps that devices are given before the first one's metrics are looked at.

    Accelerators need not wait for the host then; virtual devices of a CPU would starve each other.
    """
    return 1 if jax.local_devices()[0].platform == "cpu" else 3


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
    run: Run, stop: StopSignal, telling: Telling, index: int, planned: Planned, learnt: Learnt
) -> Learnt | None:
    """Runs one stage of a recipe, or what is left of it, or finds that it is done.

    Args:
      telling: tells of it on the terminal.
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
            work = _Work(run, planned, stage, place, last, kept, stop, telling)
            state = work.learn(state, jax.random.fold_in(seed, 1))
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
        stop: StopSignal,
        telling: Telling,
    ):
        self.run, self.planned, self.stage, self.place = run, planned, stage, place
        self.last, self.kept, self.stop, self.telling = last, kept, stop, telling
        self.steps = planned.settings.steps_of(stage.per_epoch)
        self.log = MetricsLog(run.workdir / "metrics.jsonl", place.step, processes.first())
        batch, parts = planned.settings.batch, planned.settings.accumulate
        self.mend = f"lower config.{planned.name}.batch={batch}"
        if planned.settings.accumulates:
            self.mend += f" or raise config.{planned.name}.accumulate={parts}"
        self.captions = captions_sum(run.training.arrays)
        self.under_way = steps_under_way()
        self.unseen: deque[tuple[int, Any]] = deque()  # (step, what it gave)
        self.pace = Pace(stop, run.recipe.log_every)
        epoch = max(1, stage.per_epoch // planned.settings.batch)
        self.every = run.recipe.validate_every or epoch

    def learn(self, state: Any, keys: jax.Array) -> Any:
        """Goes on to the stage's last step: the state there."""
        place, name = self.place, self.planned.name
        self.since, self.spoken = time.perf_counter(), 0  # of the speed that is logged
        if place.step:
            self.stop.place = f"at step {place.step} of stage {name}"
        self.telling.begins(place.stage, place.done, self.steps)
        if place.done and self._validates():  # it was saved before that, and cut
            self._validate(state)
        if place.done == self.steps:
            return state
        reader = closing(batches(self.run, self.stage, place.done, self.steps))
        with self.telling.progress(self.steps) as progress, reader as ahead:
            return self._steps(state, keys, ahead, progress)

    def _steps(self, state: Any, keys: jax.Array, ahead: Any, progress: Progress) -> Any:
        """One step after another, as long as there are batches and nobody asks to stop."""
        place, stop = self.place, self.stop
        data = {**self.run.training.arrays, **replicate(dict(self.stage.beside))}
        if jax.local_device_count() > 1:  # a state that was restored lies on one of them
            state = replicate(state)
        step_fn = over_devices(update_of(self.stage), how=self.run.recipe.parallel)
        for first, batch in enumerate(ahead):
            key, batch = jax.random.fold_in(keys, place.done + 1), self.pace.beside(batch)
            with telling_memory(self.mend):
                if not first:  # the program is the one that the step then runs
                    self._check_memory(step_fn.lower(state, data, batch, key).compile())
                stop.holds = True
                state, metrics = step_fn(state, data, batch, key)
            place.done += 1
            self.unseen.append((place.done, metrics))
            self._look(progress, leave=self.under_way - 1)
            ended, validates = place.done == self.steps, self._validates()
            asked = self.pace.asked
            if asked or validates or place.done % self.run.recipe.save_every == 0:
                self._look(progress)
                self._save(state)
                stop.place = f"at step {place.step} of stage {self.planned.name}"
            if validates:
                stop.holds = False
                stop.let_go()
                self._validate(state)
            elif asked and not ended:
                stop.holds = False
                raise Interrupted(
                    f"{stop.name or asked}: saved {stop.place}; run the same command again to go on"
                )
        stop.holds = False
        stop.let_go()
        return state

    def _validates(self) -> bool:
        """Whether what has been learnt is validated now."""
        return self.place.done % self.every == 0 or self.place.done == self.steps

    def _check_memory(self, program: Any) -> None:
        devices = jax.local_devices()
        # Devices of a CPU share one memory.
        copies = len(devices) if devices[0].platform == "cpu" else 1
        check_step(program, copies, self.mend)

    def _look(self, progress: Progress, leave: int = 0) -> None:
        """Looks at what steps gave, the last `leave` aside, and so waits for them.

        Every step is looked at before its state is kept: none that is lost may take the place of a
        sound one. Raises InputError at the first NaN.
        """
        while len(self.unseen) > leave:
            done, given = self.unseen.popleft()
            with telling_memory(self.mend), self.pace.waiting():
                metrics, told = jax.device_get(given)
            row = {name: float(value) for name, value in metrics.items()}
            self.pace.look(told)
            self._note_metrics(done, row)
            self.telling.time.stepped()
            progress.update()

    def _note_metrics(self, done: int, row: Mapping[str, float]) -> None:
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
            self.telling.measured(row["loss"], speed)
            told = self.pace.told()
            self.log.add({"stage": name, "step": step, **row, "captions_per_s": speed, **told})
            self.since, self.spoken = time.perf_counter(), 0

    def _validate(self, state: Any) -> None:
        """Scores the validation split, and keeps what is learnt where it is the best so far.

        The state has been saved before. A run that is cut here, and goes on, validates it again, or
        finds that it has been.
        """
        before, place, stage = time.perf_counter(), self.place, self.stage
        now, name = stage.trained(state), self.planned.name
        if (scores := by_first(self._scores)) is not None:
            self._keep(now, scores)
            return
        mend = "lower config.decoding.width, samples or candidates"
        with telling_memory(mend), self.telling.time.validating():
            found = dict(stage.validate(now))
        said, scores = found.pop(SAID, ()), found
        self._keep(now, scores)
        epochs = place.done * self.planned.settings.batch / stage.per_epoch
        self.log.add({"stage": name, "step": place.step, "epoch": epochs, **scores})
        self.log.keep()
        self.telling.validated(name, place.step, scores, said)
        self.since += time.perf_counter() - before
        self.pace.rest()

    def _scores(self) -> dict[str, float] | None:
        """What a validation of this very step has given before the run was cut."""
        here = {"stage": self.planned.name, "step": self.place.step}
        found = [row for row in self.log.rows if "epoch" in row and here.items() <= row.items()]
        return {k: v for k, v in found[0].items() if k.startswith("val_")} if found else None

    def _keep(self, now: Learnt, scores: Mapping[str, float]) -> None:
        place, score = self.place, self.stage.score(scores)
        if place.best is None or score > place.best or score == math.inf:
            place.best = score if math.isfinite(score) else None
            keep = {"params": now.speaker}
            if now.evaluator is not None:
                keep["evaluator"] = now.evaluator
            note = {"stage": place.stage, "image": list(self.run.image), "scores": dict(scores)}
            self.kept.save(place.step, keep, note | {"evaluator": "evaluator" in keep})

    def _save(self, state: Any) -> None:
        self.log.keep()
        note = asdict(self.place) | {"captions": self.captions}
        self.last.save(self.place.step, state, note)
