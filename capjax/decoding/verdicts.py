"""What an evaluator says of completions: each is read from where its beginning was left.

A completion p * n + k is the k-th of beginning p.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from capjax.decoding.hoist import hoisted
from capjax.judging import Evaluator
from capjax.speaker import END, Params, Speaker
from capjax.teacher_forcing import where_rows


class Starts(NamedTuple):
    """P beginnings of captions, to be completed. Leaves lead with P."""

    row: jax.Array  # int32[P], the row of the context that each is spoken of
    carry: Any  # the speaker's, after the last word was fed in
    hidden: jax.Array  # float[P, H], which the next word comes out of
    reading: Any  # the evaluator's carry, after the last word was read
    position: jax.Array  # int32[P], where the next word stands, below max_len
    open: jax.Array  # bool[P], which are to be completed; of the others nothing is computed
    keys: jax.Array  # typed keys [P]


class Completer(NamedTuple):
    """Who completes captions of N rows of a context and who judges them, and how."""

    speaker: Speaker
    params: Params
    memory: Any  # the speaker's
    evaluator: Evaluator
    evaluator_params: Params
    image: jax.Array  # float[N, D], as the evaluator sees it
    rollouts: int  # n, completions of each beginning
    max_len: int  # T, where a completion is cut


def reads_of(completer: Completer, starts: Starts, said: jax.Array) -> jax.Array:
    """How many words of each completion int32[T, P n] are read, its end included where there is
    room: int32[P n], 0 where nothing was to be completed."""
    words = (jnp.cumsum(said == END, 0) == 0).sum(0, dtype=jnp.int32)
    position, is_open = (jnp.repeat(x, completer.rollouts) for x in (starts.position, starts.open))
    return jnp.where(is_open, jnp.minimum(words + 1, completer.max_len - position), 0)


def verdicts_of(
    completer: Completer, starts: Starts, said: jax.Array, reads: jax.Array, rows: int
) -> jax.Array:
    """r of completions int32[T, P n] after so many words: float32[P n], 0 where none is read.

    The longest come first, so that those read side by side are as long as one another.
    """
    jobs = said.shape[1]
    rows = min(rows, jobs)
    p = jnp.arange(jobs) // completer.rollouts
    order = jnp.argsort(-reads)
    order = jnp.pad(order, (0, -jobs % rows), constant_values=jobs)
    read_on = completer.evaluator.read_on or _word_by_word(completer, starts, order[:rows])

    def block(i: jax.Array, verdicts: jax.Array) -> jax.Array:
        at = lax.dynamic_slice_in_dim(order, i * rows, rows)
        mine = jnp.minimum(at, jobs - 1)
        count = jnp.where(at < jobs, reads[mine], 0)
        reading = jax.tree.map(lambda x: x[p[mine]], starts.reading)
        reading = read_on(completer.evaluator_params, reading, said[:, mine].T, count)
        seen = completer.image[starts.row[p[mine]]]
        score = completer.evaluator.score(completer.evaluator_params, seen, reading)
        r = jax.nn.sigmoid(score.astype(jnp.float32))
        return verdicts.at[at].set(r, mode="drop")

    blocks = -(-(reads > 0).sum() // rows)
    return lax.fori_loop(0, blocks, block, jnp.zeros(jobs))


def _word_by_word(completer: Completer, starts: Starts, rows: jax.Array) -> Callable:
    """`Evaluator.read_on` by an evaluator's `read`, of so many rows."""
    some = jax.tree.map(lambda x: x[jnp.zeros_like(rows)], starts.reading)
    read = hoisted(partial(completer.evaluator.read, completer.evaluator_params), some, rows)

    def read_on(params: Params, reading: Any, words: jax.Array, count: jax.Array) -> Any:
        def one(t: jax.Array, reading: Any) -> Any:
            return where_rows(t < count, read(reading, words[:, t]), reading)

        return lax.fori_loop(0, count.max(), one, reading)

    return read_on
