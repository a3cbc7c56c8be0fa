"""Sentences of a paragraph, one after another: what lies above the words of each."""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from capjax.models.dense import dense
from capjax.models.lstm import LSTM, lstm, opened


class SentenceLSTM(nn.Module):
    """An LSTM that takes a step a sentence; its output is its hidden state and its cell."""

    dim: int
    dtype: Any = jnp.float32

    always: ClassVar[tuple[str, ...]] = ()  # as `recurrence` asks for
    opens: ClassVar[tuple[str, ...]] = LSTM
    turns: ClassVar[tuple[str, ...]] = ()

    def setup(self):
        self.gates = dense(4 * self.dim, self.dtype)

    def __call__(self, state, x):
        """The state after a sentence float[N, X]."""
        gates = self.gates(jnp.concatenate([x, state["hidden"]], -1))
        return self.turn({}, state, opened(self.opens, gates))[0]

    def turn(self, memory, state, gates):
        cell, hidden = lstm(gates, state["cell"])
        return {"cell": cell, "hidden": hidden}, jnp.concatenate([hidden, cell], -1)


def blank_state(n: int, dim: int) -> dict[str, jax.Array]:
    """An LSTM's state before anything."""
    return {name: jnp.zeros((n, dim), jnp.float32) for name in ("cell", "hidden")}


def laid_out(place: jax.Array, x: jax.Array) -> jax.Array:
    """What stands at some places: place 0 or 1, float32[N, A, B]; x float32[N, B, D] -> [N, A, D].

    A product, whose gradient is one, too: to gather and to scatter rows is slow on CPUs.
    """
    return jnp.matmul(place, x, precision=lax.Precision.HIGHEST)
