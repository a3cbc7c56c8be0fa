"""BLEU on ids is pycocoevalcap's, of each caption and of a corpus."""

import jax
import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu

from capjax.metrics import bleu, corpus_bleu


def expected(corpus):
    whole, rows = Bleu(4).compute_score(*corpus.by_id(), verbose=0)
    return np.array(whole), np.array(rows).T


def assert_scores(corpus):
    whole, rows = expected(corpus)
    scores = bleu(corpus.candidates, corpus.references)
    np.testing.assert_allclose(scores, rows, rtol=0, atol=1e-5)
    # Where there is no match the score is not 0 but small, and that is right to its own size.
    np.testing.assert_allclose(scores, rows, rtol=1e-4, atol=1e-30)
    total = corpus_bleu(corpus.candidates, corpus.references)
    np.testing.assert_allclose(total, whole, rtol=1e-5)


def test_real_captions_score_as_pycocoevalcap_scores_them(flickr):
    assert_scores(flickr)


def test_awkward_captions_score_as_pycocoevalcap_scores_them(awkward):
    for corpus in awkward:
        assert_scores(corpus)


def test_masked_references_are_as_good_as_none(awkward):
    corpus = awkward[4]
    mask = np.random.default_rng(0).random(corpus.references.shape[:2]) < 0.7
    absent = np.where(mask[..., None], corpus.references, -1)
    for measure in bleu, corpus_bleu:
        masked = measure(corpus.candidates, corpus.references, mask=mask)
        np.testing.assert_array_equal(masked, measure(corpus.candidates, absent))


def test_references_may_come_in_any_order(awkward):
    corpus = awkward[3]
    scores = bleu(corpus.candidates, corpus.references)
    turned = bleu(corpus.candidates, corpus.references[:, ::-1])
    np.testing.assert_array_equal(turned, scores)


def test_vmap_scores_the_same(awkward):
    corpus = awkward[4]
    one = jax.vmap(lambda c, r: bleu(c[None], r[None])[0])(corpus.candidates, corpus.references)
    np.testing.assert_allclose(one, bleu(corpus.candidates, corpus.references), rtol=1e-6)


def test_an_image_without_references_has_no_score(awkward):
    corpus = awkward[0]
    references = corpus.references.copy()
    references[3] = -1
    scores = np.isnan(bleu(corpus.candidates, references))
    assert scores.all(1).tolist() == scores.any(1).tolist() == [i == 3 for i in range(100)]
    assert np.isnan(corpus_bleu(corpus.candidates, references)).all()


def test_other_arrays_are_refused(awkward):
    corpus = awkward[0]
    with pytest.raises(ValueError, match=r"\[99, .*\[100, "):
        bleu(corpus.candidates[1:], corpus.references)
    with pytest.raises(ValueError, match="candidates must be"):
        bleu(corpus.candidates[0], corpus.references)
    with pytest.raises(ValueError, match="references must be"):
        corpus_bleu(corpus.candidates, corpus.references.astype(np.float32))
