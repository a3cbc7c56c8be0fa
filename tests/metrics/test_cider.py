"""CIDEr-D on ids is pycocoevalcap's, whatever the captions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pycocoevalcap.cider.cider import Cider

from capjax.metrics import cider_d, ngram_table, pack_references


def expected(corpus, end=""):
    truth, spoken = corpus.by_id()
    truth = {i: [text + end for text in texts] for i, texts in truth.items()}
    spoken = {i: [text + end for text in texts] for i, texts in spoken.items()}
    return Cider().compute_score(truth, spoken)[1]


def test_real_captions_score_as_pycocoevalcap_scores_them(flickr):
    scores = cider_d(flickr.candidates, flickr.references, ngram_table(flickr.references))
    assert scores.shape == (5000,)
    np.testing.assert_allclose(scores, expected(flickr), rtol=0, atol=1e-5)


@pytest.mark.parametrize("end", ["", " <end>"])
def test_awkward_captions_score_as_pycocoevalcap_scores_them(awkward, end):
    for corpus in awkward:
        table = ngram_table(corpus.references)
        scores = cider_d(corpus.candidates, corpus.references, table, count_end=bool(end))
        np.testing.assert_allclose(scores, expected(corpus, end), rtol=0, atol=1e-5)


def test_captions_cut_at_the_last_place_have_no_end(awkward):
    """What is cut is scored by its words alone, counting the end or not."""
    corpus = awkward[2]
    table = ngram_table(corpus.references)
    full = np.tile(np.array([2, 3], np.int32), (100, 6))
    assert full.shape == corpus.candidates.shape
    references = np.stack([full, full[:, ::-1], 0 * full, 0 * full - 1], 1)
    plain = cider_d(full, references, table)
    assert (np.asarray(plain) > 1).all()
    np.testing.assert_array_equal(cider_d(full, references, table, count_end=True), plain)


@pytest.mark.parametrize("count_end", [False, True])
def test_packed_references_score_the_same_and_are_gathered_by_image(awkward, count_end):
    corpus = awkward[4]
    table = ngram_table(corpus.references)
    packed = pack_references(corpus.references, table, count_end=count_end)
    image = jnp.array([7, 7, 0, 99, 31])
    rows = jax.tree.map(lambda x: x[image], packed)
    scores = cider_d(corpus.candidates[image], rows, table)
    plain = cider_d(corpus.candidates, corpus.references, table, count_end=count_end)
    np.testing.assert_allclose(scores, plain[image], rtol=1e-6, atol=1e-7)


def test_references_may_come_in_any_order_and_places_may_be_added(awkward):
    corpus = awkward[3]
    table = ngram_table(corpus.references)
    scores = cider_d(corpus.candidates, corpus.references, table)
    order = np.random.default_rng(0).permuted(np.tile(np.arange(4), (100, 1)), axis=1)
    mixed = np.take_along_axis(corpus.references, order[:, :, None], 1)
    np.testing.assert_allclose(cider_d(corpus.candidates, mixed, table), scores, atol=2e-6)
    wide = np.pad(corpus.candidates, ((0, 0), (0, 30)))  # more than 32 positions
    long = np.concatenate([mixed, np.zeros_like(mixed), np.zeros_like(mixed)], -1)
    long[mixed[..., 0] < 0] = -1
    np.testing.assert_allclose(cider_d(wide, long, table), scores, atol=2e-6)


def test_long_captions_score_as_pycocoevalcap_scores_them(awkward):
    """Paragraphs of up to 80 words: bit sets of several parts."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(0, 81, (20, 3))
    rows = rng.integers(2, 9, (20, 3, 80)) * (np.arange(80) < lengths[..., None])
    text = lambda row: " ".join(f"w{i}" for i in row if i)  # noqa: E731
    truth = {i: [text(x) for x in rows[i, 1:]] for i in range(20)}
    spoken = {i: [text(rows[i, 0])] for i in range(20)}
    rows = rows.astype(np.int32)
    scores = cider_d(rows[:, 0], rows[:, 1:], ngram_table(rows[:, 1:]))
    np.testing.assert_allclose(scores, Cider().compute_score(truth, spoken)[1], rtol=0, atol=1e-5)


def test_vmap_scores_the_same(awkward):
    corpus = awkward[4]
    table = ngram_table(corpus.references)
    scores = cider_d(corpus.candidates, corpus.references, table)
    one = jax.jit(jax.vmap(lambda c, r: cider_d(c[None], r[None], table)[0]))
    mapped = one(corpus.candidates, corpus.references)
    np.testing.assert_allclose(mapped, scores, rtol=1e-6, atol=1e-6)


def test_an_image_without_references_has_no_score(awkward):
    corpus = awkward[0]
    table = ngram_table(corpus.references)
    references = corpus.references.copy()
    references[3] = -1
    scores = np.asarray(cider_d(corpus.candidates, references, table))
    assert np.isnan(scores).tolist() == [i == 3 for i in range(100)]


def test_bad_arguments_are_refused(awkward):
    corpus = awkward[0]
    table = ngram_table(corpus.references)
    packed = pack_references(corpus.references, table)
    with pytest.raises(ValueError, match=r"\[99, .*\[100, "):
        cider_d(corpus.candidates[1:], corpus.references, table)
    with pytest.raises(ValueError, match=r"\[99, .*\[100, "):
        cider_d(corpus.candidates[1:], packed, table)
    with pytest.raises(ValueError, match="pack_references"):
        cider_d(corpus.candidates, packed, table, count_end=True)
    with pytest.raises(ValueError, match="float32"):
        cider_d(corpus.candidates.astype(np.float32), corpus.references, table)
    with pytest.raises(ValueError, match="references must be"):
        cider_d(corpus.candidates, corpus.references[0], table)


def test_several_captions_of_an_image_score_as_each_alone(awkward):
    corpus = awkward[4]
    table = ngram_table(corpus.references)
    several = jnp.stack([corpus.candidates, corpus.candidates[::-1]], 1)
    scores = cider_d(several, corpus.references, table, count_end=True)
    for c in range(2):
        alone = cider_d(several[:, c], corpus.references, table, count_end=True)
        np.testing.assert_allclose(scores[:, c], alone, rtol=1e-5, atol=1e-6)
