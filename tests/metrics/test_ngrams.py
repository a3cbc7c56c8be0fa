"""Document frequencies are those of a plain count, for every n-gram that there is."""

from collections import Counter

import jax
import numpy as np
import pytest

from capjax.errors import InputError
from capjax.metrics import NgramTable, ngram_table
from capjax.metrics.ngrams import ngram_idf


def sentences(references):
    """The words of each image's references, with their ends where they have one."""
    images = []
    for rows in references.tolist():
        images.append([])
        for row in rows:
            if row[0] >= 0:
                images[-1].append(row[: row.index(0) + 1] if 0 in row else row)
    return images


def counted(references):
    """{n-gram: how many images hold it}."""
    frequency = Counter()
    for rows in sentences(references):
        held = set()
        for row in rows:
            for n in range(1, 5):
                held |= {tuple(row[i : i + n]) for i in range(len(row) - n + 1)}
        frequency.update(held)
    return frequency


def looked_up(table, rows):
    """{n-gram of rows: its idf by the table}."""
    longest = max(map(len, rows))
    tokens = np.full((len(rows), longest), -1, np.int32)
    for row, words in zip(tokens, rows, strict=True):
        row[: len(words)] = words
    weights = np.asarray(jax.jit(ngram_idf)(table, tokens))
    return {
        tuple(row[i - n : i + 1]): weights[n, r, i]
        for r, row in enumerate(rows)
        for i in range(len(row))
        for n in range(min(4, i + 1))
    }


@pytest.fixture(scope="module")
def references():
    """Zipf's law, ragged, with captions that are empty, that fill all places, or are not there."""
    rng = np.random.default_rng(0)
    words = np.minimum(rng.zipf(1.4, (400, 4, 12)) + 1, 5000)
    lengths = rng.integers(0, 13, (400, 4, 1))
    words = np.where(np.arange(12) < lengths, words, 0)
    words[rng.random((400, 4)) < 0.2] = -1
    words[0] = -1  # an image without references still counts as one
    return words.astype(np.int32)


def test_idf_is_that_of_a_plain_count(references):
    table = ngram_table(references)
    frequency = counted(references)
    found = looked_up(table, [row for rows in sentences(references) for row in rows])
    assert found.keys() == frequency.keys()
    assert {len(g) for g, df in frequency.items() if df > 1} == {1, 2, 3, 4}
    for gram, idf in found.items():
        assert idf == pytest.approx(np.log(400 / frequency[gram]), abs=1e-6)


def test_unseen_ngrams_weigh_as_those_of_one_image(references):
    """Words never seen, words seen whose order is not, and an n-gram right after an unseen word."""
    table = ngram_table(references)
    frequency = counted(references)
    rng = np.random.default_rng(1)
    rows = rng.choice([2, 3, 4, 5, 9, 77, 6001, 2**31 - 1], (50, 12)).tolist()
    for gram, idf in looked_up(table, rows).items():
        assert idf == pytest.approx(np.log(400 / max(1, frequency[gram])), abs=1e-6)


@pytest.mark.parametrize("images", [1, 2, 7])
def test_what_all_images_hold_weighs_nothing(images):
    references = np.tile(np.array([5, 6, 5, 6, 0], np.int32), (images, 1, 1))
    for idf in looked_up(ngram_table(references), [[5, 6, 5, 6, 0]]).values():
        assert idf == 0


def test_real_captions_fill_the_table_without_loss(flickr):
    """All n-grams of 5,000 images: every one is found again, at every load of the table."""
    table = ngram_table(flickr.references)
    frequency = counted(flickr.references)
    rows = [row for rows in sentences(flickr.references) for row in rows]
    for gram, idf in looked_up(table, rows).items():
        assert abs(idf - np.log(5000 / frequency[gram])) < 1e-6
    for n, prefix in enumerate(table.prefix):
        common = sum(len(g) == n + 1 and df > 1 for g, df in frequency.items())
        assert (np.asarray(prefix) >= 0).sum() == common


def test_the_same_references_give_the_same_table_in_any_order(references):
    table = ngram_table(references)
    again = ngram_table(references[::-1, ::-1])
    for one, other in zip(jax.tree.leaves(table), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_table_saved_and_loaded_is_the_same(references, tmp_path):
    table = ngram_table(references)
    table.save(tmp_path / "frequencies")  # the name is taken as it is
    loaded = NgramTable.load(tmp_path / "frequencies")
    assert jax.tree.structure(loaded) == jax.tree.structure(table)
    for one, other in zip(jax.tree.leaves(table), jax.tree.leaves(loaded), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert [x.name for x in tmp_path.iterdir()] == ["frequencies"]


def test_a_damaged_or_foreign_file_is_refused(references, tmp_path):
    path = tmp_path / "table.npz"
    ngram_table(references).save(path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    for content in (b"", b"no table", whole[:middle], whole[:-1], flipped):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"table\.npz"):
            NgramTable.load(path)
    np.savez(path, prefix=np.zeros(3))
    with pytest.raises(InputError, match="is not an n-gram table"):
        NgramTable.load(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InputError, match="is not an n-gram table"):
        NgramTable.load(path)
    table = ngram_table(references)
    table._replace(token=tuple(x[:-1] for x in table.token)).save(path)
    with pytest.raises(InputError, match="is not an n-gram table"):
        NgramTable.load(path)
    with pytest.raises(InputError, match="there is no n-gram table at"):
        NgramTable.load(tmp_path / "missing.npz")


@pytest.mark.parametrize(
    "references",
    [
        np.zeros((2, 3), np.int32),
        np.full((2, 3, 4), 2**33, np.int64),
        np.zeros((2, 3, 4), np.float32),
        np.zeros((0, 3, 4), np.int32),
        np.zeros((2, 3, 0), np.int32),
    ],
)
def test_other_arrays_are_refused(references):
    with pytest.raises(ValueError, match="references"):
        ngram_table(references)
