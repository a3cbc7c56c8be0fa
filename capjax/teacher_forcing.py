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

# One probability per scored word and vocabulary entry is kept for the backward pass while that
# fits in this many bytes; beyond it the backward pass projects again.
KEPT_BYTES = 1 << 30


def matmul_rows(n: int, cpu: int) -> int:
    """Rows of one matmul out of n: few enough on a CPU to waste little, many elsewhere."""
    return min(n, cpu if jax.default_backend() == "cpu" else 4096)


def put(buffers: Any, i: jax.Array, new: Any) -> Any:
    """Writes entry i of each leaf, in place inside a loop (`.at[i].set` is a scatter there)."""
    return jax.tree.map(lambda b, x: lax.dynamic_update_index_in_dim(b, x, i, 0), buffers, new)


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
) -> tuple[jax.Array, jax.Array]:
    """Log-probability of each target word, and the mean log-probability over the vocabulary.

    Args:
      logits, params: as in `Speaker`.
      hidden: float[..., H].
      targets: int32[...].
      real: bool[...], which entries are wanted; the others are not computed.
      mean: whether the second is wanted; without it, it is 0.
    Returns:
      (float32[...], float32[...]) in nats, 0 where not real.
    """
    packed, chunks = pack(real)
    hidden = hidden.reshape(-1, hidden.shape[-1])[packed]
    targets = targets.reshape(-1)[packed]
    pair = jnp.stack(_chunked(logits, mean, params, hidden, targets, chunks))
    # An index of -1 is sent out of bounds, where it is dropped.
    index = jnp.where(packed < 0, real.size, packed)
    chosen, average = jnp.zeros((2, real.size)).at[:, index].set(pair, mode="drop")
    return chosen.reshape(real.shape), average.reshape(real.shape)


def _project(logits, mean, params, hidden, targets):
    """Of one chunk: ((chosen, mean), logits, the logarithm of their exponentials' sum)."""
    z = logits(params, hidden).astype(jnp.float32)
    peak = z.max(-1, keepdims=True)
    total = peak + jnp.log(jnp.exp(z - peak).sum(-1, keepdims=True))
    chosen = jnp.take_along_axis(z, targets[:, None], 1) - total
    average = z.mean(-1) - total[:, 0] if mean else jnp.zeros(z.shape[0])
    return (chosen[:, 0], average), z, total


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _chunked(logits, mean, params, hidden, targets, chunks):
    zeros = jnp.zeros(targets.shape, jnp.float32)

    def body(i, out):
        return put(out, i, _project(logits, mean, params, hidden[i], targets[i])[0])

    return lax.fori_loop(0, chunks, body, (zeros, zeros))


def _chunked_forward(logits, mean, params, hidden, targets, chunks):
    vocabulary = jax.eval_shape(logits, params, hidden[0]).shape[-1]
    if targets.size * vocabulary * 4 > KEPT_BYTES:
        out = _chunked(logits, mean, params, hidden, targets, chunks)
        return out, (params, hidden, targets, chunks, None)
    zeros = jnp.zeros(targets.shape, jnp.float32)
    kept = jnp.zeros((*targets.shape, vocabulary), jnp.float32)

    def body(i, out):
        pair, z, total = _project(logits, mean, params, hidden[i], targets[i])
        return put(out, i, (*pair, jnp.exp(z - total)))

    *pair, kept = lax.fori_loop(0, chunks, body, (zeros, zeros, kept))
    return tuple(pair), (params, hidden, targets, chunks, kept)


def _chunked_backward(logits, mean, residuals, cotangents):
    params, hidden, targets, chunks, kept = residuals

    def body(i, grads):
        # d chosen / d logits = onehot - p, and d mean / d logits = 1/V - p.
        z, pull = jax.vjp(logits, params, hidden[i])
        p = jax.nn.softmax(z.astype(jnp.float32)) if kept is None else kept[i]
        on_chosen = cotangents[0][i][:, None]
        chosen = jnp.arange(p.shape[-1])[None] == targets[i][:, None]
        d_logits = on_chosen * (chosen.astype(p.dtype) - p)
        if mean:
            d_logits += cotangents[1][i][:, None] * (1 / p.shape[-1] - p)
        d_params, d_hidden = pull(d_logits.astype(z.dtype))
        return jax.tree.map(jnp.add, grads[0], d_params), put(grads[1], i, d_hidden)

    zeros = jax.tree.map(jnp.zeros_like, params), jnp.zeros_like(hidden)
    d_params, d_hidden = lax.fori_loop(0, chunks, body, zeros)
    return d_params, d_hidden, None, None


_chunked.defvjp(_chunked_forward, _chunked_backward)
