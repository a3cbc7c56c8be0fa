"""What a stage of a recipe is: how it learns, and the settings that every one has.

A stage is a file of `training.stages`, called as the stage is: its `Settings`, and `stage`, which
makes of them and of the run what `loop.run_stage` runs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from capjax.data.neighbours import nearest
from capjax.data.prepare import Prepared
from capjax.data.split import Split
from capjax.data.vocabulary import Vocabulary
from capjax.errors import InputError
from capjax.judging import Evaluator
from capjax.objectives.altered import Altered
from capjax.run.recipe import Recipe
from capjax.run.trained import Trained
from capjax.settings import ABOVE_0, BELOW_1, FROM_0, FROM_1, OneOf
from capjax.speaker import Params, Speaker
from capjax.training.pace import told_by_all
from capjax.training.time_left import Ahead


class Learnt(NamedTuple):
    """What the stages of a run have learnt so far; None for what is still to be made."""

    speaker: Params | None = None
    evaluator: Params | None = None


class Part(NamedTuple):
    """A split of a run's dataset, as its stages see it."""

    split: Split
    images: np.ndarray  # [M, ...], as the speaker takes them
    arrays: dict[str, jax.Array]  # of `caption_arrays`: what of it lies on the device


class Run(NamedTuple):
    """What the stages of a run share."""

    recipe: Recipe
    workdir: Path
    speaker: Speaker
    evaluator: Evaluator | None  # where the recipe has one
    vocabulary: Vocabulary
    image: tuple  # what the speaker is told of images
    training: Part
    validation: Part


@dataclass(frozen=True, kw_only=True)
class Learning:
    """The settings that every stage has: for how long it learns, and by which optimizer."""

    learns: ClassVar[str] = ""  # what it learns, in a few words for who watches; "": untold
    tunes: ClassVar[str] = ""  # its name, where it starts from a captioner
    speaks: ClassVar[bool] = True  # whether there are captions to be read after it
    keeps_speaker: ClassVar[bool] = False  # whether it leaves the speaker as it is
    tells_apart: ClassVar[bool] = True  # whether it learns from other images or their captions
    folders: ClassVar[tuple[str, ...]] = ()  # those of its settings that are folders of runs
    accumulates: ClassVar[bool] = False  # whether it learns from a batch part by part, if asked

    epochs: Annotated[float, ABOVE_0] = 0.0
    steps: Annotated[int, FROM_0] = 0  # in the place of epochs
    batch: Annotated[int, FROM_1]
    accumulate: Annotated[int, FROM_1] = 1  # parts of a batch, one after another: less memory
    learning_rate: Annotated[float, ABOVE_0]
    warmup: Annotated[int, FROM_0]
    schedule: Annotated[str, OneOf(("cosine", "constant"))]
    clip: Annotated[float, FROM_0]
    weight_decay: Annotated[float, FROM_0]
    b1: Annotated[float, BELOW_1] = 0.9
    b2: Annotated[float, BELOW_1] = 0.999
    decoding: Mapping[str, Any] | None = None  # how captions are spoken after it; None: the run's

    def check(self, recipe: Recipe, name: str) -> None:
        """Raises InputError where settings do not fit one another; name: "config.STAGE"."""

    def check_start(self, recipe: Recipe, start: Trained) -> None:
        """Raises InputError where it is the first stage, and a run is no start for it."""

    def check_others(
        self, recipe: Recipe, vocabulary: Vocabulary, prepared: Prepared | None = None
    ) -> None:
        """Raises InputError where the kind of captions, or other runs that it reads, do not fit.

        prepared: None where images have not been encoded yet.
        """

    def steps_of(self, count: int) -> int:
        """Its steps: as many as `steps` says, or `epochs` of `count` rows come to."""
        return self.steps or max(1, round(self.epochs * count / self.batch))

    def rows_of(self, images: int, captions: int) -> int:
        """The rows of an epoch of a training split of so many."""
        return captions

    def cost(self) -> float:
        """About what a step costs, in captions that maximum likelihood reads: for the time left."""
        return self.batch

    def ahead(self, images: int, captions: int, validate_every: int) -> Ahead:
        """What is known of it before it begins, of a training split of so many."""
        rows = self.rows_of(images, captions)
        every = validate_every or max(1, rows // self.batch)
        speaks = self.speaks and not self.keeps_speaker
        return Ahead(self.steps_of(rows), every, self.cost(), speaks, 1)

    def optimizer(self, steps: int) -> optax.GradientTransformation:
        """Adam, with a learning rate over so many steps, clipping and decay."""
        return self.adam(self.learning_rate, self.weight_decay, steps)

    def adam(self, peak: float, weight_decay: float, steps: int) -> optax.GradientTransformation:
        """The same with another learning rate and decay."""
        warmup = min(self.warmup, steps // 2)
        if self.schedule == "cosine":  # to 2 %
            rate = optax.warmup_cosine_decay_schedule(0.0, peak, warmup, steps, 0.02 * peak)
        else:
            rise = optax.linear_schedule(0.0, peak, warmup)
            rate = optax.join_schedules([rise, optax.constant_schedule(peak)], [warmup])
        clip = [optax.clip_by_global_norm(self.clip)] if self.clip else []
        return optax.chain(*clip, optax.adamw(rate, self.b1, self.b2, weight_decay=weight_decay))

    def decoding_of(self, recipe: Recipe) -> dict[str, Any]:
        """How captions are spoken after it: as it says, else as the recipe does."""
        return dict(self.decoding or recipe.decoding)


class Stage(NamedTuple):
    """How one kind of stage learns."""

    init: Callable[[jax.Array, Learnt], Any]  # (key, what is learnt so far) -> state
    update: Callable[[Any, Any, jax.Array, jax.Array], Any]  # (state, data, rows, key), a device's
    trained: Callable[[Any], Learnt]  # out of a state: what is kept of it
    per_epoch: int  # rows of an epoch
    rows: Callable[[int], np.ndarray]  # step, from 0 -> the rows of its batch
    kind: str  # what the rows are, of `images_of`
    captions: int  # people's captions that a step reads
    validate: Callable[[Learnt], dict[str, Any]]  # -> scores, as of `validation`
    score: Callable[[Mapping[str, float]], float]  # of a validation: the highest one is kept
    beside: Mapping[str, Any] = {}  # arrays that it reads beside the training split's


def update_of(stage: Stage) -> Callable[[Any, Any, Any, jax.Array], Any]:
    """A stage's update as it is mapped over devices: (state, data, batch, key) -> (state, (metrics,
    what the processes tell one another beside the batch)).

    Images of the batch's own, where there are any, take the place of the split's.
    """

    def update(state: Any, data: Any, batch: Any, key: jax.Array) -> Any:
        data = data | ({"taken": batch["taken"]} if "taken" in batch else {})
        state, metrics = stage.update(state, data, batch["rows"], key)
        return state, (metrics, told_by_all(batch))

    return update


def own_speaker(run: Run, learnt: Learnt, key: jax.Array) -> Params:
    """What the speaker has learnt so far, or its first parameters."""
    return run.speaker.init(key) if learnt.speaker is None else learnt.speaker


def own_evaluator(run: Run, learnt: Learnt, key: jax.Array) -> Params:
    """What the evaluator has learnt so far, or its first parameters.

    Where speaker and evaluator look at pixels by networks of one form, the evaluator's first eyes
    are the speaker's, which has learnt to see already.
    """
    assert run.evaluator is not None
    if learnt.evaluator is not None:
        return learnt.evaluator
    params = run.evaluator.init(key)
    own, theirs = (x["params"].get("see") for x in (params, learnt.speaker or {"params": {}}))
    form = lambda see: jax.tree.map(jnp.shape, see)  # noqa: E731
    if own is None or theirs is None or form(own) != form(theirs):
        return params
    return {**params, "params": {**params["params"], "see": theirs}}


def near(run: Run, distractors: int, mined: int, among: np.ndarray) -> np.ndarray | None:
    """The nearest `mined` of some training images to each of them; None without distractors."""
    if not distractors:
        return None
    return nearest(run.training.images[among], min(mined, len(among) - 1))


def mined(run: Run, count: int) -> np.ndarray | None:
    """The nearest training images to each, whose captions are the mismatched ones; None for 0."""
    images = run.training.images
    return nearest(images, min(count, len(images) - 1)) if count else None


def check_baseline(baseline: str, samples: int, name: str) -> None:
    """Raises InputError where a baseline needs other captions of an image and there are none."""
    if baseline not in ("none", "greedy") and samples < 2:
        raise InputError(
            f"{name}.baseline={baseline!r} needs {name}.samples=2 or more, and has {samples}"
        )


def check_of_paragraphs(vocabulary: Vocabulary, name: str, value: object, plain: object) -> None:
    """Raises InputError where a setting is for paragraphs and captions are single sentences, of
    which id 2 is a word like any other.

    Args:
      name: the setting, "config.STAGE.SETTING".
      value: what it is.
      plain: what it is where captions need not be paragraphs.
    """
    if value != plain and not vocabulary.sentences:
        raise InputError(
            f"{name}={value!r} is for paragraphs, and the captions here are single sentences; set"
            f" it to {plain!r}, or take --config.data.name=scenes-paragraphs"
        )


def check_altered(vocabulary: Vocabulary, name: str, altered: Altered) -> None:
    """Raises InputError where the shares of altered paragraphs that the settings `name`,
    "config.STAGE", ask for are for other captions than paragraphs, or more than all."""
    for share, value in altered._asdict().items():
        check_of_paragraphs(vocabulary, f"{name}.{share}", value, 0.0)
    if sum(altered) > 1:
        raise InputError(
            f"{name}.swapped={altered.swapped!r} and .left_out={altered.left_out!r} are shares of"
            " the same paragraphs, and together more than 1; lower one"
        )
