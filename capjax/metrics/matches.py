"""Where do the n-grams of one caption occur in another? Exactly, by token equality, as bit sets.

Bit j of a set stands for position j of the other caption, so all its places are handled at once: an
n-gram is extended by a shift and an "and", and counted by a population count.
"""

from collections.abc import Callable, Iterator
from functools import reduce, wraps
from operator import add
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from capjax.agreement import agree, check_array, spec
from capjax.speaker import scored, spoken

ORDERS = 4  # n-grams of 1 to 4 words, as BLEU and CIDEr count them
NOTHING = -1  # in place of a token where there is none

Bits = tuple[jax.Array, ...]  # uint32 [...] each: positions 0..31, 32..63, ...


def tokens(captions: jax.Array, count_end: bool | jax.Array = False) -> jax.Array:
    """The words of captions, and their end (0) if counted; NOTHING elsewhere. int32[..., T]."""
    captions = jnp.asarray(captions).astype(jnp.int32)  # of ids without a sign, -1 would be a word
    counted = jnp.where(count_end, scored(captions), spoken(captions))
    return jnp.where(counted & (captions >= 0), captions, NOTHING)


def present(captions: jax.Array) -> jax.Array:
    """Which rows hold a caption: int32[..., T] -> bool[...]. A negative first id means none."""
    return captions[..., 0] >= 0


def match_bits(ours: jax.Array, theirs: jax.Array) -> Bits:
    """The positions of `theirs` that hold each of our tokens.

    ours: int32[..., T], theirs: int32[..., T2] from `tokens`, leading axes that broadcast ->
    ceil(T2 / 32) arrays uint32[..., T].
    """
    theirs = jnp.where(theirs < 0, NOTHING - 1, theirs)  # so that nothing never equals nothing
    sets = []
    for first in range(0, theirs.shape[-1], 32):
        part = theirs[..., None, first : first + 32]
        equal = ours[..., None] == part  # [..., T, 32]
        bit = jnp.uint32(1) << jnp.arange(part.shape[-1], dtype=jnp.uint32)
        bit = bit.reshape((1,) * (equal.ndim - 1) + bit.shape)
        sets.append(jnp.where(equal, bit, jnp.uint32(0)).sum(-1, dtype=jnp.uint32))
    return tuple(sets)


def ngram_matches(bits: Bits) -> Iterator[Bits]:
    """The same for n-grams, n = 1..ORDERS: an n-gram stands at the position of its last word."""
    matches = bits
    yield matches
    for _ in range(1, ORDERS):
        shifted = []
        carried = jnp.zeros_like(matches[0])
        for x in matches:
            shifted.append(later(x << jnp.uint32(1) | carried))
            carried = x >> jnp.uint32(31)
        matches = tuple(x & y for x, y in zip(shifted, bits, strict=True))
        yield matches


def count(bits: Bits) -> jax.Array:
    """How many positions a set holds: int32 [...]."""
    return reduce(add, (lax.population_count(x).astype(jnp.int32) for x in bits))


def first_time(bits: Bits) -> jax.Array:
    """Whether an n-gram of a caption has not come before in it, by its matches with itself.

    bits: uint32[..., T] -> bool[..., T]; False where there is no n-gram.
    """
    length = bits[0].shape[-1]
    lowest = reduce(jnp.minimum, (_lowest(x, 32 * k) for k, x in enumerate(bits)))
    place = jnp.arange(length, dtype=jnp.int32)
    return lowest == place.reshape((1,) * (lowest.ndim - 1) + (length,))


def later(x: jax.Array, fill: int = 0) -> jax.Array:
    """Moves [..., T] one position on; `fill` comes first."""
    return jnp.concatenate([jnp.full_like(x[..., :1], fill), x[..., :-1]], -1)


Measure = TypeVar("Measure", bound=Callable)


def of_ids(measure: Measure) -> Measure:
    """A compiled measure that refuses ids which would be cut to 32 bits on their way into it."""

    @wraps(measure)
    def checked(*args: Any, **options: Any) -> Any:
        for i, x in enumerate(args, 1):
            check_width(f"argument {i}", x)
        for name, x in options.items():
            check_width(name, x)
        return measure(*args, **options)

    return cast(Measure, checked)


def check_width(name: str, ids: Any) -> None:
    """Raises ValueError where numpy's ids are no 32-bit numbers; JAX would take them for others."""
    if isinstance(ids, np.ndarray) and ids.size and ids.dtype.kind in "iu":
        limits = np.iinfo(np.int32)
        if ids.max() > limits.max or ids.min() < limits.min:
            raise ValueError(
                f"{name} {spec(ids)} holds ids beyond 32 bits, {ids.min()} to {ids.max()}; number"
                " the words from 2 up (capjax.metrics.encode)"
            )


def check_ids(name: str, ids: jax.Array, axes: str) -> None:
    """Raises ValueError unless ids are integers of these axes, e.g. "NRT", none of length 0."""
    check_array(ids, name)
    sound = ids.ndim == len(axes) and jnp.issubdtype(ids.dtype, jnp.integer)
    if not sound or 0 in ids.shape:
        raise ValueError(f"{name} must be int32[{', '.join(axes)}] and not empty, not {spec(ids)}")


def check_images(candidates: jax.Array, references: jax.Array, axes: str = "NT") -> None:
    """Raises ValueError unless they are int[N, T], or of other axes, and int[N, R, T2]."""
    check_ids("candidates", candidates, axes)
    check_ids("references", references, "NRT")
    agree(candidates=candidates, references=references)


def _lowest(bits: jax.Array, first: int) -> jax.Array:
    """The lowest position in a set that begins at position `first`, and a high one in none."""
    none = np.iinfo(np.int32).max
    lowest = lax.population_count((bits & -bits) - jnp.uint32(1)).astype(jnp.int32)
    return jnp.where(bits != 0, first + lowest, none)
