"""Reading captions back through a speaker: the recurrence, then the projection of real words only.

Hidden states of scored words are packed and projected onto the vocabulary in chunks, as large as
suits the machine; padding is never projected.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

# Words of a chunk: more waste more on the last chunk, fewer add up gradients more often.
ROWS = 384  # on a CPU
MANY = 4096  # elsewhere, where a chunk must be worth its launches


def put(buffers: Any, i: jax.Array, new: Any) -> Any:
    """Writes entry i of each leaf, in place inside a loop (`.at[i].set` is a scatter there)."""
    return jax.tree.map(lambda b, x: lax.dynamic_update_index_in_dim(b, x, i, 0), buffers, new)


def where_rows(mask: jax.Array, a: Any, b: Any) -> Any:
    """Of two trees whose leaves lead with N, the rows of the first where bool[N] is true."""
    beside = lambda x: mask.reshape(-1, *(1,) * (x.ndim - 1))  # noqa: E731
    return jax.tree.map(lambda x, y: jnp.where(beside(x), x, y), a, b)


def pack(real: jax.Array, rows: int) -> tuple[jax.Array, jax.Array]:
    """Flat indices of the true entries, in chunks, -1 past the last; and how many chunks have any.

    bool[...] -> (int32[K, rows], int32[]).
    """
    rows = min(rows, real.size)
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
    return _chunked(logits, mean, params, hidden, targets, real)


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
    return _weighted(logits, params, hidden, targets, real, weights, even)


def _by_platform(run, *args):
    """run(words of a chunk, *args)."""
    return lax.platform_dependent(*args, cpu=partial(run, ROWS), default=partial(run, MANY))


def _scores(z, targets, mean):
    """Of one chunk: ((chosen, mean), logits, the logarithm of their exponentials' sum)."""
    z = z.astype(jnp.float32)
    peak = z.max(-1, keepdims=True)
    total = peak + jnp.log(jnp.exp(z - peak).sum(-1, keepdims=True))
    chosen = jnp.take_along_axis(z, targets[:, None], 1) - total
    average = z.mean(-1) - total[:, 0] if mean else jnp.zeros(z.shape[0])
    return (chosen[:, 0], average), z, total


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _chunked(logits, mean, params, hidden, targets, real):
    return _by_platform(partial(_project, logits, mean), params, hidden, targets, real)


def _chunked_backward(logits, mean, residuals, cotangents):
    back = partial(_project_and_back, logits, mean)
    return *_by_platform(back, *residuals, *cotangents)[1], None, None


_chunked.defvjp(lambda *args: (_chunked(*args), args[2:]), _chunked_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _weighted(logits, params, hidden, targets, real, weights, even):
    pair = _chunked(logits, even is not None, params, hidden, targets, real)
    return _sum_of(pair, weights, even), pair


def _weighted_forward(logits, params, hidden, targets, real, weights, even):
    back = partial(_project_and_back, logits, even is not None)
    other = jnp.zeros_like(weights) if even is None else even
    pair, gradients = _by_platform(back, params, hidden, targets, real, weights, other)
    return (_sum_of(pair, weights, even), pair), gradients


def _sum_of(pair, weights, even):
    total = jnp.vdot(pair[0], weights)
    return total if even is None else total + jnp.vdot(pair[1], even)


def _weighted_backward(logits, gradients, cotangents):
    scaled = jax.tree.map(lambda x: cotangents[0].astype(x.dtype) * x, gradients)
    return *scaled, None, None, None, None


_weighted.defvjp(_weighted_forward, _weighted_backward)


def _project(logits, mean, rows, params, hidden, targets, real):
    packed, chunks = pack(real, rows)
    zeros = jnp.zeros(packed.shape, jnp.float32)

    def body(i, out):
        mine = logits(params, _at(hidden, packed[i]))
        return put(out, i, _scores(mine, _at(targets, packed[i]), mean)[0])

    return jax.tree.map(partial(_unpacked, real), lax.fori_loop(0, chunks, body, (zeros, zeros)))


def _project_and_back(logits, mean, rows, params, hidden, targets, real, weights, even):
    """What `_project` gives, and a weighted sum's gradients of parameters and hidden states."""
    packed, chunks = pack(real, rows)

    def body(i, state):
        d_params, d_hidden, pair = state
        words, live = _at(targets, packed[i]), packed[i] >= 0
        z, pull = jax.vjp(logits, params, _at(hidden, packed[i]))
        new, z_32, total = _scores(z, words, mean)
        # What fills up the last chunk weighs nothing.
        weight, other = (jnp.where(live, _at(w, packed[i]), 0) for w in (weights, even))
        d_logits = _slope(z_32, total, words, weight, other if mean else None)
        new_params, new_hidden = pull(d_logits.astype(z.dtype))
        d_params = jax.tree.map(jnp.add, d_params, new_params)
        return d_params, put(d_hidden, i, new_hidden), put(pair, i, new)

    zeros = jnp.zeros(packed.shape, jnp.float32)
    d_hidden = jnp.zeros((*packed.shape, hidden.shape[-1]), hidden.dtype)
    state = jax.tree.map(jnp.zeros_like, params), d_hidden, (zeros, zeros)
    d_params, d_hidden, pair = lax.fori_loop(0, chunks, body, state)
    pair = jax.tree.map(partial(_unpacked, real), pair)
    return pair, (d_params, _unpacked(real, d_hidden))


def _at(x, packed):
    """The entries of x[N, T, ...] at flat indices."""
    return jnp.asarray(x).reshape(-1, *x.shape[2:])[packed]


def _unpacked(real, x):
    """Entries [K, rows, ...] in their places, 0 elsewhere: [N, T, ...]."""
    place = jnp.maximum(jnp.cumsum(real.reshape(-1)) - 1, 0).reshape(real.shape)
    there = real.reshape(*real.shape, *(1,) * (x.ndim - 2))
    return jnp.where(there, x.reshape(-1, *x.shape[2:])[place], 0)


def _slope(z, total, targets, weight, even=None):
    """d of weighted log-probabilities / d logits float32[R, V], as `_scores` gives these."""
    # d chosen / d logits = onehot - p, and d mean / d logits = 1/V - p; in one pass over them.
    both = weight if even is None else weight + even
    chosen = targets[:, None] == jnp.arange(z.shape[-1])[None]
    slope = jnp.where(chosen, weight[:, None], 0) - both[:, None] * jnp.exp(z - total)
    return slope if even is None else slope + even[:, None] / z.shape[-1]


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
    return _total(logits, value, params, hidden, targets, real, beside)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _total(logits, value, params, hidden, targets, real, beside):
    log_p = word_log_probs(logits, params, hidden, targets, real)[0].sum(1)
    return jax.vmap(value)(log_p, beside).sum(), log_p


def _total_forward(logits, value, params, hidden, targets, real, beside):
    run = partial(_captions_and_back, logits, value)
    return _by_platform(run, params, hidden, targets, real, beside)


def _captions_and_back(logits, value, rows, params, hidden, targets, real, beside):
    (n, steps), rows = real.shape, max(min(rows, real.size), real.shape[1])
    ends = jnp.cumsum(real.sum(1))
    (words,) = jnp.nonzero(real.reshape(-1), size=real.size + rows, fill_value=0)

    def chunk(state):
        first, d_params, d_hidden, log_p = state
        begin = jnp.where(first, ends[first - 1], 0)
        last = jnp.searchsorted(ends, begin + rows, side="right")
        mine = lax.dynamic_slice_in_dim(words, begin, rows)
        live = jnp.arange(rows) < ends[last - 1] - begin
        z, pull = jax.vjp(logits, params, _at(hidden, mine))
        (chosen, _), z_32, total = _scores(z, _at(targets, mine), False)
        caption = jnp.where(live, mine // steps, n)  # n is out of bounds, and dropped
        log_p = log_p.at[caption].add(chosen, mode="drop")
        weight = jax.vmap(jax.grad(value))(log_p, beside)
        weight = weight.at[caption].get(mode="fill", fill_value=0)
        d_logits = _slope(z_32, total, _at(targets, mine), weight)
        new_params, new_hidden = pull(d_logits.astype(z.dtype))
        # What is past the last caption of this chunk is written again by the next.
        d_hidden = lax.dynamic_update_slice_in_dim(d_hidden, new_hidden, begin, 0)
        return last, jax.tree.map(jnp.add, d_params, new_params), d_hidden, log_p

    state = (
        jnp.zeros((), ends.dtype),
        jax.tree.map(jnp.zeros_like, params),
        jnp.zeros((words.size, hidden.shape[-1]), hidden.dtype),
        jnp.zeros(n, jnp.float32),
    )
    _, d_params, d_hidden, log_p = lax.while_loop(lambda s: s[0] < n, chunk, state)
    gradients = d_params, _unpacked(real, d_hidden[None])
    return (jax.vmap(value)(log_p, beside).sum(), log_p), gradients


def _total_backward(logits, value, gradients, cotangents):
    scaled = jax.tree.map(lambda x: cotangents[0].astype(x.dtype) * x, gradients)
    return *scaled, None, None, None


_total.defvjp(_total_forward, _total_backward)
