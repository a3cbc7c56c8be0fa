"""Ids keep words apart and lose no caption."""

import numpy as np
import pytest

from capjax.metrics import encode

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
        ([["a"]], {"a": -1}, "negative"),
    ],
)
def test_what_is_no_caption_is_refused(captions, words, said):
    with pytest.raises(ValueError, match=said):
        encode(captions, words)
