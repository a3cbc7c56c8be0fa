"""Drawing a word a row, without a random number per vocabulary entry and without a sort."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

ALIGNED = 128  # entries that a TPU takes side by side


class Truncation(NamedTuple):
    """Which words may be drawn: an entry while fewer than top_k entries are more probable than it
    and their mass is below top_p; None for no bound."""

    top_k: int | None = None
    top_p: float | None = None


def draw(
    key: jax.Array,
    logits: jax.Array,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> jax.Array:
    """Draws one index a row from softmax(logits / temperature), exactly, by two exponential races.

    A block of about sqrt(V) entries wins by its mass, then an entry in it: the first to arrive of
    exponential waiting times over masses (Gumbel's trick), for which sqrt(V) random numbers do.
    With truncation an entry w may be drawn when fewer than top_k entries are more probable than it
    and their mass is below top_p, both of the untruncated distribution. Ties are all kept.

    Args:
      key: one typed key, or one a row [N]: what a row draws then depends on no other row.
      logits: float[N, V]; -inf is never drawn. A row with no mass gives V - 1.
      temperature: above 0.
      top_k, top_p: None for no truncation; top_k at least 1, top_p in (0, 1].
    Returns:
      int32[N].
    """
    truncation = Truncation(top_k, top_p)
    return draw_scored(key, logits, temperature=temperature, truncation=truncation)[0]


def draw_scored(
    key: jax.Array,
    logits: jax.Array,
    *,
    temperature: float = 1.0,
    truncation: Truncation = Truncation(),  # noqa: B008
) -> tuple[jax.Array, jax.Array]:
    """`draw`, and the logarithm of the sum of exp(logits / temperature), which it takes anyway.

    Returns:
      (int32[N], float32[N]).
    """
    differentiable = logits.astype(jnp.float32) / temperature
    scaled = lax.stop_gradient(differentiable)  # a word has no gradient
    blocks = _blocks(scaled)
    total = _total(differentiable, blocks)
    if truncation == Truncation():
        return _choose(key, scaled, blocks), total
    word = lax.platform_dependent(
        key,
        scaled,
        cpu=partial(_rejecting, truncation),
        default=partial(_searching, truncation),
    )
    return word, total


def draw_several(keys: jax.Array, logits: jax.Array) -> jax.Array:
    """Draws S indices a row from softmax(logits), as `draw` does, with one look at the row.

    Args:
      keys: typed keys [N, S].
      logits: float[N, V].
    Returns:
      int32[N, S]; each is what `draw` gives with its key and its row.
    """
    logits = lax.stop_gradient(logits.astype(jnp.float32))
    blocks = _blocks(logits)
    return jax.vmap(lambda k: _choose(k, logits, blocks), 1, 1)(keys)


def fold_in(key: jax.Array, i: jax.Array | int) -> jax.Array:
    """`jax.random.fold_in` for one key or one a row."""
    return (
        jax.vmap(jax.random.fold_in, (0, None))(key, i) if key.ndim else jax.random.fold_in(key, i)
    )


def _width(size):
    """Entries of a block: about sqrt(V), and where that is many in whole lanes."""
    width = math.isqrt(size - 1) + 1 if size > 1 else 1
    return -(-width // ALIGNED) * ALIGNED if 2 * width > ALIGNED else width


LEAST = jnp.finfo(jnp.float32).min  # stands for -inf where differences are taken


class _Blocks(NamedTuple):
    """The masses of K blocks of each row; leaves [N, K]."""

    peak: jax.Array  # the block's largest entry, or the row's; LEAST where there is none
    mass: jax.Array  # the sum of exponentials over it

    def log_sum(self) -> jax.Array:
        """The logarithm of the sum of all: float32[N]."""
        peak, mass = lax.reduce((*self,), (LEAST, jnp.float32(0)), _joined, (1,))
        return peak + jnp.log(mass)


@jax.custom_jvp
def _total(scaled, blocks):
    """The logarithm of the sum of exponentials of float[N, V], whose blocks these are: [N]."""
    return blocks.log_sum()


@_total.defjvp
def _total_forward(primals, tangents):
    total = _total(*primals)
    return total, (jnp.exp(primals[0] - total[:, None]) * tangents[0]).sum(-1)


def _joined(a, b):
    """Two sums of exponentials over their peaks as one (Milakov & Gimelshein, 2018)."""
    peak = lax.max(a[0], b[0])
    return peak, a[1] * lax.exp(a[0] - peak) + b[1] * lax.exp(b[0] - peak)


def _blocks(scaled):
    """The blocks of float[N, V]."""
    return lax.platform_dependent(scaled, cpu=_blocks_by_row, default=_blocks_in_one_look)


def _blocks_by_row(scaled):
    # Nothing is padded, since a CPU does not like to take padding apart.
    size, width = scaled.shape[1], _width(scaled.shape[1])
    peak = jnp.maximum(scaled.max(-1, keepdims=True), LEAST)
    edge = ((0, 0), (0, -size % width))
    mass = lax.reduce_window(jnp.exp(scaled - peak), 0.0, lax.add, (1, width), (1, width), edge)
    return _Blocks(jnp.broadcast_to(peak, mass.shape), mass)


def _blocks_in_one_look(scaled):
    # Peaks and sums at once: accelerators wait for memory.
    width = _width(scaled.shape[1])
    edge = ((0, 0), (0, -scaled.shape[1] % width))
    padded = jnp.pad(scaled, edge, constant_values=-jnp.inf)
    x = padded.reshape(scaled.shape[0], padded.shape[1] // width, width)
    pairs = jnp.maximum(x, LEAST), jnp.where(x > -jnp.inf, jnp.float32(1), 0)
    return _Blocks(*lax.reduce(pairs, (LEAST, jnp.float32(0)), _joined, (2,)))


def _choose(key, scaled, blocks):
    """Draws an entry of float[N, V], given its blocks: int32[N]."""
    (n, size), width = scaled.shape, _width(scaled.shape[1])
    soon = _soon(key, n, blocks.mass.shape[1] + width)
    first, peak = (x[:, None] for x in _soonest(blocks, soon[:, width:]))
    places = first * width + jnp.arange(width, dtype=jnp.int32)[None]
    inside = jnp.take_along_axis(scaled, jnp.minimum(places, size - 1), 1)
    inside = jnp.where(places < size, inside, -jnp.inf)
    entry = lax.argmax((inside - peak) + soon[:, :width], 1, jnp.int32)
    # Where there is no mass none arrives, and the word is the last.
    some = (blocks.mass > 0).any(-1)
    return jnp.where(some, jnp.minimum(first[:, 0] * width + entry, size - 1), size - 1)


def _soonest(blocks, soon):
    """The block that arrives first int32[N], and its peak float32[N].

    Peaks are compared by their differences, so that where they are far from 0 no digits are lost.
    """

    def sooner(a, b):
        ahead = (a[0] - b[0]) + (a[1] - b[1])
        first = (ahead > 0) | ((ahead == 0) & (a[2] < b[2])) | (b[2] == count)
        return tuple(lax.select(first, x, y) for x, y in zip(a, b, strict=True))

    count = soon.shape[1]
    none = LEAST, -jnp.float32(jnp.inf), jnp.int32(count)
    place = jnp.broadcast_to(jnp.arange(count, dtype=jnp.int32)[None], soon.shape)
    arrivals = blocks.peak, jnp.log(blocks.mass) + soon, place
    peak, _, place = lax.reduce(arrivals, none, sooner, (1,))
    return jnp.minimum(place, count - 1), peak


def _soon(key, n, count):
    """Minus logarithms of exponential waiting times (Gumbel's noise) float32[n, count], by one key
    or one a row."""
    shape = (count,) if key.ndim else (n, count)
    bits = partial(jax.random.bits, shape=shape, dtype=jnp.uint32)
    words = jax.vmap(bits)(key) if key.ndim else bits(key)
    # All 32 bits, or else what is hardly ever drawn would be drawn too often.
    u = (words.astype(jnp.float32) + 0.5) * 2.0**-32
    return -jnp.log(-jnp.log1p(-jnp.minimum(u, 1 - 2.0**-24)))


def _rejecting(truncation, key, scaled):
    """Draws again among the entries more probable than a rejected one, by pivot rejection as in
    FlashInfer (Ye et al., 2025): as many looks at all entries as the unluckiest row needs."""
    mass = lax.optimization_barrier(_over_peak(scaled))
    allowed, share = _bounds(truncation, mass)

    def value(word):
        return jnp.take_along_axis(scaled, word[:, None], 1)

    def redo(state):
        i, word, _ = state
        above = scaled > value(word)
        kept = (above.sum(1) < allowed) & (jnp.where(above, mass, 0).sum(1) < share)
        kept |= ~above.any(1)  # nor is there another to draw where a row has no mass
        heavier = lax.optimization_barrier(jnp.where(above, scaled, -jnp.inf))
        again = _choose(fold_in(key, i), heavier, _blocks(heavier))
        return i + 1, jnp.where(kept, word, again), kept.all()

    state = (jnp.int32(1), _choose(key, scaled, _blocks(scaled)), jnp.bool_(False))
    return lax.while_loop(lambda s: ~s[2], redo, state)[1]


DIGIT = 4  # bits of the smallest mass that one look at all entries finds


def _searching(truncation, key, scaled):
    """Draws among the entries that may be drawn, whose smallest mass is found digit by digit:
    always as many looks at all entries, and no word with the host."""
    mass = _over_peak(scaled)
    allowed, share = _bounds(truncation, mass)
    bits = lax.bitcast_convert_type(mass, jnp.uint32)  # in the order of the masses
    digits = jnp.arange(1, 2**DIGIT, dtype=jnp.uint32)

    def look(i, least):
        shift = (32 - DIGIT * (i + 1)).astype(jnp.uint32)
        tried = least[:, None] + (digits << shift)[None]  # [N, digits]
        above = bits[:, None] >= tried[..., None]
        heavy = jnp.where(above, mass[:, None], 0).sum(-1)
        enough = (above.sum(-1) >= allowed) | (heavy >= share[:, None])
        return least + (enough.sum(1).astype(jnp.uint32) << shift)

    least = lax.fori_loop(0, 32 // DIGIT, look, jnp.zeros(len(mass), jnp.uint32))
    heavier = jnp.where(bits >= least[:, None], scaled, -jnp.inf)
    return _choose(key, heavier, _blocks(heavier))


def _over_peak(scaled):
    """Masses of float[N, V] over each row's largest: logits far from 0 cost no digits."""
    return jnp.exp(scaled - jnp.maximum(scaled.max(-1, keepdims=True), LEAST))


def _bounds(truncation, mass):
    """How many entries, and how much mass float32[N], may lie above one that may be drawn."""
    top_k, top_p = truncation
    total = mass.sum(-1)
    # Above no entry lies all mass, though sums that round otherwise may say so.
    share = jnp.inf if top_p is None else jnp.where(top_p < 1, top_p * total, jnp.inf)
    allowed = mass.shape[1] if top_k is None else top_k
    return allowed, jnp.broadcast_to(share, total.shape)
