"""Maximum likelihood with a confidence penalty."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from capjax.objectives.toy import toy

from capjax.data.batches import gather, rows_of
from capjax.settings import FROM_0
from capjax.training.stage import Learning, Learnt, Run, Stage, own_speaker
from capjax.training.validation import by_quality, speaker_validation


@dataclass(frozen=True, kw_only=True)
class Settings(Learning):
    penalty: Annotated[float, FROM_0]  # nats a word that is certain


def stage(run: Run, settings: Settings) -> Stage:
    batch, seed = settings.batch, run.recipe.seed
    count = len(np.asarray(run.training.arrays["of"]))
    algorithm = toy(
        run.speaker, settings.optimizer(settings.steps_of(count)), penalty=settings.penalty
    )

    def update(state, data, rows, key):
        return algorithm.update(state, gather("captions", data, rows), key)

    return Stage(
        init=lambda key, learnt: algorithm.init(key, own_speaker(run, learnt, key)),
        update=update,
        trained=lambda state: Learnt(state.params),
        per_epoch=count,
        rows=lambda step: rows_of(count, batch, seed, step),
        kind="captions",
        captions=batch,
        validate=lambda learnt: speaker_validation(run, learnt, settings),
        score=by_quality,
    )
