"""Reading captions back through a speaker: the recurrence, then the projection of real words only.

Padding is never computed. Rows are sorted by length and run in blocks that stop at their longest
caption; hidden states of scored words are packed and projected onto the vocabulary in chunks.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

# Rows of a chunk on a CPU: more waste more on the last chunk, fewer add up gradients more often.
ROWS = 384


def matmul_rows(n: int, cpu: int) -> int:
    """Rows of one matmul out of n: few enough on a CPU to waste little, many elsewhere."""
    return min(n, cpu if jax.default_backend() == "cpu" else 4096)


def put(buffers: Any, i: jax.Array, new: Any) -> Any:
    """Writes entry i of each leaf, in place inside a loop (`.at[i].set` is a scatter there)."""
    return jax.tree.map(lambda b, x: lax.dynamic_update_index_in_dim(b, x, i, 0), buffers, new)


def where_rows(mask: jax.Array, a: Any, b: Any) -> Any:
    """Of two trees whose leaves lead with N, the rows of the first where bool[N] is true."""
    beside = lambda x: mask.reshape(-1, *(1,) * (x.ndim - 1))  # noqa: E731
    return jax.tree.map(lambda x, y: jnp.where(beside(x), x, y), a, b)


def pack(real: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Flat indices of the true entries, in chunks, -1 past the last; and how many chunks have any.

    bool[...] -> (int32[K, rows], int32[]).
    """
    rows = matmul_rows(real.size, cpu=ROWS)
    (index,) = jnp.nonzero(real.reshape(-1), size=real.size + -real.size % rows, fill_value=-1)
    return index.reshape(-1, rows), -(-real.sum() // rows)


def word_log_probs(
    logits: Callable,
    params: Any,
    hidden: jax.Array,
    targets: jax.Array,
    real: jax.Array,
    mean: bool = False,
    keep: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Log-probability of each target word, and the mean log-probability over the vocabulary.

    Args:
      logits, params: as in `Speaker`.
      hidden: float[N, T, H].
      targets: int32[N, T].
      real: bool[N, T], which entries are wanted; the others are not computed.
      mean: whether the second is wanted; without it, it is 0.
      keep: whether a gradient keeps all logits, float[N * T, V], in place of projecting twice.
    Returns:
      (float32[N, T], float32[N, T]) in nats, 0 where not real.
    """
    packed, chunks = pack(real)
    hidden, targets = _packed(hidden, packed), _packed(targets, packed)
    pair = _chunked(logits, mean, keep, params, hidden, targets, chunks)
    return _unpacked(pair[0], packed, real), _unpacked(pair[1], packed, real)


def weighted_log_prob(
    logits: Callable,
    params: Any,
    hidden: jax.Array,
    targets: jax.Array,
    real: jax.Array,
    weights: jax.Array,
    even: jax.Array | None = None,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """A weighted sum of what `word_log_probs` gives, with gradients in one pass.

    Weights that are known beforehand spare the gradient a second projection, or the memory of all
    probabilities: each chunk is projected, scored and sent back at once.

    Args:
      weights: float[N, T], of the target words' log-probabilities; no gradient flows to it.
      even: float[N, T], of the mean log-probabilities over the vocabulary; None for none.
    Returns:
      (float[], `word_log_probs`' returns, which have no gradient).
    """
    packed, chunks = pack(real)
    # What fills up the last chunk weighs nothing.
    both = tuple(
        jnp.zeros(packed.shape) if w is None else jnp.where(packed < 0, 0, _packed(w, packed))
        for w in (weights, even)
    )
    hidden, targets = _packed(hidden, packed), _packed(targets, packed)
    total, pair = _weighted(logits, even is not None, params, hidden, targets, chunks, both)
    return total, (_unpacked(pair[0], packed, real), _unpacked(pair[1], packed, real))


def _packed(x, packed):
    """The entries at flat indices: of x[N, T, ...]."""
    return jnp.asarray(x).reshape(-1, *x.shape[2:])[packed]


def _unpacked(x, packed, real):
    # An index of -1 is sent out of bounds, where it is dropped.
    index = jnp.where(packed < 0, real.size, packed)
    return jnp.zeros(real.size).at[index].set(x, mode="drop").reshape(real.shape)


def _scores(z, targets, mean):
    """Of one chunk: ((chosen, mean), logits, the logarithm of their exponentials' sum)."""
    z = z.astype(jnp.float32)
    peak = z.max(-1, keepdims=True)
    total = peak + jnp.log(jnp.exp(z - peak).sum(-1, keepdims=True))
    chosen = jnp.take_along_axis(z, targets[:, None], 1) - total
    average = z.mean(-1) - total[:, 0] if mean else jnp.zeros(z.shape[0])
    return (chosen[:, 0], average), z, total


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _chunked(logits, mean, keep, params, hidden, targets, chunks):
    zeros = jnp.zeros(targets.shape, jnp.float32)

    def body(i, out):
        return put(out, i, _scores(logits(params, hidden[i]), targets[i], mean)[0])

    return lax.fori_loop(0, chunks, body, (zeros, zeros))


def _chunked_forward(logits, mean, keep, params, hidden, targets, chunks):
    if not keep:
        out = _chunked(logits, mean, keep, params, hidden, targets, chunks)
        return out, (params, hidden, targets, chunks, None)
    zeros = jnp.zeros(targets.shape, jnp.float32)
    like = jax.eval_shape(logits, params, hidden)

    def body(i, state):
        out, kept = state
        z = logits(params, hidden[i])
        return put(out, i, _scores(z, targets[i], mean)[0]), put(kept, i, z)

    # What no chunk writes is never read.
    state = (zeros, zeros), lax.empty(like.shape, like.dtype)
    out, kept = lax.fori_loop(0, chunks, body, state)
    return out, (params, hidden, targets, chunks, kept)


def _chunked_backward(logits, mean, keep, residuals, cotangents):
    params, hidden, targets, chunks, kept = residuals
    d_params, d_hidden, _ = _with_gradients(
        logits, mean, params, hidden, targets, chunks, cotangents, kept
    )
    return d_params, d_hidden, None, None


_chunked.defvjp(_chunked_forward, _chunked_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _weighted(logits, mean, params, hidden, targets, chunks, weights):
    pair = _chunked(logits, mean, False, params, hidden, targets, chunks)
    return sum(jnp.vdot(x, w) for x, w in zip(pair, weights, strict=True)), pair


def _weighted_forward(logits, mean, params, hidden, targets, chunks, weights):
    d_params, d_hidden, pair = _with_gradients(
        logits, mean, params, hidden, targets, chunks, weights
    )
    total = sum(jnp.vdot(x, w) for x, w in zip(pair, weights, strict=True))
    return (total, pair), (d_params, d_hidden)


def _weighted_backward(logits, mean, gradients, cotangents):
    scaled = jax.tree.map(lambda x: cotangents[0].astype(x.dtype) * x, gradients)
    return *scaled, None, None, None


_weighted.defvjp(_weighted_forward, _weighted_backward)


def _with_gradients(logits, mean, params, hidden, targets, chunks, weights, kept=None):
    """Gradients of parameters and hidden states of a weighted sum, and what is summed.

    With `kept` logits nothing is projected: of the vjp only what leads back is then left.
    """
    zeros = jnp.zeros(targets.shape, jnp.float32)

    def body(i, state):
        d_params, d_hidden, pair = state
        z, pull = jax.vjp(logits, params, hidden[i])
        z = z if kept is None else kept[i]
        new, z_32, total = _scores(z, targets[i], mean)
        # d chosen / d logits = onehot - p, and d mean / d logits = 1/V - p.
        weight, even = (w[i][:, None] for w in weights)
        chosen = jnp.arange(z.shape[-1])[None] == targets[i][:, None]
        d_logits = weight * chosen.astype(jnp.float32)
        if mean:
            d_logits += even / z.shape[-1]
            weight = weight + even
        d_logits -= weight * jnp.exp(z_32 - total)
        new_params, new_hidden = pull(d_logits.astype(z.dtype))
        d_params = jax.tree.map(jnp.add, d_params, new_params)
        return d_params, put(d_hidden, i, new_hidden), put(pair, i, new)

    state = jax.tree.map(jnp.zeros_like, params), jnp.zeros_like(hidden), (zeros, zeros)
    return lax.fori_loop(0, chunks, body, state)
