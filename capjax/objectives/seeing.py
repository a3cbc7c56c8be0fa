"""Teaching eyes what images hold, before a speaker has words for it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from capjax.agreement import check_batch
from capjax.objectives.algorithm import Algorithm, follow
from capjax.speaker import Context, Params


class SeeingState(NamedTuple):
    """The state of the training of eyes."""

    params: Params
    average: Params  # decaying average of params, which is what sees
    optimizer: Any


def seeing(
    losses: Callable[[Params, Context], jax.Array],
    optimizer: optax.GradientTransformation,
    *,
    average: float = 0.99,
) -> Algorithm:
    """Minimises how far what eyes make of images is from what these are known to hold.

    Args:
      losses: (params, a batch) -> float[B], of each image.
      average: decay of the average of the parameters.
    Returns:
      Algorithm(init, update): init(key, params); a batch is {"image" [B, ...]} and what `losses`
      reads beside; metrics are the mean loss and the gradient's norm.
    """

    def init(key: jax.Array, params: Params) -> SeeingState:
        copy, average = jax.tree.map(jnp.copy, (params, params))
        return SeeingState(copy, average, optimizer.init(params))

    def update(state: SeeingState, batch: Context, key: jax.Array):
        check_batch(batch, "image")
        found = jax.value_and_grad(lambda params: losses(params, batch).mean())(state.params)
        value, gradient = lax.pmean(found, "data")
        change, opt = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, change)
        metrics = {"loss": value, "gradient_norm": optax.tree.norm(gradient)}
        return SeeingState(params, follow(state.average, params, average), opt), metrics

    return Algorithm(init, update)
