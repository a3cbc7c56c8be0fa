"""Contrastive learning of a captioner against what it was at the start, or another run: CL."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import jax.numpy as jnp
import numpy as np

from capjax.data.batches import gather, rows_with_others
from capjax.data.feature_files import PREFIX
from capjax.data.prepare import Prepared
from capjax.data.vocabulary import Vocabulary
from capjax.errors import InputError, named
from capjax.files.places import place
from capjax.objectives.algorithm import decoded
from capjax.objectives.contrastive import ContrastiveSettings, contrastive
from capjax.run.data import same_features
from capjax.run.recipe import Recipe
from capjax.run.trained import Trained, open_run
from capjax.settings import FROM_0, FROM_1
from capjax.training.stage import Learning, Learnt, Run, Stage, mined, own_speaker
from capjax.training.validation import by_quality, speaker_validation


@dataclass(frozen=True, kw_only=True)
class Settings(Learning, ContrastiveSettings):
    learns: ClassVar[str] = "the captioner learns captions that fit their image and no other"
    tunes: ClassVar[str] = "contrastive learning"
    accumulates: ClassVar[bool] = True
    folders: ClassVar[tuple[str, ...]] = ("reference",)

    negatives: Annotated[int, FROM_1]  # captions of other images beside each
    mined: Annotated[int, FROM_0]  # from so many nearest images; 0: from all
    reference: str = ""  # another run's folder; "": what it starts from
    rounds: Annotated[int, FROM_1]  # after each, the reference becomes what the target then is

    def __post_init__(self) -> None:
        """Left to `settings.read` and `check`, which tell of settings by their names."""

    def cost(self) -> float:
        return 2 * self.batch * (1 + self.negatives)  # read by the captioner and the reference

    def check(self, recipe: Recipe, name: str) -> None:
        if self.reference and self.rounds > 1:
            raise InputError(
                f"{name}.rounds={self.rounds} replaces the reference by the target, and"
                f" {name}.reference names another; take one of the two"
            )
        if self.pairs == "introspective" and self.likelihood:
            raise InputError(
                f"{name}.likelihood={self.likelihood} is for pairs that have a reference;"
                f" with {name}.pairs='introspective' set it to 0"
            )

    def check_others(
        self, recipe: Recipe, vocabulary: Vocabulary, prepared: Prepared | None = None
    ) -> None:
        self.open_reference(recipe, vocabulary, prepared)

    def open_reference(
        self, recipe: Recipe, vocabulary: Vocabulary, prepared: Prepared | None = None
    ) -> Trained | None:
        """The run that is the reference; None where that is what the stage starts from."""
        if not self.reference:
            return None
        with named("--config.contrastive.reference", self.reference):
            found = open_run(self.reference)
        ours, theirs = recipe.data.encoder, found.recipe.data.encoder
        files = theirs.startswith(PREFIX) and ours.startswith(PREFIX)
        same = theirs == ours or (
            files and (prepared is None or same_features(place(self.reference), prepared))
        )
        other = found.vocabulary != vocabulary or not same
        if other or found.recipe.noise or found.concepts:
            raise InputError(
                f"the reference {self.reference} has another vocabulary, another encoder ({theirs}"
                f" where this run has {ours}), noise or classes; start both from one run, with one"
                " encoder, no noise and no classes"
            )
        return found


def stage(run: Run, settings: Settings) -> Stage:
    batch, seed = settings.batch, run.recipe.seed
    of = np.asarray(run.training.arrays["of"])
    steps = settings.steps_of(len(of))
    other = settings.open_reference(run.recipe, run.vocabulary)
    algorithm = contrastive(
        run.speaker,
        other.speaker if other else run.speaker,
        settings.optimizer(steps),
        settings,
        replace=-(-steps // settings.rounds) if settings.rounds > 1 else 0,
    )
    width, near = run.recipe.noise, mined(run, settings.mined)

    def init(key, learnt):
        start = own_speaker(run, learnt, key)
        return algorithm.init(key, start, other.params if other else start)

    def update(state, data, rows, key):
        chosen = gather("others", data, rows)
        if width:
            chosen["noise"] = jnp.zeros((rows.shape[0], width))
        return algorithm.update(state, chosen, key)

    return Stage(
        init=init,
        update=update,
        trained=lambda state: Learnt(decoded(state)),
        per_epoch=len(of),
        rows=lambda step: rows_with_others(of, batch, 1, seed, step, settings.negatives, near)[
            :, 0
        ],
        kind="others",
        captions=batch,
        validate=lambda learnt: speaker_validation(run, learnt, settings),
        score=by_quality,
    )
