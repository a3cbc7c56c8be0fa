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
) -> tuple[jax.Array, jax.Array]:
    """Log-probability of each target word, and the mean log-probability over the vocabulary.

    Args:
      logits, params: as in `Speaker`.
      hidden: float[N, T, H].
      targets: int32[N, T].
      real: bool[N, T], which entries are wanted; the others are not computed.
      mean: whether the second is wanted; without it, it is 0.
    Returns:
      (float32[N, T], float32[N, T]) in nats, 0 where not real.
    """
    packed, chunks = pack(real)
    hidden, targets = _packed(hidden, packed), _packed(targets, packed)
    pair = _chunked(logits, mean, params, hidden, targets, chunks)
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


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _chunked(logits, mean, params, hidden, targets, chunks):
    zeros = jnp.zeros(targets.shape, jnp.float32)

    def body(i, out):
        return put(out, i, _scores(logits(params, hidden[i]), targets[i], mean)[0])

    return lax.fori_loop(0, chunks, body, (zeros, zeros))


def _chunked_forward(logits, mean, params, hidden, targets, chunks):
    out = _chunked(logits, mean, params, hidden, targets, chunks)
    return out, (params, hidden, targets, chunks)


def _chunked_backward(logits, mean, residuals, cotangents):
    params, hidden, targets, chunks = residuals
    d_params, d_hidden, _ = _with_gradients(
        logits, mean, params, hidden, targets, chunks, cotangents
    )
    return d_params, d_hidden, None, None


_chunked.defvjp(_chunked_forward, _chunked_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _weighted(logits, mean, params, hidden, targets, chunks, weights):
    pair = _chunked(logits, mean, params, hidden, targets, chunks)
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


def _with_gradients(logits, mean, params, hidden, targets, chunks, weights):
    """Gradients of parameters and hidden states of a weighted sum, and what is summed."""
    zeros = jnp.zeros(targets.shape, jnp.float32)

    def body(i, state):
        d_params, d_hidden, pair = state
        z, pull = jax.vjp(logits, params, hidden[i])
        new, z_32, total = _scores(z, targets[i], mean)
        weight, even = (w[i] for w in weights)
        d_logits = _slope(z_32, total, targets[i], weight, even if mean else None)
        new_params, new_hidden = pull(d_logits.astype(z.dtype))
        d_params = jax.tree.map(jnp.add, d_params, new_params)
        return d_params, put(d_hidden, i, new_hidden), put(pair, i, new)

    state = jax.tree.map(jnp.zeros_like, params), jnp.zeros_like(hidden), (zeros, zeros)
    return lax.fori_loop(0, chunks, body, state)


def _slope(z, total, targets, weight, even=None):
    """d of weighted log-probabilities / d logits float32[R, V], as `_scores` gives these."""
    # d chosen / d logits = onehot - p, and d mean / d logits = 1/V - p.
    both = weight if even is None else weight + even
    slope = -both[:, None] * jnp.exp(z - total)
    if even is not None:
        slope += even[:, None] / z.shape[-1]
    place = slope.at[jnp.arange(targets.size), targets]
    return place.add(weight, indices_are_sorted=True, unique_indices=True)


def caption_total(
    logits: Callable,
    value: Callable,
    params: Any,
    hidden: jax.Array,
    targets: jax.Array,
    real: jax.Array,
    beside: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The sum over captions of a function of their log-probabilities, with gradients in one pass.

    What a caption weighs in the gradient is known only when all of it has been read; so chunks are
    made of whole captions, and each is projected, scored and sent back at once.

    Args:
      value: (log-probability float32[], beside[n]) -> float32[], of one caption.
      hidden: float[N, T, H].
      targets, real: int32[N, T], bool[N, T]; of each caption at least one word is real.
      beside: float32[N, ...], what else the function needs; no gradient flows to it.
    Returns:
      (float32[], log-probabilities float32[N], which have no gradient).
    """
    hidden, targets = (x.reshape(-1, *x.shape[2:]) for x in (hidden, targets))
    return _total(logits, value, params, hidden, targets, real, beside)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _total(logits, value, params, hidden, targets, real, beside):
    chosen = word_log_probs(
        logits, params, hidden.reshape(*real.shape, -1), targets.reshape(real.shape), real
    )[0]
    log_p = chosen.sum(1)
    return jax.vmap(value)(log_p, beside).sum(), log_p


def _total_forward(logits, value, params, hidden, targets, real, beside):
    (n, steps), rows = real.shape, max(matmul_rows(real.size, cpu=ROWS), real.shape[1])
    ends = jnp.cumsum(real.sum(1))
    (words,) = jnp.nonzero(real.reshape(-1), size=real.size + rows, fill_value=0)

    def chunk(state):
        first, d_params, d_hidden, log_p = state
        begin = jnp.where(first, ends[first - 1], 0)
        last = jnp.searchsorted(ends, begin + rows, side="right")
        mine = lax.dynamic_slice_in_dim(words, begin, rows)
        live = jnp.arange(rows) < ends[last - 1] - begin
        z, pull = jax.vjp(logits, params, hidden[mine])
        (chosen, _), z_32, total = _scores(z, targets[mine], False)
        caption = jnp.where(live, mine // steps, n)  # n is out of bounds, and dropped
        log_p = log_p.at[caption].add(chosen, mode="drop")
        weight = jax.vmap(jax.grad(value))(log_p, beside)
        weight = weight.at[caption].get(mode="fill", fill_value=0)
        d_logits = _slope(z_32, total, targets[mine], weight)
        new_params, new_hidden = pull(d_logits.astype(z.dtype))
        place = jnp.where(live, mine, real.size)
        d_hidden = d_hidden.at[place].set(new_hidden, mode="drop")
        return last, jax.tree.map(jnp.add, d_params, new_params), d_hidden, log_p

    state = (
        jnp.zeros((), ends.dtype),
        jax.tree.map(jnp.zeros_like, params),
        jnp.zeros_like(hidden),
        jnp.zeros(n, jnp.float32),
    )
    _, d_params, d_hidden, log_p = lax.while_loop(lambda s: s[0] < n, chunk, state)
    return (jax.vmap(value)(log_p, beside).sum(), log_p), (d_params, d_hidden)


def _total_backward(logits, value, gradients, cotangents):
    scaled = jax.tree.map(lambda x: cotangents[0].astype(x.dtype) * x, gradients)
    return *scaled, None, None, None


_total.defvjp(_total_forward, _total_backward)
