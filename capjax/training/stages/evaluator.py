"""An evaluator that learns to tell people's captions from a speaker's, which stays as it is."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from capjax.data.batches import gather, rows_with_others
from capjax.data.prepare import Prepared
from capjax.data.vocabulary import Vocabulary
from capjax.objectives.altered import Altered
from capjax.objectives.evaluator_training import evaluator_training
from capjax.run.recipe import Recipe
from capjax.settings import FROM_0, SHARE
from capjax.training.stage import (
    Learning,
    Learnt,
    Run,
    Stage,
    check_altered,
    mined,
    own_evaluator,
    own_speaker,
)
from capjax.training.validation import evaluator_validation


@dataclass(frozen=True, kw_only=True)
class Settings(Learning):
    learns: ClassVar[str] = "an evaluator learns to tell people's captions from the captioner's"
    keeps_speaker: ClassVar[bool] = True
    accumulates: ClassVar[bool] = True

    alpha: Annotated[float, FROM_0]  # weight of generated captions
    beta: Annotated[float, FROM_0]  # weight of people's captions of other images
    mined: Annotated[int, FROM_0] = 0  # which are so many nearest ones; 0: all
    swapped: Annotated[float, SHARE] = 0.0  # of paragraphs: as in `Altered`
    left_out: Annotated[float, SHARE] = 0.0  # the same

    @property
    def altered(self) -> Altered:
        """What becomes of mismatched paragraphs."""
        return Altered(self.swapped, self.left_out)

    def check_others(
        self, recipe: Recipe, vocabulary: Vocabulary, prepared: Prepared | None = None
    ) -> None:
        check_altered(vocabulary, "config.evaluator", self.altered)

    def cost(self) -> float:
        return 5 * self.batch  # one is drawn, and three are judged


def stage(run: Run, settings: Settings) -> Stage:
    assert run.evaluator is not None
    batch, seed = settings.batch, run.recipe.seed
    of = np.asarray(run.training.arrays["of"])
    noise = run.recipe.drawn_noise
    alike = mined(run, settings.mined)
    algorithm = evaluator_training(
        run.speaker,
        run.evaluator,
        settings.optimizer(settings.steps_of(len(of))),
        alpha=settings.alpha,
        beta=settings.beta,
        noise=noise,
        accumulate=settings.accumulate,
        swapped=settings.swapped,
        left_out=settings.left_out,
    )

    def update(state, data, rows, key):
        return algorithm.update(state, gather("units", data, rows), key)

    return Stage(
        init=lambda key, learnt: algorithm.init(
            key, own_speaker(run, learnt, key), own_evaluator(run, learnt, key)
        ),
        update=update,
        trained=lambda state: Learnt(state.speaker, state.params),
        per_epoch=len(of),
        rows=lambda step: rows_with_others(of, batch, 1, seed, step, near=alike)[:, 0],
        kind="units",
        captions=batch,
        validate=lambda learnt: evaluator_validation(run, learnt, noise),
        score=lambda scores: -scores["val_evaluator_loss"],
    )
