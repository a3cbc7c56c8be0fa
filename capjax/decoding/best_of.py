"""The best of several drawn captions, by any score."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from capjax.agreement import check_context, check_key
from capjax.decoding.sample import sample
from capjax.speaker import Captions, Context, Params, Speaker


def best_of(
    speaker: Speaker,
    params: Params,
    context: Context,
    key: jax.Array,
    score: Callable[[Context, jax.Array], jax.Array],
    n: int,
    **sampling: Any,
) -> Captions:
    """Draws n captions for each row of the context and keeps the one that scores highest.

    Args:
      key: one typed key.
      score: (context, captions int32[N * n, T]) -> float[N * n], each row of the context given n
        times in a row: an evaluator's verdict, a listener's, a reward.
      n: at least 1.
      sampling: as in `sample`.
    Returns:
      Captions(words int32[N, T], log_prob float32[N]); of equals the one drawn first. A score of
      NaN never wins over another.
    Raises:
      ValueError: n below 1, a score that is not one number a caption, or as in `sample`.
    """
    if n < 1:
        raise ValueError(f"n={n} must be at least 1")
    rows = check_context(context)
    check_key(key)
    repeated = jax.tree.map(lambda x: jnp.repeat(x, n, 0), context)
    drawn = sample(speaker, params, repeated, key, **sampling)
    scores = score(repeated, drawn.words)
    if scores.shape != (rows * n,):
        raise ValueError(
            f"score gave {list(scores.shape)} for captions {list(drawn.words.shape)}; it must give"
            " one number for each"
        )
    scores = scores.reshape(rows, n)
    best = jnp.argmax(jnp.where(jnp.isnan(scores), -jnp.inf, scores), -1)
    chosen = jnp.arange(rows) * n + best
    return Captions(drawn.words[chosen], drawn.log_prob[chosen])
