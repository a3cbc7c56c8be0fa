"""The contract of a training algorithm."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

State = Any
Metrics = dict[str, jax.Array]


class Algorithm(NamedTuple):
    """How a state is made and updated, on one device's share of a batch.

    `update` calls `lax.pmean` over the axis "data"; `parallel.over_devices` gives it that axis.
    """

    init: Callable[..., State]  # (key, ...) -> state
    update: Callable[[State, Any, jax.Array], tuple[State, Metrics]]  # (state, batch, key)


def decoded(state: Any) -> Any:
    """The parameters to decode with, of a state that has an average: that, where one is kept."""
    return state.average if jax.tree.leaves(state.average) else state.params


def row_keys(key: jax.Array, rows: int) -> jax.Array:
    """One key a row of the batch, the same whatever the number of devices: typed keys [rows]."""
    first = jax.lax.axis_index("data") * rows
    return jax.vmap(jax.random.fold_in, (None, 0))(key, first + jax.numpy.arange(rows))
