"""Gates, and one LSTM step."""

import jax
import jax.numpy as jnp
from jax import lax

# What a gate does to its sum x, as a * sigmoid(a * x + b) - c; None leaves it. Forget gates are
# opened by a bias of 1, so that long memory need not be learnt first; tanh(x) is the last.
KINDS = {"gate": (1, 0, 0), "forget": (1, 1, 0), "new": (2, 0, 1), "sum": None}
LSTM = ("gate", "forget", "gate", "new")  # enter, forget, show, new


def opened(kinds: tuple[str, ...], sums: jax.Array) -> jax.Array:
    """Gates from the affine maps of input and hidden state, in one pass: float[N, K * D], K kinds.

    -> float32 like it.
    """
    a, b, c, plain = _columns(kinds, sums)
    sums = sums.astype(jnp.float32)
    return jnp.where(plain, sums, a * lax.logistic(a * sums + b) - c)


def closed(kinds: tuple[str, ...], gates: jax.Array, d_gates: jax.Array) -> jax.Array:
    """The gradient of what `opened` was given, from what it gave and the gradient of that."""
    a, _, c, plain = _columns(kinds, gates)
    return jnp.where(plain, d_gates, d_gates * (gates + c) * (a - c - gates))


def _columns(kinds, gates):
    """(a, b, c, whether left as they are) for each column: [1, K * D] each."""
    width = gates.shape[-1] // len(kinds)
    rows = [(*(KINDS[k] or (1, 0, 0)), KINDS[k] is None) for k in kinds]
    each = zip(*rows, strict=True)
    spread = lambda x, dtype: jnp.repeat(jnp.array(x, dtype), width)[None]  # noqa: E731
    dtypes = jnp.float32, jnp.float32, jnp.float32, jnp.bool_
    return tuple(map(spread, each, dtypes))


def lstm(gates: jax.Array, cell: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The new cell and hidden state (Hochreiter & Schmidhuber, 1997), both float32.

    Args:
      gates: float32[N, 4 * D], opened as `LSTM`.
      cell: float32[N, D].
    """
    enter, forget, show, new = jnp.split(gates, 4, -1)
    cell = forget * cell + enter * new
    return cell, show * jnp.tanh(cell)
