"""How far is what eyes make of scenes from the truth?"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from capjax.data.scenes.sight import CELLS
from capjax.models.eyes import Sight

Truth = Mapping[str, jax.Array]  # as of `scenes.sight.seen`; what else it holds is not looked at


def sight_loss(sight: Sight, truth: Truth) -> jax.Array:
    """How far what eyes make of one scene is from the truth, in nats, and UNITs of place.

    Of each object, and of there being no more: which cell it is in; of each object what it is, and
    the distance of its place along each axis; and the background.

    Args:
      sight: of one scene, told with the true cells.
      truth: of one scene.
    Returns:
      float[].
    """
    cell = truth["cell"]
    real = cell < CELLS
    said = real | jnp.concatenate([jnp.ones(1, bool), real[:-1]])  # "no more" is said once
    where = jnp.where(said, _chosen(sight.cell, cell), 0).sum()
    kinds = zip(sight.attributes, truth["attributes"].T, strict=True)
    what = sum(jnp.where(real, _chosen(log_p, value), 0).sum() for log_p, value in kinds)
    away = jnp.abs(sight.place - truth["place"]).sum(-1)
    return jnp.where(real, away, 0).sum() - where - what - sight.background[truth["background"]]


def sights_right(sight: Sight, truth: Truth) -> dict[str, jax.Array]:
    """What eyes get right of N scenes.

    Args:
      sight: told without the true cells.
      truth: as of `scenes.sight.seen`.
    Returns:
      {"attributes": int32[4, N], of how many objects each of CHOICES is right; "number",
      "background", "main", "all": bool[N]}. "main": all attributes of the most prominent object;
      "all": those of every object, and their number.
    """
    real = truth["cell"] < CELLS
    number = ((sight.cell[..., CELLS] < jnp.log(0.5)) == real).all(1)
    kinds = enumerate(sight.attributes)
    right = jnp.stack([x.argmax(-1) == truth["attributes"][..., i] for i, x in kinds])
    whole = right.all(0) | ~real
    return {
        "attributes": (right & real[None]).sum(-1),
        "number": number,
        "background": sight.background.argmax(-1) == truth["background"],
        "main": whole[:, 0],
        "all": whole.all(1) & number,
    }


def _chosen(log_p: jax.Array, index: jax.Array) -> jax.Array:
    return jnp.take_along_axis(log_p, index[:, None], 1)[:, 0]
