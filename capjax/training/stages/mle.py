"""Maximum likelihood: what every captioner learns first."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import jax.numpy as jnp
import numpy as np
import optax

from capjax.data.batches import gather, rows_by_image, rows_of
from capjax.data.prepare import Prepared
from capjax.data.vocabulary import Vocabulary
from capjax.errors import InputError
from capjax.objectives.algorithm import decoded
from capjax.objectives.maximum_likelihood import maximum_likelihood
from capjax.run.recipe import Recipe
from capjax.run.trained import PARAGRAPH
from capjax.settings import BELOW_1, FROM_0, SHARE
from capjax.training.stage import Learning, Learnt, Run, Stage, check_of_paragraphs
from capjax.training.validation import by_quality, speaker_validation


@dataclass(frozen=True, kw_only=True)
class Settings(Learning):
    learns: ClassVar[str] = "the captioner learns to say what people say"
    tells_apart: ClassVar[bool] = False
    accumulates: ClassVar[bool] = True

    captions_per_image: Annotated[int, FROM_0]  # an image once for so many; 0: a caption a row
    label_smoothing: Annotated[float, BELOW_1]
    scheduled_sampling: Annotated[float, SHARE]  # at the end, reached linearly
    average: Annotated[float, BELOW_1]
    stop_weight: Annotated[float, FROM_0] = 1.0  # of ending a paragraph or going on

    def check_others(
        self, recipe: Recipe, vocabulary: Vocabulary, prepared: Prepared | None = None
    ) -> None:
        check_of_paragraphs(vocabulary, "config.mle.stop_weight", self.stop_weight, 1.0)
        if self.scheduled_sampling and recipe.cell == PARAGRAPH:
            raise InputError(
                f"config.mle.scheduled_sampling={self.scheduled_sampling} feeds in words that the"
                f" captioner draws, and one full stop among them would move all topics of"
                f" config.cell={PARAGRAPH!r} on; set it to 0.0"
            )

    def rows_of(self, images: int, captions: int) -> int:
        """Every caption once, or every image once with some of its captions."""
        return images if self.captions_per_image else captions

    def cost(self) -> float:
        return self.batch * (self.captions_per_image or 1)


def stage(run: Run, settings: Settings) -> Stage:
    batch, each, seed = settings.batch, settings.captions_per_image, run.recipe.seed
    of = np.asarray(run.training.arrays["of"])
    count = settings.rows_of(len(run.training.split.ids), len(of))
    steps, own = settings.steps_of(count), settings.scheduled_sampling
    algorithm = maximum_likelihood(
        run.speaker,
        settings.optimizer(steps),
        label_smoothing=settings.label_smoothing,
        scheduled_sampling=optax.linear_schedule(0.0, own, steps) if own else None,
        average=settings.average,
        accumulate=settings.accumulate,
        stop_weight=settings.stop_weight,
    )
    width = run.recipe.noise

    def update(state, data, rows, key):
        chosen = gather("captions", data, rows)
        if width:  # G-GAN's generator learns to speak without noise first
            chosen["noise"] = jnp.zeros((rows.shape[0], width))
        return algorithm.update(state, chosen, key)

    return Stage(
        init=lambda key, learnt: algorithm.init(key, learnt.speaker),
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
        validate=lambda learnt: speaker_validation(run, learnt, settings),
        score=by_quality,
    )
