"""Measures of paragraphs against plain Python, against those of captions, and at their limits."""

import jax
import numpy as np
import pytest

import capjax
from capjax.metrics import (
    between_sentences,
    diversity,
    encode,
    ngram_table,
    repeated_trigrams,
)

END, SENTENCE = 0, capjax.SENTENCE


def repeated(words):
    grams = [tuple(words[i : i + 3]) for i in range(len(words) - 2)]
    return sum(gram in grams[:i] for i, gram in enumerate(grams)) / max(len(grams), 1)


@pytest.fixture(scope="module")
def drawn():
    """Captions of few words, with sentence ends anywhere, also two in a row, and ends or none."""
    rng = np.random.default_rng(0)
    size = rng.integers(3, 9, (300, 1))
    captions = rng.integers(0, 2**30, (300, 40)) % (size - 1) + 1
    length = rng.integers(0, 50, (300, 1))
    return np.where(np.arange(40) < length, captions, END).astype(np.int32)


@pytest.mark.parametrize("sentence", [None, SENTENCE])
def test_trigrams_that_came_before_are_counted(drawn, sentence):
    expected = []
    for row in drawn.tolist():
        words = row[: row.index(END)] if END in row else row
        expected.append(repeated([word for word in words if word != sentence]))
    for measured in (repeated_trigrams, jax.jit(repeated_trigrams, static_argnames="sentence")):
        found = measured(drawn, sentence=sentence)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert 0 in expected
    assert max(expected) > 0.7


def test_a_sentence_end_is_a_word_only_where_nobody_says_what_it_is():
    said = np.array([[5, 6, 2, 7, 5, 6, 2, 7, 0], [5, 6, 7, 2, 5, 2, 6, 7, 0]], np.int32)
    # 5 6 2, 6 2 7 come twice; without the ends 5 6 7 comes twice in both.
    np.testing.assert_allclose(repeated_trigrams(said), [2 / 6, 0])
    np.testing.assert_allclose(repeated_trigrams(said, sentence=SENTENCE), [1 / 4, 1 / 4])


@pytest.fixture(scope="module")
def paragraphs():
    """Paragraphs of none to five sentences, some of which are equal."""
    rng = np.random.default_rng(1)
    made = []
    for n, number in enumerate((0, 1, 2, 5, 2, 5, 5, 2, 5)):
        words = [f"w{k}" for k in range(rng.integers(2, 12))]
        said = [" ".join(rng.choice(words, rng.integers(1, 8))) for _ in range(number)]
        if number == 5 and n > 4:
            said[4] = said[0]
        made.append(said)
    return made


def test_sentences_are_compared_as_the_captions_of_an_image_are(paragraphs):
    sentences, words = encode(paragraphs)
    table = ngram_table(sentences)
    found = between_sentences(sentences, table)
    traced = jax.jit(between_sentences)(sentences, table)
    for i, said in enumerate(paragraphs):
        if len(said) < 2:
            assert np.isnan(found["mbleu4"][i])
            assert np.isnan(found["self_cider"][i])
            continue
        alone = diversity(encode([said], words, max_len=sentences.shape[-1])[0], table)
        assert found["mbleu4"][i] == pytest.approx(alone["mbleu4_sent"][0], abs=1e-6)
        assert found["self_cider"][i] == pytest.approx(alone["self_cider"][0], abs=1e-5)
        assert traced["self_cider"][i] == pytest.approx(alone["self_cider"][0], abs=1e-3)


def test_a_sentence_said_again_and_again_is_no_diversity():
    sentences, _ = encode(
        [["the sky is blue"] * 3, ["a red dog runs", "two cats lie down", "the bus is full"]]
    )
    found = between_sentences(sentences, ngram_table(sentences))
    np.testing.assert_allclose(found["self_cider"], [0, 1], atol=1e-6)
    np.testing.assert_allclose(found["mbleu4"], [1, 0], atol=1e-2)


@pytest.mark.parametrize("wrong", [np.zeros(3, np.int32), np.zeros((2, 3), np.float32)])
def test_other_arrays_are_refused(wrong):
    with pytest.raises(ValueError, match="captions must be int32"):
        repeated_trigrams(wrong)
    with pytest.raises(ValueError, match="sentences must be int32"):
        between_sentences(wrong, ngram_table(np.ones((1, 1, 1), np.int32)))
