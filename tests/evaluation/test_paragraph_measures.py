"""Measures of paragraphs as text: counted by hand, and the same as on ids."""

import numpy as np
import pytest

import capjax
from capjax.comparison.measures import measure as known_of
from capjax.data.sentences import sentences
from capjax.evaluation.paragraph_measures import repeated
from capjax.evaluation.text_measures import measure
from capjax.metrics import repeated_trigrams

PEOPLE = {
    1: ["A red circle is on the left. Two squares are beside it.", "It is grey. A red circle."],
    2: ["A dog runs. The dog is brown! Is it wet?", "A brown dog. It runs."],
    3: ["Mr. Smith holds a 2.5 inch fish.", "A man and a fish. The fish is big."],
}
SAID = {
    1: ["a red circle. a red circle. two squares on the left."],
    2: ["a brown dog runs"],
    3: ["a red circle. it is wet. fish"],
}


@pytest.fixture(autouse=True)
def no_java(monkeypatch):
    monkeypatch.setenv("PATH", "")


def test_what_is_measured_of_paragraphs_is_what_one_counts():
    found = measure(SAID, PEOPLE, paragraphs=True)
    scores = found.scores
    assert scores["mean_sentences"] == pytest.approx((3 + 1 + 3) / 3)
    assert scores["mean_length"] == pytest.approx((11 + 4 + 7) / 3)
    # Of seven five are different: one comes twice in image 1, and in image 3 again.
    assert scores["distinct_sentences_per_1000"] == pytest.approx(1000 * 5 / 7)
    # "a red circle a red circle two ...": the fourth of nine trigrams came before.
    expected = [1 / 9, 0, 0]
    assert [row["repeated_trigrams"] for row in found.rows] == pytest.approx(expected)
    assert scores["repeated_trigrams"] == pytest.approx(np.mean(expected))
    # One sentence is like no other.
    assert found.rows[1]["sentence_mbleu4"] is found.rows[1]["sentence_self_cider"] is None
    alike = [found.rows[n]["sentence_self_cider"] for n in (0, 2)]
    assert scores["sentence_self_cider"] == pytest.approx(np.mean(alike))
    assert 0 < alike[0] < alike[1] <= 1


def test_several_paragraphs_of_an_image_are_measured_one_by_one():
    several = {i: [*texts, PEOPLE[i][0]] for i, texts in SAID.items()}
    both = measure(several, PEOPLE, paragraphs=True)
    parts = [
        measure({i: [t[n]] for i, t in several.items()}, PEOPLE, paragraphs=True) for n in (0, 1)
    ]
    for name in ("mean_sentences", "distinct_sentences_per_1000", "repeated_trigrams"):
        assert both.scores[name] == pytest.approx(np.mean([one.scores[name] for one in parts]))
    for n, one in enumerate(parts):
        for name in ("repeated_trigrams", "sentence_mbleu4", "sentence_self_cider"):
            for row, mine in zip(both.rows, one.rows, strict=True):
                assert row[name][n] == (None if mine[name] is None else pytest.approx(mine[name]))


def test_of_captions_nothing_else_is_measured():
    flat, paragraphs = (measure(SAID, PEOPLE, paragraphs=yes) for yes in (False, True))
    more = paragraphs.scores.keys() - flat.scores.keys()
    assert more == {
        *("mean_sentences", "repeated_trigrams", "distinct_sentences_per_1000"),
        *("sentence_mbleu4", "sentence_self_cider"),
    }
    assert {name: x for name, x in paragraphs.scores.items() if name not in more} == flat.scores
    assert all(known_of(name).mend for name in more)  # compare knows what lacks them


def test_where_no_paragraph_has_two_sentences_it_is_said():
    scores = measure({i: ["a dog"] for i in PEOPLE}, PEOPLE, paragraphs=True).scores
    for name in ("sentence_mbleu4", "sentence_self_cider"):
        assert scores[name] is None
        assert scores["unavailable"][name] == "no paragraph has two sentences"
    nothing = measure({i: [""] for i in PEOPLE}, PEOPLE, paragraphs=True).scores
    assert nothing["mean_sentences"] == nothing["repeated_trigrams"] == 0
    assert nothing["distinct_sentences_per_1000"] == 0


def test_trigrams_of_a_text_are_those_of_its_ids():
    rng = np.random.default_rng(0)
    words = capjax.Vocabulary.build([" ".join("abcdef")], 1, sentences=True)
    ids = np.where(np.arange(30) < rng.integers(0, 31, (50, 1)), rng.integers(2, 6, (50, 30)), 0)
    on_ids = repeated_trigrams(ids.astype(np.int32), sentence=capjax.SENTENCE)
    texts = [words.decode(row) for row in ids]
    of_text = [repeated([w for s in sentences(t) for w in s.rstrip(".").split()]) for t in texts]
    np.testing.assert_allclose(of_text, on_ids, rtol=1e-6)
    assert max(of_text) > 0.3
