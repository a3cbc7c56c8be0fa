"""Words survive the way through ids and back."""

import time

import numpy as np
import pytest

from capjax.data import Vocabulary
from capjax.errors import InputError

CAPTIONS = ["a dog runs", "a dog's dog", "a cat .", "the cat", "Zebra zebra <unk> <unk> <unk>"]


def test_ids_go_by_count_then_alphabet():
    vocabulary = Vocabulary.build(CAPTIONS, min_count=1)
    assert vocabulary.words == ("", "<unk>", "a", "dog", "cat", "zebra", "'s", "runs", "the")
    assert len(vocabulary) == 9
    assert len(Vocabulary.build(CAPTIONS, min_count=2)) == 6
    assert Vocabulary.build(iter(reversed(CAPTIONS)), min_count=1) == vocabulary


def test_a_caption_is_words_then_the_end_where_there_is_room():
    vocabulary = Vocabulary.build(CAPTIONS, min_count=2)
    for text, length, ids in [
        ("A dog.", 4, [2, 3, 0, 0]),
        ("a dog", 2, [2, 3]),
        ("a dog a cat", 3, [2, 3, 2]),
        ("the dog", 3, [1, 3, 0]),
        ("<unk> dog", 3, [1, 3, 0]),
        ("", 3, [0, 0, 0]),
        (" ... ", 1, [0]),
    ]:
        encoded = vocabulary.encode(text, length)
        assert encoded.dtype == np.int32
        np.testing.assert_array_equal(encoded, ids)
    rows = vocabulary.encode_all(CAPTIONS, 3)
    assert rows.shape == (5, 3)
    for row, text in zip(rows, CAPTIONS, strict=True):
        np.testing.assert_array_equal(row, vocabulary.encode(text, 3))
    assert vocabulary.encode_all([], 3).shape == (0, 3)


def test_decoding_stops_at_the_end_and_undoes_encoding():
    vocabulary = Vocabulary.build(CAPTIONS, min_count=1)
    assert vocabulary.decode([2, 3, 0, 4]) == "a dog"
    assert vocabulary.decode(np.array([1, 3], np.int32)) == "<unk> dog"
    assert vocabulary.decode([]) == ""
    rng = np.random.default_rng(0)
    for _ in range(200):
        ids = np.append(rng.integers(1, len(vocabulary), rng.integers(0, 8)), 0)
        np.testing.assert_array_equal(vocabulary.encode(vocabulary.decode(ids), len(ids)), ids)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    vocabulary = Vocabulary.build([*CAPTIONS, 'caf\u00e9 (\u00bd) "quoted" o\'clock'], min_count=1)
    vocabulary.save(tmp_path / "vocabulary.json")
    assert Vocabulary.load(tmp_path / "vocabulary.json") == vocabulary
    assert Vocabulary.load(str(tmp_path / "vocabulary.json")).ids == vocabulary.ids


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "not a vocabulary"),
        (b'{"words": [1]}', "not a vocabulary"),
        (b'{"words": ["a", "b", "a"]}', '"a" is in the vocabulary twice'),
        (b'{"words": ["a", "b c"]}', '"b c"'),
        (b'{"words": [""]}', '""'),
        (b'{"words": ["<unk>"]}', '"<unk>"'),
        (None, "No such file"),
    ],
)
def test_a_file_that_is_no_vocabulary(tmp_path, text, said):
    path = tmp_path / "vocabulary.json"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(InputError) as error:
        Vocabulary.load(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_bad_arguments():
    vocabulary = Vocabulary.build(CAPTIONS, min_count=1)
    for call, said in [
        (lambda: Vocabulary.build(CAPTIONS), "no word comes min_count = 5 times in the 5 captions"),
        (lambda: Vocabulary.build("a dog", 1), "not one caption"),
        (lambda: Vocabulary.build(CAPTIONS, 0), "min_count is 0"),
        (lambda: vocabulary.encode("a", 0), "max_len is 0"),
        (lambda: vocabulary.decode([2, 99]), "id 99"),
        (lambda: vocabulary.decode([-1]), "id -1"),
    ]:
        with pytest.raises(InputError, match=said):
            call()


def test_encoding_keeps_up_with_coco():
    """600,000 captions in about ten seconds: 60,000 in far less than ten, on a busy machine."""
    captions = [f"A man's dog runs on the grass near {n % 997} people ." for n in range(60_000)]
    vocabulary = Vocabulary.build(captions[:1000])
    begin = time.process_time()
    vocabulary.encode_all(captions, 20)
    assert time.process_time() - begin < 4
