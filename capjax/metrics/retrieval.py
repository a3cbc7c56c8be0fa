"""Do captions find their images? Ranks of the true image, and recall at k."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from capjax.agreement import agree, check_array, spec

RECALLS = (1, 3, 5, 10)

Score = Callable[[Any, Any], Any]  # (captions int32[Q, T], images [J, ...]) -> float[Q, J]


@jax.jit
def retrieval_ranks(scores: jax.Array) -> jax.Array:
    """The rank of the true item of each query: 1 + how many score more + half of the ties.

    A score that is NaN counts as higher than the true one, and a true one that is NaN ranks last:
    what went wrong never makes a good rank.

    Args:
      scores: float[Q, J], higher for a better match; the true item of query q is item q.
    Returns:
      float32[Q], from 1 to J.
    Raises:
      ValueError: scores that are not [Q, J] with Q at most J.
    """
    check_array(scores, "scores")
    if scores.ndim != 2 or scores.shape[0] > scores.shape[1]:
        raise ValueError(
            f"scores must be [queries, items] with the true item of each query on the diagonal, "
            f"not {list(scores.shape)}"
        )
    truth = jnp.diagonal(scores)[:, None]
    other = ~jnp.eye(scores.shape[0], scores.shape[1], dtype=bool)
    ahead = (other & ~(scores <= truth)).sum(-1, dtype=jnp.int32)
    ties = (other & (scores == truth)).sum(-1, dtype=jnp.int32)
    return 1 + ahead.astype(jnp.float32) + ties.astype(jnp.float32) / 2


def retrieve(score: Score, captions: Any, images: Any, name: str) -> tuple[dict[str, float], Any]:
    """Captions as queries for their images, by any score of pairs: the speaker's, a listener's.

    A speaker that ranks by its own captions flatters itself; another scorer does not.

    Args:
      score: (captions, images) -> float[Q, J], higher for a better match.
      captions: int32[Q, T], of the first Q of the images.
      images: [J, ...], as the scorer takes them.
      name: of the scorer, for the names of the metrics.
    Returns:
      (the metrics of `recall`, the ranks float[Q]).
    Raises:
      ValueError: scores that are not one for each pair, or more captions than images.
    """
    pair = agree(captions=captions), agree(images=images)
    scores = jnp.asarray(score(captions, images))
    if scores.shape != pair:
        raise ValueError(
            f"score gave {spec(scores)} for captions {spec(captions)} and {pair[1]} images; it must"
            f" give float{list(pair)}"
        )
    ranks = np.asarray(retrieval_ranks(scores))
    return recall(ranks, scores.shape[1], f"{name}_retrieval"), ranks


def recall(ranks: Any, pool: int, name: str = "self_retrieval") -> dict[str, float]:
    """Metrics of ranks [Q] in a pool of items: the shares at most 1, 3, 5 and 10, mean and median.

    The pool is in the names because ranks among different numbers of items cannot be compared.

    Args:
      ranks: [Q], from 1 to pool, as of `retrieval_ranks`.
      pool: how many items there were.
      name: of what ranked them.
    Returns:
      The metrics by name, `<name>_r1@<pool>` and so on, `<name>_mean_rank@<pool>` and
      `<name>_median_rank@<pool>`.
    Raises:
      ValueError: there are no ranks, or one lies outside 1..pool.
    """
    ranks = np.asarray(ranks, np.float64)
    if ranks.ndim != 1 or not ranks.size:
        raise ValueError(f"ranks must be [queries] with at least one, not {list(ranks.shape)}")
    if not (ranks.min() >= 1 and ranks.max() <= pool):
        raise ValueError(
            f"ranks go from {ranks.min():g} to {ranks.max():g} but the pool holds {pool} items"
        )
    metrics = {f"{name}_r{k}@{pool}": float((ranks <= k).mean()) for k in RECALLS}
    metrics[f"{name}_mean_rank@{pool}"] = float(ranks.mean())
    metrics[f"{name}_median_rank@{pool}"] = float(np.median(ranks))
    return metrics
