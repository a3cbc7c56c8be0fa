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
    n, size = logits.shape
    width = math.isqrt(size - 1) + 1 if size > 1 else 1
    scaled = logits.astype(jnp.float32) / temperature
    peak = scaled.max(-1, keepdims=True)
    peak = jnp.where(jnp.isfinite(peak), peak, 0)
    # Kept: fused into the sums below, the exponentials would be taken again for every use.
    mass = lax.optimization_barrier(jnp.exp(scaled - peak))

    def sums(mass):
        """Of each block; nothing is padded, since no processor likes to take padding apart."""
        left = -size % width
        return lax.reduce_window(mass, 0.0, lax.add, (1, width), (1, width), ((0, 0), (0, left)))

    def choose(key, mass, blocks):
        """Draws an entry, given the masses that may be drawn float[N, V] and their blocks' sums."""
        u = jax.random.uniform(key, (2, n, 1))
        first = _invert(blocks, u[0])[:, None] * width
        places = first + jnp.arange(width)[None]
        inside = jnp.take_along_axis(mass, jnp.minimum(places, size - 1), 1)
        entry = _invert(jnp.where(places < size, inside, 0), u[1])
        word = jnp.minimum(first[:, 0] + entry, size - 1)
        return word, jnp.take_along_axis(inside, entry[:, None], 1)

    blocks = sums(mass)
    word, pivot = choose(key, mass, blocks)
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
        blocks = sums(heavier)
        kept = (above.sum(1) < allowed) & (blocks.sum(1) < share)
        kept |= ~above.any(1)  # nor is there another to draw where a row has no mass
        again, higher = choose(jax.random.fold_in(key, i), heavier, blocks)
        word, pivot = jnp.where(kept, word, again), jnp.where(kept[:, None], pivot, higher)
        return i + 1, word, pivot, kept.all()

    state = (jnp.int32(1), word, pivot, jnp.bool_(False))
    word = lax.while_loop(lambda s: ~s[3], redo, state)[1]
    return word.astype(jnp.int32), log_total


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
