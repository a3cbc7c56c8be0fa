"""How the words of captions lie in memory while a recurrence reads them, on CPUs and elsewhere.

In flat arrays [S, ...] of slots, one step's rows after another's: a step is a slice, and what is
known of all words beforehand, or can wait for the end, may be a few large products of slices. Both
layouts have the same methods; what one pass saves in a layout, another reads in it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

# Rows of a block on a CPU: fewer end sooner, and are worth less to a product. So narrow networks,
# too: of 192 units, 320 captions of 7 words take 50 ms of CPU time by 64, 56 by 107 and 73 by 320.
ROWS = 64
CHUNK = 256  # slots of one large product on a CPU: more waste more on the last chunk


def slots(steps: int, n: int) -> int:
    """S, for N captions of T words; the same in both layouts."""
    return steps * (n + -n % _rows(n))


def _rows(n):
    return -(-n // -(-n // min(n, ROWS)))  # as many in each block, so that few fill up the last


class Whole(NamedTuple):
    """All rows in one block, for accelerators: a launch costs more than the steps of padding."""

    real: jax.Array  # bool[T, N], where captions have words
    size: int  # S
    longest: int | jax.Array  # steps that are run
    in_place: bool = True  # a step may write where it has read: XLA for CPUs would copy all for it
    # Whether what words give the gates is one product before the steps. Not on a CPU: a step's rows
    # are as good to it as many, and what the product gives would be written and read once more.
    ahead: bool = True

    def deal(self, x: jax.Array) -> jax.Array:
        """[T, N, ...] -> [S, ...], 0 where captions have no words."""
        x = jnp.where(_beside(self.real, x), x, 0).reshape(-1, *x.shape[2:])
        return jnp.pad(x, ((0, self.size - x.shape[0]), *((0, 0),) * (x.ndim - 1)))

    def gather(self, x: jax.Array) -> jax.Array:
        """[S, ...] -> [T, N, ...], 0 where captions have no words."""
        x = x[: self.real.size].reshape(*self.real.shape, *x.shape[1:])
        return jnp.where(_beside(self.real, x), x, 0)

    def blocks(self, body: Callable, state: Any) -> Any:
        """body(block, state) -> state, for each block."""
        return body(0, state)

    def steps(self, block: Any, body: Callable, state: Any, back: bool = False) -> Any:
        """body(first slot, state) -> state, for each step of a block, or from the last one back."""
        last, n = self.longest - 1, self.real.shape[1]
        one = lambda t, state: body((last - t if back else t) * n, state)  # noqa: E731
        return lax.fori_loop(0, self.longest, one, state)

    def take(self, tree: Any, block: Any) -> Any:
        """What each row of a block begins with: leaves [N / K, ...] -> [rows, ...]."""
        return jax.tree.map(lambda x: jnp.repeat(x, self.real.shape[1] // x.shape[0], 0), tree)

    def add(self, tree: Any, block: Any, new: Any) -> Any:
        """Adds the rows of a block to leaves [N / K, ...]."""
        return jax.tree.map(
            lambda x, y: x + y.reshape(x.shape[0], -1, *x.shape[1:]).sum(1), tree, new
        )

    def share(self, tree: Any, block: Any) -> Any:
        """What stays as it is beside the rows of a block, once for all that share it."""
        return tree

    def add_shared(self, tree: Any, block: Any, new: Any) -> Any:
        """Adds what `share` gave a block."""
        return jax.tree.map(jnp.add, tree, new)

    def map(self, f: Callable, flat: Any) -> Any:
        """f(slices of arrays [S, ...]), for all slots."""
        return f(flat)

    def sum(self, f: Callable, flat: Any) -> Any:
        """The sum over slots of f(slices of arrays [S, ...])."""
        return f(jax.tree.map(lambda x: x[: self.real.size], flat))


class Sorted(NamedTuple):
    """Blocks of rows of much the same length, for CPUs, which stop at their longest caption."""

    real: jax.Array  # bool[T, N], where captions have words
    row: jax.Array  # int32[B, rows]; what fills up the last block is row 0
    begin: jax.Array  # int32[B], the first slot of each
    longest: jax.Array  # int32[B], steps that the block is run
    word: jax.Array  # int32[S], which of [T * N] words a slot is for
    live: jax.Array  # bool[S], whether it is one
    slot: jax.Array  # int32[T * N], the slot of each word
    used: jax.Array  # int32[], the slots that any block has
    in_place: bool = False
    ahead: bool = False

    def deal(self, x: jax.Array) -> jax.Array:
        x = x.reshape(-1, *x.shape[2:])[self.word]
        return jnp.where(_beside(self.live, x), x, 0)

    def gather(self, x: jax.Array) -> jax.Array:
        x = x[self.slot].reshape(*self.real.shape, *x.shape[1:])
        return jnp.where(_beside(self.real, x), x, 0)

    def blocks(self, body: Callable, state: Any) -> Any:
        return lax.fori_loop(0, self.longest.size, body, state)

    def steps(self, block: Any, body: Callable, state: Any, back: bool = False) -> Any:
        begin, steps, rows = self.begin[block], self.longest[block], self.row.shape[1]

        def one(t, state):
            return body(begin + (steps - 1 - t if back else t) * rows, state)

        return lax.fori_loop(0, steps, one, state)

    def take(self, tree: Any, block: Any) -> Any:
        return jax.tree.map(lambda x: x[self._rows(x, block)], tree)

    def add(self, tree: Any, block: Any, new: Any) -> Any:
        return jax.tree.map(lambda x, y: x.at[self._rows(x, block)].add(y), tree, new)

    def share(self, tree: Any, block: Any) -> Any:
        def mine(x):  # a loop of copies: gathers of whole matrices are slow
            one = lambda i: lax.dynamic_index_in_dim(x, i, 0, False)  # noqa: E731
            return lax.map(one, self._rows(x, block))

        return jax.tree.map(mine, tree)

    def add_shared(self, tree: Any, block: Any, new: Any) -> Any:
        def all_(x, y):
            row = self._rows(x, block)
            return lax.fori_loop(0, row.size, lambda i, x: x.at[row[i]].add(y[i]), x)

        return jax.tree.map(all_, tree, new)

    def map(self, f: Callable, flat: Any) -> Any:
        slices = partial(self._slices, flat)
        blank = jax.eval_shape(lambda: f(slices(0)))
        blank = jax.tree.map(lambda x: jnp.zeros((self.word.size, *x.shape[1:]), x.dtype), blank)

        def one(i, out):
            new, start = f(slices(i)), self._start(i)
            put = lambda x, y: lax.dynamic_update_slice_in_dim(x, y, start, 0)  # noqa: E731
            return jax.tree.map(put, out, new)

        return lax.fori_loop(0, -(-self.used // self._chunk()), one, blank)

    def sum(self, f: Callable, flat: Any) -> Any:
        def part(i):
            # The last chunk begins early enough to be whole.
            new = self._start(i) + jnp.arange(self._chunk()) >= i * self._chunk()
            new &= self._slices(self.live, i)
            mine = lambda x: jnp.where(_beside(new, x), x, 0)  # noqa: E731
            return f(jax.tree.map(mine, self._slices(flat, i)))

        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(part, 0))
        one = lambda i, total: jax.tree.map(jnp.add, total, part(i))  # noqa: E731
        return lax.fori_loop(0, -(-self.used // self._chunk()), one, zeros)

    def _rows(self, x, block):
        """Of leaves [N / K, ...], those of the rows of a block."""
        return self.row[block] // (self.real.shape[1] // x.shape[0])

    def _chunk(self):
        return min(CHUNK, self.word.size)

    def _start(self, i):
        return jnp.minimum(i * self._chunk(), self.word.size - self._chunk())

    def _slices(self, flat, i):
        start, chunk = self._start(i), self._chunk()
        return jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, start, chunk), flat)


def whole(lengths: jax.Array, steps: int, ends: bool = False) -> Whole:
    """The layout of captions of int32[N] words for accelerators.

    ends: whether the steps end with the longest caption: the host then asks at each.
    """
    longest = lengths.max() if ends else steps
    return Whole(_real(lengths, steps), slots(steps, lengths.size), longest)


def sorted_by_length(lengths: jax.Array, steps: int) -> Sorted:
    """The layout of captions of int32[N] words, for CPUs."""
    n, rows = lengths.size, _rows(lengths.size)
    order = jnp.argsort(-lengths)
    row = jnp.concatenate([order, jnp.zeros(-n % rows, order.dtype)]).reshape(-1, rows)
    longest = lengths[row[:, 0]]
    ends = jnp.cumsum(longest)  # in steps
    step = jnp.arange(steps * row.shape[0])
    block = jnp.minimum(jnp.searchsorted(ends, step, side="right"), row.shape[0] - 1)
    t = jnp.minimum(step - (ends - longest)[block], steps - 1)[:, None]
    filled = block[:, None] * rows + jnp.arange(rows)[None] < n
    live = (step < ends[-1])[:, None] & (t < lengths[row[block]]) & filled
    place = jnp.argsort(order)
    begin = (ends - longest) * rows
    slot = (begin[place // rows] + place % rows)[None] + rows * jnp.arange(steps)[:, None]
    slot = jnp.minimum(slot, step.size * rows - 1)
    word = t * n + row[block]
    flat = word.reshape(-1), live.reshape(-1), slot.reshape(-1)
    return Sorted(_real(lengths, steps), row, begin, longest, *flat, ends[-1] * rows)


def _real(lengths, steps):
    return jnp.arange(steps)[:, None] < lengths[None]


def _beside(mask, x):
    """A mask of leading axes, to be broadcast over an array's others."""
    return mask.reshape(*mask.shape, *(1,) * (x.ndim - mask.ndim))
