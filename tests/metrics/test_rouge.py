"""ROUGE-L on ids is pycocoevalcap's, at any length."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pycocoevalcap.rouge.rouge import Rouge, my_lcs

from capjax.metrics import rouge_l


def assert_scores(corpus):
    scores = rouge_l(corpus.candidates, corpus.references)
    rows = Rouge().compute_score(*corpus.by_id())[1]
    np.testing.assert_allclose(scores, rows, rtol=0, atol=1e-5)


def test_real_captions_score_as_pycocoevalcap_scores_them(flickr):
    assert_scores(flickr)


def test_awkward_captions_score_as_pycocoevalcap_scores_them(awkward):
    for corpus in awkward:
        assert_scores(corpus)


@pytest.mark.parametrize("length", [31, 32, 33, 64, 70])
def test_subsequences_are_longest_at_any_length(length):
    """One reference of the candidate's length, so that the score is the subsequence's share."""
    rng = np.random.default_rng(length)
    rows = rng.integers(2, 6, (2, 12, length)).astype(np.int32)
    rows[1, :3] = rows[0, :3]  # all alike
    rows[1, 3:6] = np.roll(rows[0, 3:6], 1, -1)
    scores = rouge_l(rows[0], rows[1][:, None])
    common = [my_lcs(list(x), list(y)) for x, y in zip(*rows, strict=True)]
    np.testing.assert_allclose(scores, np.array(common) / length, rtol=1e-6)


def test_texts_without_words_equal_one_another_and_nothing_else():
    empty, one, none = [0, 0], [5, 0], [-1, -1]
    candidates = jnp.array([empty, empty, one, one, one])
    references = jnp.array([[empty, none], [one, none], [empty, none], [one, empty], [none, none]])
    np.testing.assert_array_equal(rouge_l(candidates, references), [1, 0, 0, 1, np.nan])


def test_references_may_come_in_any_order_and_vmap_scores_the_same(awkward):
    corpus = awkward[3]
    scores = rouge_l(corpus.candidates, corpus.references)
    np.testing.assert_array_equal(rouge_l(corpus.candidates, corpus.references[:, ::-1]), scores)
    one = jax.vmap(lambda c, r: rouge_l(c[None], r[None])[0])
    np.testing.assert_allclose(one(corpus.candidates, corpus.references), scores, rtol=1e-6)


def test_other_arrays_are_refused(awkward):
    corpus = awkward[0]
    with pytest.raises(ValueError, match=r"\[99, .*\[100, "):
        rouge_l(corpus.candidates[1:], corpus.references)
    with pytest.raises(ValueError, match="references must be"):
        rouge_l(corpus.candidates, corpus.candidates)
