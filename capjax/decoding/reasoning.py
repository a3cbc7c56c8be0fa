"""The reasoning speaker: candidates that a trained listener re-ranks."""

import jax
import jax.numpy as jnp

from capjax.decoding.beam import beam_search
from capjax.decoding.sample import sample
from capjax.decoding.suppressor import check_pair, together
from capjax.judging import Evaluator, read_all
from capjax.speaker import Captions, Context, Params, Speaker, repeated


def reasoning_speaker(
    speaker: Speaker,
    params: Params,
    listener: Evaluator,
    listener_params: Params,
    target: Context,
    distractors: Context,
    key: jax.Array | None = None,
    *,
    rationality: float = 0.5,
    candidates: int = 10,
    max_len: int = 20,
) -> Captions:
    """Captions of a target by what a speaker finds likely and a listener finds clear.

    RS(lambda) of Andreas & Klein (2016) as in Vedantam et al. (2017, sec. 4.1): rationality log p(s
    | target) + (1 - rationality) log f(target | s), f the listener's choice among the target and
    its distractors (`listen`).

    Args:
      target, distractors: contexts, leaves [N, ...] and [N, M, ...].
      key: candidates are drawn with it, one typed key or one a row; without, the best of a beam.
      rationality: lambda, from 0 to 1; at 1 the listener is not heard.
      candidates: C, of each target.
    Returns:
      Captions(words int32[N, C, T], best first, and as log_prob their scores float32[N, C]), -inf
      where a beam found fewer.
    Raises:
      ValueError: rationality or candidates out of range, or contexts that do not fit.
    """
    check_pair(target, distractors, rationality)
    if candidates < 1:
        raise ValueError(f"candidates={candidates} must be at least 1")
    n = jax.tree.leaves(target)[0].shape[0]
    if key is None:
        found = beam_search(speaker, params, target, width=candidates, max_len=max_len)
    else:
        keys = key if key.ndim else jax.random.split(key, n)
        rows = jax.vmap(lambda k: jax.random.split(k, candidates))(keys).reshape(-1)
        drawn = sample(repeated(speaker, candidates), params, target, rows, max_len=max_len)
        shape = n, candidates
        found = Captions(drawn.words.reshape(*shape, -1), drawn.log_prob.reshape(shape))
    heard = _heard(listener, listener_params, together(target, distractors), found.words)
    # Without weight nothing is asked: 0 times what a beam has not found is no number.
    parts = [(rationality, found.log_prob), (1 - rationality, heard)]
    score = sum(jnp.float32(weight) * part for weight, part in parts if weight)
    score = jnp.where(found.log_prob == -jnp.inf, -jnp.inf, jnp.asarray(score))
    order = jnp.argsort(-score, 1, stable=True)
    words = jnp.take_along_axis(found.words, order[..., None], 1)
    return Captions(words, jnp.take_along_axis(score, order, 1))


def _heard(listener: Evaluator, params: Params, contexts: Context, words: jax.Array) -> jax.Array:
    """log f(the first image | caption) of captions int32[N, C, T]: float32[N, C].

    contexts: leaves [N, S, ...]; an image is looked at once, and a caption read once.
    """
    rows, each, _ = words.shape
    streams = jax.tree.leaves(contexts)[0].shape[1]
    flat = jax.tree.map(lambda x: x.reshape(rows * streams, *x.shape[2:]), contexts)
    looks = listener.image(params, flat).reshape(rows, streams, -1)
    carry = read_all(listener, params, words.reshape(rows * each, -1))

    def with_one(look: jax.Array) -> jax.Array:
        return listener.score(params, jnp.repeat(look, each, 0), carry).astype(jnp.float32)

    scores = jax.vmap(with_one, 1, 1)(looks)
    return jax.nn.log_softmax(scores, 1)[:, 0].reshape(rows, each)
