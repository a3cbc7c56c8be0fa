"""Ids keep words apart and lose no caption."""

import jax
import numpy as np
import pytest

from capjax.metrics import (
    bleu,
    cider_d,
    consensus,
    corpus_bleu,
    diversity,
    encode,
    ngram_table,
    novel,
    pack_references,
    rouge_l,
    self_cider_kernel,
)
from capjax.metrics.ids import without

CAPTIONS = [["a dog runs", "dog"], ["a cat", "", "a  dog\truns fast"]]


def read(ids, words):
    """Ids back to texts."""
    word = {i: w for w, i in words.items()}
    return [
        [" ".join(word[int(i)] for i in row if i > 0) for row in rows if row[0] >= 0]
        for rows in ids
    ]


def test_ids_read_back_are_the_captions():
    ids, words = encode(CAPTIONS)
    assert ids.dtype == np.int32
    assert ids.shape == (2, 3, 5)  # room for an end after the longest
    assert read(ids, words) == [["a dog runs", "dog"], ["a cat", "", "a dog runs fast"]]
    assert (ids[0, 2] == -1).all()  # no third caption
    assert (ids[1, 1] == 0).all()  # a caption of no words


def test_a_word_is_left_out_and_those_after_it_move_up(key):
    """Against a loop; what was cut stays without an end."""
    captions = np.array(jax.random.randint(key, (5, 40, 7), 0, 4))
    captions[:, 20:] = np.maximum(captions[:, 20:], 2)
    captions[0, :2] = 2
    got = np.asarray(without(captions, 2)).reshape(-1, 7)
    for row, caption in zip(got.tolist(), captions.reshape(-1, 7).tolist(), strict=True):
        left = [word for word in caption if word != 2]
        assert row == left + [0 if 0 in caption else -1] * (7 - len(left))


def test_words_known_keep_their_ids_and_others_get_new_ones():
    known = {"": 0, "<unk>": 1, "dog": 2, "a": 7}
    ids, words = encode(CAPTIONS, known)
    assert known == {"": 0, "<unk>": 1, "dog": 2, "a": 7}
    assert words.items() >= known.items()
    assert len(set(words.values())) == len(words)
    new = {w: i for w, i in words.items() if w not in known}
    assert sorted(new.values()) == [8, 9, 10]
    assert read(ids, words)[0] == CAPTIONS[0]


def test_a_second_encoding_goes_on_where_the_first_ended():
    _, words = encode(CAPTIONS)
    ids, more = encode([["dog cow", "cow hen"]], words)
    assert ids[0, 0, 0] == words["dog"]
    assert ids[0, 0, 1] == ids[0, 1, 0] == more["cow"]
    assert min(more["cow"], more["hen"]) > max(words.values())


def test_max_len_cuts_and_pads():
    ids, words = encode(CAPTIONS, max_len=2)
    assert ids.shape == (2, 3, 2)
    assert read(ids, words) == [["a dog", "dog"], ["a cat", "", "a dog"]]
    assert encode([["a"]], max_len=9)[0].tolist() == [[[2] + [0] * 8]]


@pytest.mark.parametrize(
    ("captions", "words", "said"),
    [
        ("a dog", None, "not one text"),
        (["a dog"], None, "image 0"),
        ([["a"], [3]], None, "image 1"),
        ([["a"]], {"a": -1}, "has the id -"),
    ],
)
def test_what_is_no_caption_is_refused(captions, words, said):
    with pytest.raises(ValueError, match=said):
        encode(captions, words)


@pytest.mark.parametrize(
    "dtype",
    [
        np.int64,
        *(
            pytest.param(x, marks=pytest.mark.slow)
            for x in (np.uint8, np.uint16, np.uint32, np.int8, np.int16)
        ),
    ],
)
def test_ids_of_any_width_score_alike(dtype):
    """-1 stands for no word inside, which a type without a sign does not have."""
    references = np.array([[[2, 3, 4, 0, 0]], [[4, 5, 6, 2, 0]], [[2, 2, 3, 5, 0]]], np.int32)
    said = np.array([[2, 3, 4, 0, 0, 0], [4, 5, 0, 0, 0, 0], [2, 3, 0, 0, 0, 0]], np.int32)
    table = ngram_table(references)
    jax.tree.map(np.testing.assert_array_equal, ngram_table(references.astype(dtype)), table)
    several = np.stack([said, said[::-1]], 1)
    for measure in (
        lambda said, references: cider_d(said, references, table),
        bleu,
        corpus_bleu,
        rouge_l,
        lambda said, references: novel(said, references[:, 0]),
        lambda said, references: cider_d(said, pack_references(references, table), table),
    ):
        expected = measure(said, references)
        np.testing.assert_array_equal(measure(said.astype(dtype), references), expected)
        np.testing.assert_array_equal(measure(said, references.astype(dtype)), expected)
        if dtype is np.int64:
            for far in ((said + dtype(2**33), references), (said, references + dtype(2**33))):
                with pytest.raises(ValueError, match="beyond 32 bits"):
                    measure(*far)
    np.testing.assert_array_equal(
        self_cider_kernel(several.astype(dtype), table), self_cider_kernel(several, table)
    )
    np.testing.assert_array_equal(
        consensus(several.astype(dtype), table), consensus(several, table)
    )
    assert diversity(several.astype(dtype), table)["total"] == diversity(several, table)["total"]


@pytest.mark.parametrize(
    "words", [{"a": 0, "man": 1}, {"a": 2, "man": 2}, {"a": 2.5}, {"a": 2**40}, {"a": -1}, ["a"]]
)
def test_ids_that_are_none_are_refused(words):
    with pytest.raises(ValueError, match=r"id|give"):
        encode([["a man"]], words)
    assert encode([["a man"]], {"": 0, "<unk>": 1, "man": 2})[0].tolist() == [[[3, 2, 0]]]
