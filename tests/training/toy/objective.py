"""Maximum likelihood with a confidence penalty (Pereyra et al., 2017)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from capjax.objectives.algorithm import Algorithm
from capjax.speaker import Context, Params, Speaker, log_probs, scored


class ToyState(NamedTuple):
    """The state of its training."""

    params: Params
    optimizer: Any


def toy(speaker: Speaker, optimizer: optax.GradientTransformation, *, penalty: float) -> Algorithm:
    """Minimises nats a word, and a penalty for each word that is nearly certain."""

    def init(key: jax.Array, params: Params) -> ToyState:
        params = jax.tree.map(jnp.copy, params)
        return ToyState(params, optimizer.init(params))

    def update(state: ToyState, batch: Context, key: jax.Array):
        captions = batch["caption"]
        real = scored(captions)

        def loss(params):
            log_p = log_probs(speaker, params, {"image": batch["image"]}, captions)
            each = -log_p + jnp.float32(penalty) * jnp.exp(log_p)
            return jnp.where(real, each, 0).sum() / real.sum().astype(jnp.float32)

        value, gradient = jax.value_and_grad(loss)(state.params)
        value, gradient = lax.pmean((value, gradient), "data")
        change, opt = optimizer.update(gradient, state.optimizer, state.params)
        return ToyState(optax.apply_updates(state.params, change), opt), {"loss": value}

    return Algorithm(init, update)
