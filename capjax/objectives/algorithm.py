"""The contract of a training algorithm."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from capjax.speaker import Captions, scored, spoken

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


def follow(average: Any, params: Any, decay: Any) -> Any:
    """A decaying average of parameters after one more step; () where none is kept."""
    if not jax.tree.leaves(average):
        return ()
    return jax.tree.map(lambda a, p: a + (1 - decay) * (p - a), average, params)


def drawn_metrics(drawn: Captions) -> Metrics:
    """What drawn captions are like, on one device's share of them.

    -> `entropy` (nats a word, estimated), `repeats` and `unended` (shares of captions that say a
    word twice running, or do not end), `words` (mean length).
    """
    words = drawn.words
    said = spoken(words)
    total = jax.lax.pmean(scored(words).sum().astype(jnp.float32), "data")
    again = (words[:, 1:] == words[:, :-1]) & said[:, 1:]
    return {
        "entropy": -drawn.log_prob.sum() / total,
        "repeats": again.any(1).astype(jnp.float32).mean(),
        "unended": said.all(1).astype(jnp.float32).mean(),
        "words": said.sum(1).astype(jnp.float32).mean(),
    }


def row_keys(key: jax.Array, rows: int) -> jax.Array:
    """One key a row of the batch, the same whatever the number of devices: typed keys [rows]."""
    first = jax.lax.axis_index("data") * rows
    return jax.vmap(jax.random.fold_in, (None, 0))(key, first + jnp.arange(rows))
