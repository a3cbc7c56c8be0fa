"""One LSTM step."""

import flax.linen as nn
import jax
import jax.numpy as jnp


def lstm(gates: jax.Array, cell: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The new cell and hidden state (Hochreiter & Schmidhuber, 1997), both float32.

    Forget gates are opened by a bias of 1, so that long memory need not be learnt first.

    Args:
      gates: float[N, 4 * D], the affine maps of input and hidden state: enter, forget, show, new.
      cell: float32[N, D].
    """
    enter, forget, show, new = jnp.split(gates.astype(jnp.float32), 4, -1)
    cell = nn.sigmoid(forget + 1) * cell + nn.sigmoid(enter) * jnp.tanh(new)
    return cell, nn.sigmoid(show) * jnp.tanh(cell)
