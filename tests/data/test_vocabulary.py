"""Words survive the way through ids and back."""

import time

import jax.numpy as jnp
import numpy as np
import pytest

from capjax.data import Vocabulary, tokenize
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


@pytest.mark.parametrize(
    "caption",
    [
        "एक आदमी घोड़े पर सवार है",
        "একটি মানুষ ঘোড়ায় চড়ছে",
        "ஒரு மனிதன் குதிரை சவாரி செய்கிறான்",
        "رَجُلٌ يَرْكَبُ حِصَانًا",
        "un cafe\u0301 a\u0300 co\u0302te\u0301",
        "ผู้ชาย คนหนึ่ง ขี่ม้า",
    ],
)
def test_words_with_marks_are_learnt_whole_and_spoken_as_they_are_written(caption):
    vocabulary = Vocabulary.build([caption], min_count=1)
    assert set(vocabulary.words[2:]) == set(caption.split())
    assert vocabulary.decode(vocabulary.encode(caption, 12)) == caption


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
        (b"[" * 100_000, "not JSON"),
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


A_DOG = Vocabulary.build(["a dog"], min_count=1)  # ids 2 and 3


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Vocabulary.build(CAPTIONS), "no word comes min_count = 5 times in the 5 captions"),
        (lambda: Vocabulary.build("a dog", 1), "not one caption, 'a dog'"),
        (lambda: Vocabulary.build(b"a dog", 1), "not b'a dog'"),
        (lambda: Vocabulary.build(None, 1), "not None"),
        (lambda: Vocabulary.build({"1.jpg": ["a dog"]}, 1), "not {'1.jpg'"),
        (lambda: Vocabulary.build(["a", b"dog"], 1), "caption 1 is b'dog'"),
        (lambda: Vocabulary.build([["a dog"]], 1), "caption 0 is ['a dog']"),
        (lambda: Vocabulary.build(CAPTIONS, 0), "min_count is 0"),
        (lambda: Vocabulary.build(CAPTIONS, 1.5), "min_count is 1.5"),
        (lambda: Vocabulary.build(CAPTIONS, True), "min_count is True"),
        (lambda: Vocabulary.build(CAPTIONS, float("nan")), "min_count is nan"),
        (lambda: Vocabulary(["", "<unk>", "a"]), "a tuple"),
        (lambda: Vocabulary(("", "<unk>", "a", "b c")), "'b c'"),
        (lambda: Vocabulary(("", "<unk>", 5)), "holds 5"),
        (lambda: A_DOG.encode("a", 0), "max_len is 0"),
        (lambda: A_DOG.encode("a", True), "max_len is True"),
        (lambda: A_DOG.encode("a", 2.0), "max_len is 2.0"),
        (lambda: A_DOG.encode(["a", "dog"], 5), "not ['a', 'dog']"),
        (lambda: A_DOG.encode(b"a dog", 5), "not b'a dog'"),
        (lambda: A_DOG.encode(None, 5), "not None"),
        (lambda: A_DOG.encode_all("a dog", 5), "not one caption, 'a dog'"),
        (lambda: A_DOG.encode_all({"1.jpg": "a dog"}, 5), "not {'1.jpg'"),
        (lambda: A_DOG.encode_all({"a dog", "a"}, 5), "not a set"),
        (lambda: A_DOG.encode_all([["a dog"]], 5), "caption 0 is ['a dog']"),
        (lambda: A_DOG.encode_all(["a", None], 5), "caption 1 is None"),
        (lambda: A_DOG.decode([2, 99]), "id 99"),
        (lambda: A_DOG.decode([-1]), "id -1"),
        (lambda: A_DOG.decode(np.array([[2, 0], [3, 0]])), "shape (2, 2)"),
        (lambda: A_DOG.decode(np.array([[2, 0]])), "shape (1, 2)"),
        (lambda: A_DOG.decode([[2, 3], [2]]), "not [[2, 3], [2]]"),
        (lambda: A_DOG.decode(np.int32(2)), "one caption"),
        (lambda: A_DOG.decode(None), "not None"),
        (lambda: A_DOG.decode("a dog"), "not 'a dog'"),
        (lambda: A_DOG.decode([2.0, 3.0]), "integers, not [2.0, 3.0]"),
        (lambda: A_DOG.decode(["2", "3"]), "integers, not ['2', '3']"),
        (lambda: A_DOG.decode([2, float("nan")]), "integers"),
        (lambda: A_DOG.decode([2**70]), "integers"),
        (lambda: A_DOG.decode([2, True]), "True"),
        (lambda: A_DOG.decode(np.array([True, False])), "True"),
        (lambda: tokenize(None), "NoneType"),
        (lambda: tokenize(b"a dog"), "bytes"),
        (lambda: tokenize(["a dog"]), "list"),
    ],
)
def test_what_is_no_caption_is_refused_in_one_sentence(call, said):
    with pytest.raises(InputError) as error:
        call()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_any_list_of_texts_and_any_row_of_integers_is_taken():
    rows = [[2, 3, 0], [2, 0, 0]]
    for captions in (
        ["a dog", "a"],
        ("a dog", "a"),
        np.array(["a dog", "a"]),
        iter(["a dog", "a"]),
    ):
        np.testing.assert_array_equal(A_DOG.encode_all(captions, np.int64(3)), rows)
    for ids in ((2, 3, 0), range(2, 4), np.array([2, 3, 0], np.uint8), jnp.array([2, 3, 0])):
        assert A_DOG.decode(ids) == "a dog"


def test_a_vocabulary_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="cannot write the vocabulary"):
        A_DOG.save(tmp_path / "no" / "vocabulary.json")


def test_encoding_keeps_up_with_coco():
    """600,000 captions in about ten seconds: 60,000 in far less than ten, on a busy machine."""
    captions = [f"A man's dog runs on the grass near {n % 997} people ." for n in range(60_000)]
    vocabulary = Vocabulary.build(captions[:1000])
    begin = time.process_time()
    vocabulary.encode_all(captions, 20)
    assert time.process_time() - begin < 4
