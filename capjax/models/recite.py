"""Teacher forcing of recurrent Flax modules: every step of known words at once."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from capjax.models.recurrence import recurrence


def reciter(module: nn.Module) -> Callable:
    """Makes `Speaker.recite` for a recurrent module (`recurrence`), which embeds words by `embed`.

    `drop_inputs` and `drop_outputs` take a key a word, where there are any. What is made also takes
    `inputs` float[T, N, X] in the place of embedded words, and `keep` bool[T, N], where the state
    before a step goes on and does not begin anew from 0.
    """
    recur = recurrence(module)

    def recite(params, memory, carry, words, lengths, inputs=None, keep=None):
        if inputs is None:
            inputs = module.apply(params, words.T, method="embed")
        drop = partial(_drop, module, carry)
        out = recur(params, memory, carry, drop("drop_inputs", inputs), lengths, keep)
        return jnp.moveaxis(drop("drop_outputs", out), 0, 1)

    return recite


def _drop(module, carry, name, x):
    """float[T, N, D] with a mask for each word, by the keys that single steps would take."""
    if "dropout" not in carry:
        return x
    steps, n, width = x.shape
    each = n // carry["position"].size
    key, first = (jnp.repeat(carry[k], each) for k in ("dropout", "position"))
    position = first[None] + jnp.arange(steps)[:, None]
    keys = jax.vmap(jax.random.fold_in)(jnp.tile(key, steps), position.reshape(-1))
    return getattr(module, name)(keys, x.reshape(-1, width)).reshape(x.shape)
