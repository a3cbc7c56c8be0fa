"""Rows of captions sorted by length and dealt into blocks, which stop at their longest caption."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from capjax.teacher_forcing import matmul_rows


class Blocks(NamedTuple):
    """Rows sorted by length and dealt into blocks, the last filled up with copies of row 0.

    What a row begins with may be shared: K captions in turn have the memory and carry of one image.
    """

    row: jax.Array  # int32[B, rows], the row of the batch
    start: jax.Array  # int32[B, rows], the row of what it begins with
    longest: jax.Array  # int32[B], steps that the block is run
    back: jax.Array  # int32[N], where each row of the batch lies in the flattened blocks

    def deal(self, tree: Any) -> Any:
        """What rows begin with: leaves [N / K, ...] -> [B, rows, ...]."""
        return jax.tree.map(lambda x: x[self.start], tree)

    def deal_steps(self, x: jax.Array) -> jax.Array:
        """[N, T, ...] -> [B, T, rows, ...]."""
        return jnp.moveaxis(x[self.row], 2, 1)

    def gather(self, x: jax.Array) -> jax.Array:
        """[B, rows, ...] -> [N, ...]."""
        return x.reshape(-1, *x.shape[2:])[self.back]

    def gather_steps(self, x: jax.Array) -> jax.Array:
        """Undoes `deal_steps`."""
        return self.gather(jnp.moveaxis(x, 1, 2))

    def gather_starts(self, tree: Any, each: int) -> Any:
        """The sum of [B, rows, ...] over the K rows that begin with the same: [N / K, ...]."""
        sums = lambda x: self.gather(x).reshape(-1, each, *x.shape[2:]).sum(1)  # noqa: E731
        return jax.tree.map(sums, tree)


def take(x: jax.Array, rows: jax.Array) -> jax.Array:
    """Rows of x[M, ...]: int32[R] -> [R, ...]. On a CPU a loop of copies: its gathers are slow."""
    if jax.default_backend() == "cpu" and x.ndim > 2:
        return lax.map(lambda i: lax.dynamic_index_in_dim(x, i, 0, False), rows)
    return x[rows]


def add(x: jax.Array, rows: jax.Array, new: jax.Array) -> jax.Array:
    """Adds new[R, ...] to rows of x[M, ...], some of which may be the same."""
    if jax.default_backend() == "cpu" and x.ndim > 2:
        one = lambda i, x: x.at[rows[i]].add(new[i])  # noqa: E731
        return lax.fori_loop(0, rows.size, one, x)
    return x.at[rows].add(new)


def blocks_of(lengths: jax.Array, width: int, each: int) -> Blocks:
    """Rows of int32[N] lengths, each K in turn of one beginning, for a network of some width."""
    # The narrower the network, the more rows until its matmuls outweigh the cost of a step.
    n, rows = lengths.size, matmul_rows(lengths.size, cpu=max(64, 2**24 // width**2))
    rows = -(-n // -(-n // rows))  # as many in each block, so that few fill up the last
    order = jnp.argsort(-lengths)
    row = jnp.concatenate([order, jnp.zeros(-n % rows, order.dtype)]).reshape(-1, rows)
    return Blocks(row, row // each, lengths[row[:, 0]], jnp.argsort(order))
