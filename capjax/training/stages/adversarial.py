"""Speaker and evaluator against each other, every word valued by rollouts: G-GAN."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from capjax.data.batches import gather, rows_with_others
from capjax.data.prepare import Prepared
from capjax.data.vocabulary import Vocabulary
from capjax.objectives.adversarial import AdversarialSettings, adversarial
from capjax.objectives.algorithm import decoded
from capjax.run.recipe import Recipe
from capjax.settings import ABOVE_0, FROM_0
from capjax.training.stage import (
    Learning,
    Learnt,
    Run,
    Stage,
    check_altered,
    check_baseline,
    check_of_paragraphs,
    mined,
    own_evaluator,
    own_speaker,
)
from capjax.training.validation import evaluator_validation, last_is_best, speaker_validation

# Beginnings of a caption that are finished in every rollout: as many as take a caption's time.
BEGINNINGS = {"word": 4, "sentence": 2}


@dataclass(frozen=True, kw_only=True)
class Settings(Learning, AdversarialSettings):
    learns: ClassVar[str] = "captioner and evaluator learn against each other"
    accumulates: ClassVar[bool] = True

    evaluator_learning_rate: Annotated[float, ABOVE_0]
    evaluator_weight_decay: Annotated[float, FROM_0]
    mined: Annotated[int, FROM_0] = 0  # mismatched captions are of so many nearest images; 0: all

    def __post_init__(self) -> None:
        """Left to `settings.read` and `check`, which tell of settings by their names."""

    def check(self, recipe: Recipe, name: str) -> None:
        check_baseline(self.baseline, self.samples, name)

    def check_others(
        self, recipe: Recipe, vocabulary: Vocabulary, prepared: Prepared | None = None
    ) -> None:
        check_altered(vocabulary, "config.adversarial", self.altered)
        check_of_paragraphs(vocabulary, "config.adversarial.feedback", self.feedback, "word")

    def cost(self) -> float:
        finished = self.samples * self.rollouts * BEGINNINGS[self.feedback]
        return self.batch * (finished + 3 * self.evaluator_steps)


def stage(run: Run, settings: Settings) -> Stage:
    assert run.evaluator is not None
    batch, seed = settings.batch, run.recipe.seed
    units = 1 + settings.evaluator_steps
    of = np.asarray(run.training.arrays["of"])
    noise = run.recipe.drawn_noise
    alike = mined(run, settings.mined)
    steps = settings.steps_of(len(of))
    algorithm = adversarial(
        run.speaker,
        run.evaluator,
        settings.optimizer(steps),
        settings.adam(
            settings.evaluator_learning_rate,
            settings.evaluator_weight_decay,
            steps * settings.evaluator_steps,
        ),
        settings,
        noise=noise,
    )

    def update(state, data, rows, key):
        return algorithm.update(state, gather("units", data, rows), key)

    return Stage(
        init=lambda key, learnt: algorithm.init(
            key, own_speaker(run, learnt, key), own_evaluator(run, learnt, key)
        ),
        update=update,
        trained=lambda state: Learnt(decoded(state), state.evaluator),
        per_epoch=len(of),
        rows=lambda step: rows_with_others(of, batch, units, seed, step, near=alike),
        kind="units",
        captions=batch * units,
        validate=lambda learnt: (
            speaker_validation(run, learnt, settings) | evaluator_validation(run, learnt, noise)
        ),
        score=last_is_best,
    )
