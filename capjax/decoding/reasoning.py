"""Speakers that re-rank candidates: the reasoning by a listener, the introspective by itself."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from capjax.agreement import check_key
from capjax.decoding.beam import beam_search
from capjax.decoding.sample import sample
from capjax.decoding.suppressor import check_pair, introspective_score, together
from capjax.judging import Evaluator, check_vocabulary, read_all
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
    forbid_unknown: bool = False,
    block_trigrams: bool = False,
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
      max_len, forbid_unknown, block_trigrams: as in `beam_search`, of the candidates.
    Returns:
      Captions(words int32[N, C, T], best first, and as log_prob their scores float32[N, C]), -inf
      where a beam found fewer.
    Raises:
      ValueError: rationality or candidates out of range, or contexts that do not fit.
    """

    def score(found: Captions) -> jax.Array:
        log_f = _listener_log_probs(
            listener, listener_params, together(target, distractors), found.words
        )
        # Without weight nothing is asked: 0 times what a beam has not found is no number.
        parts = [(rationality, found.log_prob), (1 - rationality, log_f)]
        return jnp.asarray(sum(jnp.float32(weight) * part for weight, part in parts if weight))

    check_pair(target, distractors, rationality)
    check_vocabulary(speaker, params, target, listener)
    options = {"max_len": max_len, "forbid_unknown": forbid_unknown}
    options["block_trigrams"] = block_trigrams
    return _ranked(_candidates(speaker, params, target, key, candidates, options), score)


def introspective_speaker(
    speaker: Speaker,
    params: Params,
    target: Context,
    distractors: Context,
    key: jax.Array | None = None,
    *,
    rationality: float = 0.5,
    candidates: int = 10,
    max_len: int = 20,
    forbid_unknown: bool = False,
    block_trigrams: bool = False,
) -> Captions:
    """Candidates of a target by what they are worth to the introspective speaker itself.

    As `reasoning_speaker`, with the likelihood ratio for a listener (`introspective_score`): what
    `emitter_suppressor` searches for, among captions that the speaker says anyway.

    Args:
      target, distractors, key, candidates, max_len, forbid_unknown, block_trigrams: as in
        `reasoning_speaker`.
      rationality: lambda, from 0 to 1; at 1 the distractors are not heeded.
    Returns:
      Captions, as `reasoning_speaker`.
    Raises:
      ValueError: as `reasoning_speaker`.
    """

    def score(found: Captions) -> jax.Array:
        def one(words: jax.Array) -> jax.Array:
            return introspective_score(
                speaker, params, target, distractors, words, rationality=rationality
            )

        return lax.map(one, jnp.moveaxis(found.words, 1, 0)).T

    check_pair(target, distractors, rationality)
    options = {"max_len": max_len, "forbid_unknown": forbid_unknown}
    options["block_trigrams"] = block_trigrams
    return _ranked(_candidates(speaker, params, target, key, candidates, options), score)


def _candidates(
    speaker: Speaker,
    params: Params,
    target: Context,
    key: jax.Array | None,
    number: int,
    options: dict[str, Any],
) -> Captions:
    """A beam's best or, with a key, draws: words int32[N, C, T]."""
    if number < 1:
        raise ValueError(f"candidates={number} must be at least 1")
    if key is None:
        return beam_search(speaker, params, target, width=number, **options)
    n = jax.tree.leaves(target)[0].shape[0]
    check_key(key, n)
    keys = key if key.ndim else jax.random.split(key, n)
    rows = jax.vmap(lambda k: jax.random.split(k, number))(keys).reshape(-1)
    drawn = sample(repeated(speaker, number), params, target, rows, **options)
    return Captions(drawn.words.reshape(n, number, -1), drawn.log_prob.reshape(n, number))


def _ranked(found: Captions, score: Callable[[Captions], jax.Array]) -> Captions:
    """Best first; what a beam has not found last, at -inf."""
    worth = jnp.where(found.log_prob == -jnp.inf, -jnp.inf, score(found))
    order = jnp.argsort(-worth, 1, stable=True)
    words = jnp.take_along_axis(found.words, order[..., None], 1)
    return Captions(words, jnp.take_along_axis(worth, order, 1))


def _listener_log_probs(
    listener: Evaluator, params: Params, contexts: Context, words: jax.Array
) -> jax.Array:
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
