"""Drawing a word a row, without a random number per vocabulary entry and without a sort."""

import math

import jax
import jax.numpy as jnp
from jax import lax


def draw(
    key: jax.Array,
    logits: jax.Array,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> jax.Array:
    """Draws one index a row from softmax(logits / temperature), exactly, by two-level inverse CDF.

    A block of about sqrt(V) entries is drawn by its mass, then an entry in it. Truncation draws
    again among the entries more probable than a rejected one (the pivot rejection of FlashInfer,
    Ye et al., 2025): an entry w is kept when fewer than top_k entries are more probable than it and
    their mass is below top_p, both of the untruncated distribution. Ties are all kept.

    Args:
      key: one typed key, or one a row [N]: what a row draws then depends on no other row.
      logits: float[N, V]; -inf is never drawn. A row with no mass gives V - 1.
      temperature: above 0.
      top_k, top_p: None for no truncation; top_k at least 1, top_p in (0, 1].
    Returns:
      int32[N].
    """
    return draw_scored(key, logits, temperature=temperature, top_k=top_k, top_p=top_p)[0]


def draw_scored(
    key: jax.Array,
    logits: jax.Array,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> tuple[jax.Array, jax.Array]:
    """`draw`, and the logarithm of the sum of exp(logits / temperature), which it takes anyway.

    Returns:
      (int32[N], float32[N]).
    """
    size = logits.shape[1]
    mass, peak = _mass(logits, temperature)
    blocks = _sums(mass)
    word, pivot = _choose(key, mass, blocks)
    total = blocks.sum(-1)
    log_total = peak[:, 0] + jnp.log(total)
    if top_k is None and top_p is None:
        return word.astype(jnp.int32), log_total
    allowed = size if top_k is None else top_k
    share = jnp.inf if top_p is None else top_p * total

    def redo(state):
        i, word, pivot, _ = state
        above = mass > pivot
        heavier = lax.optimization_barrier(jnp.where(above, mass, 0))
        blocks = _sums(heavier)
        kept = (above.sum(1) < allowed) & (blocks.sum(1) < share)
        kept |= ~above.any(1)  # nor is there another to draw where a row has no mass
        again, higher = _choose(fold_in(key, i), heavier, blocks)
        word, pivot = jnp.where(kept, word, again), jnp.where(kept[:, None], pivot, higher)
        return i + 1, word, pivot, kept.all()

    state = (jnp.int32(1), word, pivot, jnp.bool_(False))
    word = lax.while_loop(lambda s: ~s[3], redo, state)[1]
    return word.astype(jnp.int32), log_total


def draw_several(keys: jax.Array, logits: jax.Array) -> jax.Array:
    """Draws S indices a row from softmax(logits), as `draw` does, with one look at the row.

    Args:
      keys: typed keys [N, S].
      logits: float[N, V].
    Returns:
      int32[N, S]; each is what `draw` gives with its key and its row.
    """
    mass, _ = _mass(logits, 1.0)
    blocks = _sums(mass)
    word = jax.vmap(lambda k: _choose(k, mass, blocks)[0], 1, 1)(keys)
    return word.astype(jnp.int32)


def _mass(logits, temperature):
    """exp(logits / temperature) over each row's largest float[N, V], and that float[N, 1]."""
    scaled = logits.astype(jnp.float32) / temperature
    peak = scaled.max(-1, keepdims=True)
    peak = jnp.where(jnp.isfinite(peak), peak, 0)
    # Kept: fused into the sums below, the exponentials would be taken again for every use.
    return lax.optimization_barrier(jnp.exp(scaled - peak)), peak


def _width(size):
    """Entries of a block."""
    return math.isqrt(size - 1) + 1 if size > 1 else 1


def _sums(mass):
    """Of each block; nothing is padded, since no processor likes to take padding apart."""
    size, width = mass.shape[1], _width(mass.shape[1])
    left = -size % width
    return lax.reduce_window(mass, 0.0, lax.add, (1, width), (1, width), ((0, 0), (0, left)))


def _choose(key, mass, blocks):
    """Draws an entry, given the masses that may be drawn float[N, V] and their blocks' sums."""
    n, size = mass.shape
    width = _width(size)
    u = _uniform(key, n)
    first = _invert(blocks, u[0])[:, None] * width
    places = first + jnp.arange(width)[None]
    inside = jnp.take_along_axis(mass, jnp.minimum(places, size - 1), 1)
    entry = _invert(jnp.where(places < size, inside, 0), u[1])
    word = jnp.minimum(first[:, 0] + entry, size - 1)
    return word, jnp.take_along_axis(inside, entry[:, None], 1)


def _uniform(key, n):
    """Two numbers a row: float[2, N, 1]."""
    if key.ndim:
        return jax.vmap(lambda k: jax.random.uniform(k, (2, 1)), out_axes=1)(key)
    return jax.random.uniform(key, (2, n, 1))


def fold_in(key: jax.Array, i: jax.Array | int) -> jax.Array:
    """`jax.random.fold_in` for one key or one a row."""
    return (
        jax.vmap(jax.random.fold_in, (0, None))(key, i) if key.ndim else jax.random.fold_in(key, i)
    )


def _invert(mass: jax.Array, u: jax.Array) -> jax.Array:
    """The entry of float[N, K] masses at quantile u float[N, 1]: int32[N], never one of no mass.

    Rounding can leave u at or past the last cumulative sum, or a step in it where there is no mass.
    """
    # Fused into the cumulative sum, the masses would be computed again for each of its entries.
    mass = lax.optimization_barrier(mass)
    total = jnp.cumsum(mass, -1)
    reached = (total > u * total[:, -1:]) & (mass > 0)
    last = mass.shape[-1] - 1 - jnp.argmax(mass[:, ::-1] > 0, -1)
    return jnp.where(reached.any(-1), jnp.argmax(reached, -1), last)
