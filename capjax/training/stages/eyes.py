"""Eyes that learn what scenes hold, before the speaker has words for it."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import jax
import numpy as np

from capjax.data import DRAWN
from capjax.data.batches import gather, rows_of
from capjax.data.scenes.layout import CHOICES
from capjax.data.scenes.sight import CELLS, seen
from capjax.errors import InputError
from capjax.models.eyes import look
from capjax.models.sight_truth import sight_loss, sights_right
from capjax.objectives.seeing import seeing
from capjax.parallel import shared_out
from capjax.run.recipe import Recipe
from capjax.settings import BELOW_1
from capjax.speaker import Context, Params
from capjax.training.stage import Learning, Learnt, Part, Run, Stage, own_speaker

BATCH = 200  # scenes that are looked at together when eyes are validated


@dataclass(frozen=True, kw_only=True)
class Settings(Learning):
    learns: ClassVar[str] = "eyes learn what is drawn"
    speaks: ClassVar[bool] = False
    tells_apart: ClassVar[bool] = False

    average: Annotated[float, BELOW_1]

    def rows_of(self, images: int, captions: int) -> int:
        return images

    def check(self, recipe: Recipe, name: str) -> None:
        if recipe.data.name not in DRAWN or recipe.sight != "eyes":
            raise InputError(
                f"stage eyes teaches the network config.sight='eyes' by what scenes are known to"
                f" hold, and here are config.data.name={recipe.data.name!r} and"
                f" config.sight={recipe.sight!r}; see configs/eyes.py"
            )


def stage(run: Run, settings: Settings) -> Stage:
    count, seed = len(run.training.split.ids), run.recipe.seed
    optimizer = settings.optimizer(settings.steps_of(count))
    algorithm = seeing(_losses, optimizer, average=settings.average)
    first_caption = np.searchsorted(np.asarray(run.training.arrays["of"]), np.arange(count))

    def init(key, learnt):
        speaker = own_speaker(run, learnt, key)
        return speaker, algorithm.init(key, {"params": speaker["params"]["see"]})

    def update(state, data, rows, key):
        speaker, eyes = state
        truth = {name: x[data["of"][rows]] for name, x in data["truth"].items()}
        batch = truth | {"image": gather("captions", data, rows)["image"]}
        eyes, metrics = algorithm.update(eyes, batch, key)
        return (speaker, eyes), metrics

    def trained(state):
        speaker, eyes = state
        return Learnt({"params": {**speaker["params"], "see": eyes.average["params"]}})

    return Stage(
        init=init,
        update=update,
        trained=trained,
        per_epoch=count,
        rows=lambda step: first_caption[rows_of(count, settings.batch, seed, step)],
        kind="captions",
        captions=settings.batch,
        validate=lambda learnt: eyes_validation(run, learnt),
        score=lambda scores: scores["val_all_seen"],
        beside={"truth": _truth(run.training)},
    )


def eyes_validation(run: Run, learnt: Learnt) -> dict[str, float]:
    """What eyes get right of the validation split.

    -> shares of objects: `val_ATTRIBUTE_seen`; of scenes: `val_number_seen` and
    `val_background_seen`; `val_main_seen`, all attributes of the main object; `val_all_seen`, the
    number of objects and all attributes of each.
    """
    assert learnt.speaker is not None
    params = {"params": learnt.speaker["params"]["see"]}
    truth, count = _truth(run.validation), len(run.validation.split.ids)
    batch = min(BATCH, count)

    def one(begin: int) -> dict[str, np.ndarray]:
        rows = np.minimum(np.arange(begin, begin + batch), count - 1)
        right = _right(params, run.validation.images[rows], {k: x[rows] for k, x in truth.items()})
        counts = np.arange(begin, begin + batch) < count
        return {name: np.asarray(x)[..., counts].sum(-1) for name, x in right.items()}

    parts = list(shared_out(one, range(0, count, batch)))
    total = {name: np.sum([part[name] for part in parts], 0) for name in parts[0]}
    objects = (truth["cell"] < CELLS).sum()
    right = zip(CHOICES, total["attributes"], strict=True)
    shares = {f"val_{attribute}_seen": x / objects for attribute, x in right}
    names = ("number", "background", "main", "all")
    shares |= {f"val_{name}_seen": total[name] / count for name in names}
    return {name: float(x) for name, x in shares.items()}


def _losses(params: Params, batch: Context) -> jax.Array:
    return jax.vmap(sight_loss)(look(params, batch["image"], batch["cell"]), batch)


@jax.jit
def _right(params: Params, images: jax.Array, truth: dict) -> dict[str, jax.Array]:
    return sights_right(look(params, images), truth)


def _truth(part: Part) -> dict[str, np.ndarray]:
    assert part.split.truth is not None
    return dict(seen([about["scene"] for about in part.split.truth]))
