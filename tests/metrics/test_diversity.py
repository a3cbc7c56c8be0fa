"""Diversity against plain Python, and at its limits."""

import itertools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider_scorer import CiderScorer

from capjax.metrics import (
    consensus,
    diversity,
    encode,
    ngram_table,
    novel,
    self_cider_kernel,
)

SAMPLES = 4
EMPTY = ["", "", "", ""]
ALIKE = ["a dog runs"] * 4


@pytest.fixture(scope="module")
def texts():
    """Sets of four captions: from all alike to nothing in common; some empty, short or repeated."""
    rng = np.random.default_rng(0)
    sets = [EMPTY, ALIKE, ["a b c", "d e f g", "h", "i j k l m"], ["", "a", "a", "b a b a b a"]]
    for i in range(36):
        words = [f"w{k}" for k in range((2, 4, 9, 30)[i % 4])]
        drawn = [" ".join(rng.choice(words, rng.integers(0, 9))) for _ in range(SAMPLES)]
        if i % 3 == 0:
            drawn[rng.integers(4)] = drawn[rng.integers(4)]
        sets.append(drawn)
    return sets


@pytest.fixture(scope="module")
def captions(texts):
    return encode(texts, max_len=10)[0]


@pytest.fixture(scope="module")
def table(captions):
    return ngram_table(captions)


@pytest.fixture(scope="module")
def measured(captions, table):
    return diversity(captions, table)


def grams(text, n):
    words = text.split()
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def share(part, whole):
    return part / whole if whole else 0.0


def kernels(texts):
    """CIDEr-D of each caption against each, by pycocoevalcap with frequencies of all the texts."""
    scorer = CiderScorer()
    for captions in texts:
        scorer += ("", captions)
    scorer.compute_doc_freq()
    pairs = CiderScorer()
    for captions in texts:
        for one, other in itertools.product(captions, captions):
            pairs += (one, [other])
    pairs.document_frequency = scorer.document_frequency
    # The scorer takes the number of images from how many it holds.
    scores = with_images(pairs, len(texts))
    return np.array(scores).reshape(len(texts), SAMPLES, SAMPLES)


def with_images(scorer, images):
    """compute_cider with ln(images) in place of ln(the number of pairs)."""

    class Sized(list):
        def __len__(self):
            return images

    scorer.crefs = Sized(scorer.crefs)
    return scorer.compute_cider()


def spread(values):
    values = np.sort(np.abs(values))[::-1]
    return -np.log(values[0] / values.sum()) / np.log(SAMPLES) if values.sum() else 0.0


def test_distinct_ngrams_are_counted(texts, measured):
    for i, captions in enumerate(texts):
        words = sum(len(grams(text, 1)) for text in captions)
        for n in (1, 2):
            all_ = [gram for text in captions for gram in grams(text, n)]
            expected = share(len(set(all_)), words), share(len(set(all_)), len(all_))
            assert measured[f"div{n}"][i] == pytest.approx(expected[0], rel=1e-6)
            assert measured[f"div{n}_ngram"][i] == pytest.approx(expected[1], rel=1e-6)


def test_mutual_bleu_is_that_of_pycocoevalcap(texts, measured):
    sentence, corpus = [], []
    for s in range(SAMPLES):
        truth = {i: [t for k, t in enumerate(x) if k != s] for i, x in enumerate(texts)}
        spoken = {i: [x[s]] for i, x in enumerate(texts)}
        whole, rows = Bleu(4).compute_score(truth, spoken, verbose=0)
        corpus.append(whole)
        sentence.append(rows)
    for n in range(4):
        expected = np.mean(sentence, 0)[n]
        np.testing.assert_allclose(measured[f"mbleu{n + 1}_sent"], expected, atol=1e-6)
        total = measured["total"][f"mbleu{n + 1}_corpus"]
        assert total == pytest.approx(np.mean(corpus, 0)[n], abs=1e-6)


def test_self_cider_is_that_of_its_definition(texts, captions, table, measured):
    expected = kernels(texts)
    np.testing.assert_allclose(self_cider_kernel(captions, table), expected, rtol=0, atol=1e-5)
    for i, kernel in enumerate(expected):
        mirrored = np.triu(kernel) + np.triu(kernel, 1).T
        values = np.linalg.svd(mirrored, compute_uv=False)
        values[values < 1e-12] = 0
        assert measured["self_cider"][i] == pytest.approx(spread(np.sqrt(values)), abs=1e-4)


def test_lsa_is_that_of_its_definition(texts, measured):
    for i, captions in enumerate(texts):
        words = sorted({word for text in captions for word in text.split()}) or ["none"]
        counts = [[text.split().count(word) for text in captions] for word in words]
        values = np.linalg.svd(np.array(counts, float), compute_uv=False)
        assert measured["lsa"][i] == pytest.approx(spread(values), abs=1e-7)


def test_captions_are_counted(texts, measured):
    for i, captions in enumerate(texts):
        counts = np.array(list(Counter(captions).values()))
        assert measured["unique"][i] == len(counts) / SAMPLES
        p = counts / SAMPLES
        assert measured["effective"][i] == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-6)
    all_ = [text for captions in texts for text in captions]
    assert measured["total"]["distinct_captions"] == len(set(all_))
    vocabulary = {word for text in all_ for word in text.split()}
    assert measured["total"]["vocabulary"] == len(vocabulary)


def test_the_totals_are_means(measured):
    for name, values in measured.items():
        if name != "total":
            assert values.shape == (40,)
            assert measured["total"][name] == pytest.approx(values.mean(), rel=1e-6)
            assert type(measured["total"][name]) is float


def test_alike_is_0_and_nothing_in_common_is_1(texts, measured):
    for name in "self_cider", "lsa":
        assert measured[name][texts.index(EMPTY)] == 0
        assert measured[name][texts.index(ALIKE)] == pytest.approx(0, abs=1e-9)
    apart = ["a b c d", "e f g h", "i j k l", "m n o p"]
    ids, _ = encode([apart, ["q q", "r r", "s s", "t t"]], max_len=10)
    result = diversity(np.resize(ids, (40, 4, 10)), ngram_table(ids))
    assert result["lsa"][:2] == pytest.approx([1, 1], abs=1e-7)
    assert result["self_cider"][0] == pytest.approx(1, abs=1e-6)


def test_the_order_of_captions_matters_to_nothing_but_the_mirror(captions, table, measured):
    turned = diversity(captions[:, ::-1], table)
    for name, values in measured.items():
        if name not in ("total", "self_cider"):
            np.testing.assert_allclose(turned[name], values, atol=1e-6)


def test_one_sample_differs_from_nothing(captions, table):
    single = diversity(captions[:, :1], table)
    assert (single["self_cider"] == 0).all()
    assert (single["lsa"] == 0).all()
    assert (single["unique"] == 1).all()
    assert (single["effective"] == 1).all()
    assert np.isnan(single["mbleu4_sent"]).all()
    assert np.isnan(single["total"]["mbleu4_corpus"])


def test_under_jit_the_measures_are_the_same_but_for_rounding(captions, table, measured):
    traced = jax.jit(diversity)(captions, table)
    tolerance = {"self_cider": 2e-3, "lsa": 2e-3}  # roots of what is 0 but for float32's rounding
    for name, values in measured.items():
        if name != "total":
            np.testing.assert_allclose(traced[name], values, atol=tolerance.get(name, 1e-6))
    for name, value in measured["total"].items():
        assert float(traced["total"][name]) == pytest.approx(value, abs=tolerance.get(name, 1e-5))


def test_many_images_are_measured_block_by_block(captions, table, measured):
    """280 images, of which 256 are the first block."""
    blocks = diversity(np.tile(captions, (7, 1, 1)), table)
    for name, values in measured.items():
        if name != "total":
            np.testing.assert_allclose(blocks[name], np.tile(values, 7), rtol=1e-6, atol=1e-6)
    assert blocks["total"] == pytest.approx(measured["total"], rel=1e-6)


def test_consensus_is_the_caption_nearest_to_the_others(texts, captions, table):
    chosen = consensus(captions, table)
    assert chosen.dtype == jnp.int32
    kernel = kernels(texts)
    kernel[:, np.arange(SAMPLES), np.arange(SAMPLES)] = 0
    means = kernel.mean(2)  # of each caption as candidate
    picked = means[np.arange(len(texts)), chosen]
    np.testing.assert_allclose(picked, means.max(1), rtol=1e-5, atol=1e-6)
    assert len(set(chosen.tolist())) > 2


def test_novel_captions_are_those_not_known(texts):
    flat = [text for captions in texts for text in captions]
    ids, words = encode([flat])
    known, spoken = flat[::3] * 2, flat[::-1]
    rows = encode([known], words, max_len=ids.shape[-1] + 4)[0][0]  # other lengths match, too
    result = novel(ids[0][::-1], rows)
    assert result.tolist() == [text not in set(known) for text in spoken]
    assert 0.2 < np.mean(result) < 0.8


def test_no_caption_is_neither_novel_nor_known():
    captions = jnp.array([[5, 0], [0, 0], [-1, -1], [5, 6]])
    none = jnp.array([[-1, -1]])
    assert novel(captions, none).tolist() == [True, True, False, True]
    assert novel(captions, captions[:2]).tolist() == [False, False, False, True]


@pytest.mark.parametrize("shape", [(3, 4), (0, 4, 5), (3, 0, 5)])
def test_other_arrays_are_refused(shape, table):
    for measure in diversity, self_cider_kernel, consensus:
        with pytest.raises(ValueError, match="captions must be"):
            measure(np.zeros(shape, np.int32), table)
    with pytest.raises(ValueError, match="float32"):
        diversity(np.zeros((2, 3, 4), np.float32), table)
