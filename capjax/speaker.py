"""The contract that all else speaks to: a captioner as pure functions over ids."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Params = Any
Context = dict[str, jax.Array]
Carry = Any

END = 0  # closes a caption, pads what follows, and is the first word fed in
UNKNOWN = 1


class Captions(NamedTuple):
    """Captions spoken by a decoder."""

    words: jax.Array  # int32 [N, T], or [N, W, T] from beam search, best first
    log_prob: jax.Array  # float32 [N] or [N, W]: nats, the sum over the words and their end


class Speaker(NamedTuple):
    """A captioner. All leaves of context, memory and carry lead with the batch axis N.

    `context` holds `image` and, where the model has them, `noise` [N, Z] and `concept` int32[N];
    with `dropout` (typed keys [N]) dropout is on, and the same key gives the same masks.
    """

    init: Callable[[jax.Array], Params]  # (key) -> params
    start: Callable[[Params, Context], tuple[Any, Carry]]  # -> (memory, carry) before a word
    step: Callable[[Params, Any, Carry, jax.Array], tuple[Carry, jax.Array]]
    # (params, memory, carry, words int32[N]) -> (carry, hidden float[N, H])
    logits: Callable[[Params, jax.Array], jax.Array]  # (params, hidden [..., H]) -> [..., V]


def scored(captions: jax.Array) -> jax.Array:
    """Marks the positions that are scored: the words and the first end. [..., T] -> bool[..., T]."""
    ended = jnp.cumsum(captions == END, axis=-1)
    return (ended - (captions == END)) == 0


def spoken(captions: jax.Array) -> jax.Array:
    """Marks the words of captions: those before the first end. int32[..., T] -> bool[..., T]."""
    return jnp.cumsum(captions == END, axis=-1) == 0


def shift(captions: jax.Array) -> jax.Array:
    """The words fed in when captions are read back: the end, then all but the last word."""
    first = jnp.full_like(captions[..., :1], END)
    return jnp.concatenate([first, captions[..., :-1]], axis=-1)
