"""Prefixes of known captions, as completions go on from them: after every word, or after some."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from capjax.decoding.hoist import hoisted
from capjax.decoding.verdicts import Completer, Starts
from capjax.speaker import END, Carry, spoken
from capjax.teacher_forcing import put


def every_prefix(
    completer: Completer, carry: Carry, captions: jax.Array, keys: jax.Array
) -> Starts:
    """The prefixes of captions int32[N, T] to be completed, from the carry before the first word.

    Row p is the prefix of words 0..p // N of caption p % N. Long completions come first in the
    queue, so that its end leaves few lanes waiting for others.
    """
    n, steps = captions.shape
    one, start = _reader(completer, carry, captions)
    stored = lax.scan(one, start, captions.T[:-1])[1]
    carry, hidden, reading = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), stored)
    place = jnp.arange((steps - 1) * n)
    return Starts(
        row=place % n,
        carry=carry,
        hidden=hidden,
        reading=reading,
        position=place // n + 1,
        open=spoken(captions).T[:-1].reshape(-1),
        keys=jax.vmap(jax.random.fold_in)(keys[place % n], place // n),
    )


def some_prefixes(
    completer: Completer,
    carry: Carry,
    captions: jax.Array,
    keys: jax.Array,
    chosen: jax.Array,
    first: jax.Array,
    room: int,
) -> tuple[Starts, jax.Array]:
    """`every_prefix` of which only some are wanted; of the others nothing is stored.

    Args:
      chosen: bool[T - 1, N], the prefixes that are wanted, by their last words.
      first: int32[], so many of them, the shortest, are left out.
      room: P, how many there is room for; those beyond are left out, too.
    Returns:
      (Starts of P, int32[P], which row of `every_prefix` each is; (T - 1) N for one that is none).
    """
    n, count = captions.shape[0], chosen.size
    (order,) = jnp.nonzero(chosen.reshape(-1), size=count + room, fill_value=count)
    place = lax.dynamic_slice_in_dim(order, first, room)
    # Where what follows a word is stored; out of bounds where it is not.
    to = jnp.cumsum(chosen.reshape(-1), dtype=jnp.int32).reshape(chosen.shape) - 1 - first
    to = jnp.where(chosen & (to >= 0) & (to < room), to, room)
    words = jnp.where((to < room).any(1), jnp.arange(1, len(to) + 1), 0).max()

    one, start = _reader(completer, carry, captions)
    like = jax.eval_shape(one, start, captions[:, 0])[1]
    blank = jax.tree.map(lambda x: jnp.zeros((room, *x.shape[1:]), x.dtype), like)

    def read(t: jax.Array, state: tuple[Any, Any]) -> tuple[Any, Any]:
        now, new = one(state[0], captions[:, t])
        return now, lax.platform_dependent(state[1], new, to[t], cpu=_put_some, default=_put_all)

    carry, hidden, reading = lax.fori_loop(0, words, read, (start, blank))[1]
    starts = Starts(
        row=place % n,
        carry=carry,
        hidden=hidden,
        reading=reading,
        position=place // n + 1,
        open=place < count,
        keys=jax.vmap(jax.random.fold_in)(keys[place % n], place // n),
    )
    return starts, place


def _reader(completer: Completer, carry: Carry, captions: jax.Array) -> tuple[Callable, Any]:
    """What speaks and reads a word of N captions, and the state before their first.

    -> ((state, words int32[N]) -> (state, (carry, hidden, reading) after the words), state).
    """
    n = captions.shape[0]
    carry, _ = completer.speaker.step(
        completer.params, completer.memory, carry, jnp.full(n, END, jnp.int32)
    )

    def one(state, word):
        carry, reading = state
        carry, hidden = completer.speaker.step(completer.params, completer.memory, carry, word)
        reading = completer.evaluator.read(completer.evaluator_params, reading, word)
        return (carry, reading), (carry, hidden, reading)

    start = carry, completer.evaluator.start(completer.evaluator_params, n)
    return hoisted(one, start, captions[:, 0]), start


def _put_all(stored: Any, new: Any, to: jax.Array) -> Any:
    """Rows [N, ...] put at int32[N], those that are in bounds: an accelerator does it at once."""
    return jax.tree.map(lambda a, b: a.at[to].set(b, mode="drop"), stored, new)


def _put_some(stored: Any, new: Any, to: jax.Array) -> Any:
    """The same one by one, which a CPU does sooner."""
    inside = to < jax.tree.leaves(stored)[0].shape[0]
    (those,) = jnp.nonzero(inside, size=to.size, fill_value=0)

    def one(i: jax.Array, stored: Any) -> Any:
        row = those[i]
        return put(stored, to[row], jax.tree.map(lambda x: x[row], new))

    return lax.fori_loop(0, inside.sum(), one, stored)
