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
    n, size = logits.shape
    width = math.isqrt(size - 1) + 1 if size > 1 else 1
    blocks = -(-size // width)
    scaled = logits.astype(jnp.float32) / temperature
    peak = scaled.max(-1, keepdims=True)
    scaled = scaled - jnp.where(jnp.isfinite(peak), peak, 0)
    scaled = jnp.pad(scaled, ((0, 0), (0, blocks * width - size)), constant_values=-jnp.inf)
    scaled = scaled.reshape(n, blocks, width)

    def choose(key, mass):
        """Draws an entry, given the masses that may be drawn float[N, blocks, width]."""
        u = jax.random.uniform(key, (2, n, 1))
        block = _invert(mass.sum(-1), u[0])
        inside = jnp.take_along_axis(mass, block[:, None, None], 1)[:, 0]
        entry = _invert(inside, u[1])
        chosen = jnp.take_along_axis(inside, entry[:, None], 1)
        return block * width + entry, chosen

    mass = lax.optimization_barrier(jnp.exp(scaled))
    word, pivot = choose(key, mass)
    if top_k is None and top_p is None:
        return jnp.minimum(word, size - 1).astype(jnp.int32)
    allowed = size if top_k is None else top_k
    share = jnp.inf if top_p is None else top_p * mass.sum((1, 2))

    def redo(state):
        i, word, pivot, _ = state
        above = mass > pivot[..., None]
        heavier = jnp.where(above, mass, 0)
        kept = (above.sum((1, 2)) < allowed) & (heavier.sum((1, 2)) < share)
        kept |= ~above.any((1, 2))  # nor is there another to draw where a row has no mass
        again, higher = choose(jax.random.fold_in(key, i), heavier)
        word, pivot = jnp.where(kept, word, again), jnp.where(kept[:, None], pivot, higher)
        return i + 1, word, pivot, kept.all()

    state = (jnp.int32(1), word, pivot, jnp.bool_(False))
    word = lax.while_loop(lambda s: ~s[3], redo, state)[1]
    return jnp.minimum(word, size - 1).astype(jnp.int32)


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
