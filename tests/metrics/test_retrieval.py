"""Ranks count who is ahead; what went wrong never ranks well."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.metrics import recall, retrieval_ranks

INF, NAN = jnp.inf, jnp.nan


def test_ranks_are_the_places_in_a_sort():
    scores = np.random.default_rng(0).normal(size=(40, 60)).astype(np.float32)
    ranks = retrieval_ranks(scores)
    places = [1 + list(np.argsort(-row)).index(q) for q, row in enumerate(scores)]
    np.testing.assert_array_equal(ranks, places)
    assert ranks.dtype == jnp.float32


@pytest.mark.parametrize(
    ("row", "rank"),
    [
        ([3.0, 1.0, 2.0, 0.0], 1),
        ([1.0, 3.0, 2.0, 0.0], 3),
        ([1.0, 1.0, 1.0, 1.0], 2.5),
        ([1.0, 1.0, 2.0, 0.0], 2.5),
        ([-INF, -INF, 0.0, 0.0], 3.5),
        ([INF, 1.0, 2.0, 0.0], 1),
        ([NAN, 1.0, 2.0, 0.0], 4),
        ([NAN, NAN, NAN, NAN], 4),
        ([3.0, NAN, 2.0, 0.0], 2),
        ([3.0, NAN, NAN, 3.0], 3.5),
    ],
)
def test_ties_share_their_places_and_nan_is_never_good(row, rank):
    assert retrieval_ranks(jnp.array([row])).tolist() == [rank]


def test_adding_a_constant_to_a_query_changes_nothing():
    scores = jnp.round(jax.random.normal(jax.random.key(0), (20, 20)) * 4)
    moved = scores + jnp.arange(20.0)[:, None]
    np.testing.assert_array_equal(retrieval_ranks(moved), retrieval_ranks(scores))


def test_recall_tells_shares_and_the_pool():
    ranks = jnp.array([1.0, 1.0, 1.5, 3.0, 4.0, 5.5, 10.0, 100.0])
    assert recall(ranks, 100) == {
        "self_retrieval_r1@100": 2 / 8,
        "self_retrieval_r3@100": 4 / 8,
        "self_retrieval_r5@100": 5 / 8,
        "self_retrieval_r10@100": 7 / 8,
        "self_retrieval_mean_rank@100": 15.75,
        "self_retrieval_median_rank@100": 3.5,
    }
    assert recall([2.0], 5, "listener")["listener_r3@5"] == 1


@pytest.mark.parametrize("scores", [np.zeros(3), np.zeros((4, 3)), np.zeros((2, 3, 3))])
def test_scores_without_a_diagonal_are_refused(scores):
    with pytest.raises(ValueError, match="diagonal"):
        retrieval_ranks(scores)


@pytest.mark.parametrize("ranks", [[], [[1.0]], [0.0], [6.0], [np.nan]])
def test_what_are_no_ranks_is_refused(ranks):
    with pytest.raises(ValueError, match="ranks"):
        recall(ranks, 5)
