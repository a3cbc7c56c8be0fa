"""A listener that learns to pick the image that a caption is of out of others."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from capjax.data.batches import gather, rows_beside_images
from capjax.objectives.listener_training import listener_training
from capjax.settings import FROM_0, Range
from capjax.training.stage import (
    Learning,
    Learnt,
    Run,
    Stage,
    near,
    own_evaluator,
    own_speaker,
)
from capjax.training.validation import listener_validation

HALVES = Range(lambda x: x in (0, 1, 2), "0, 1 or 2")


@dataclass(frozen=True, kw_only=True)
class Settings(Learning):
    learns: ClassVar[str] = "a listener learns to find an image by its caption"
    keeps_speaker: ClassVar[bool] = True

    distractors: Annotated[int, FROM_0]  # of an image beside the batch's
    mined: Annotated[int, FROM_0]  # drawn from so many nearest images
    half: Annotated[int, HALVES]  # 1 or 2: of every other image only

    def rows_of(self, images: int, captions: int) -> int:
        return images if not self.half else (images + (self.half == 1)) // 2


def stage(run: Run, settings: Settings) -> Stage:
    assert run.evaluator is not None
    batch, seed, half = settings.batch, run.recipe.seed, settings.half
    of = np.asarray(run.training.arrays["of"])
    among = np.arange(of[-1] + 1)
    among = among[half - 1 :: 2] if half else among
    nearest = near(run, settings.distractors, settings.mined, among)
    algorithm = listener_training(run.evaluator, settings.optimizer(settings.steps_of(len(among))))

    def init(key, learnt):
        return own_speaker(run, learnt, key), algorithm.init(key, own_evaluator(run, learnt, key))

    def update(state, data, rows, key):
        speaker, listener = state
        listener, metrics = algorithm.update(listener, gather("beside", data, rows), key)
        return (speaker, listener), metrics

    return Stage(
        init=init,
        update=update,
        trained=lambda state: Learnt(state[0], state[1].params),
        per_epoch=len(among),
        rows=lambda step: rows_beside_images(
            of, batch, seed, step, among=among, near=nearest, distractors=settings.distractors
        ),
        kind="beside",
        captions=batch,
        validate=lambda learnt: listener_validation(run, learnt),
        score=lambda scores: -scores["val_listener_loss"],
    )
