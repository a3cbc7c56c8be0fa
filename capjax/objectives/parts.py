"""A batch that does not fit, learnt from part by part: the same update, in less memory."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from capjax.speaker import scored

Rows = TypeVar("Rows")
Means = TypeVar("Means")


def in_parts(means: Callable[[Rows], Means], rows: Rows, parts: int) -> Means:
    """What a function gives of a device's rows, found of one part of them after another.

    The function sees its part alone: draws by a key a row, counts of the whole batch's words and
    other images of it are to be had beforehand. Memory is a part's, and that of one more result.

    Args:
      means: rows -> a tree of float arrays, each a mean over the rows that it is given.
      rows: a tree of arrays; each leads with as many rows as there are parts, or some times as many
        (captions of an image stand together).
      parts: of equal size; 1: all at once.
    Returns:
      What `means(rows)` does, but for rounding.
    Raises:
      ValueError: rows that so many parts cannot share.
    """
    if parts == 1:
        return means(rows)
    counts = {x.shape[0] for x in jax.tree.leaves(rows)}
    if odd := [count for count in sorted(counts) if count % parts]:
        raise ValueError(
            f"a device's {odd[0]} rows cannot be shared by {parts} parts; make the batch a"
            " multiple of devices times accumulate"
        )
    split = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), rows)
    like = jax.eval_shape(means, jax.tree.map(lambda x: x[0], split))
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)

    def add(total: Means, part: Rows) -> tuple[Means, None]:
        return jax.tree.map(jnp.add, total, means(part)), None

    total, _ = lax.scan(add, nothing, split)
    return jax.tree.map(lambda x: x / parts, total)


def words_of_part(captions: jax.Array, parts: int = 1) -> jax.Array:
    """Scored words of captions int32[..., T] in one part of a device's share, the mean over all.

    A sum over a part's words divided by it is the mean over all words, when it is averaged over
    parts and devices: float32[].
    """
    return lax.pmean(scored(captions).sum().astype(jnp.float32), "data") / parts
