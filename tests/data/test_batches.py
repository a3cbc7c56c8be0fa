"""Batches depend on the seed and the step alone, and every row comes once an epoch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.data.batches import caption_arrays, gather, rows_by_image, rows_of, rows_with_others
from capjax.data.split import Split
from capjax.data.vocabulary import Vocabulary


def run_of_rows(count: int, batch: int, seed: int, epochs: int) -> np.ndarray:
    """The first rows of a run, batches one after another, as [epochs, count]."""
    steps = -(-epochs * count // batch)
    rows = np.concatenate([rows_of(count, batch, seed, step) for step in range(steps)])
    return rows[: epochs * count].reshape(epochs, count)


# Batches that divide the epoch, that do not, that are it, that hold it once and many times.
@pytest.mark.parametrize(("count", "batch"), [(12, 4), (10, 4), (7, 7), (5, 8), (3, 10), (1, 6)])
def test_every_row_comes_once_an_epoch(count, batch):
    for epoch in run_of_rows(count, batch, 3, 6):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(count))


def test_every_epoch_and_every_seed_has_its_own_order():
    orders = [*run_of_rows(50, 8, 0, 5), *run_of_rows(50, 8, 1, 5)]
    assert len({tuple(order) for order in orders}) == 10


def test_a_batch_is_a_pure_function_of_its_arguments():
    first = [rows_of(30, 7, 5, step) for step in range(12)]
    for step in reversed(range(12)):  # in another order, other epochs between
        rows_of(31, 7, 5, step)
        np.testing.assert_array_equal(rows_of(30, 7, 5, step), first[step])
    assert first[0].dtype == np.int32


def test_a_batch_of_images_has_each_images_own_captions_all_different_where_they_last():
    counts = np.array([5, 1, 3, 7, 4])
    of = np.repeat(np.arange(5), counts)
    drawn = np.concatenate([rows_by_image(of, 2, 3, 9, step) for step in range(5)])
    images = of[drawn]
    assert (images == images[:, :1]).all()
    np.testing.assert_array_equal(np.sort(images[:5, 0]), np.arange(5))  # every image once
    for row, image in zip(drawn, images[:, 0], strict=True):
        assert len(set(row)) == min(3, counts[image])
    np.testing.assert_array_equal(rows_by_image(of, 2, 3, 9, 4), drawn[8:])
    data = {"image": jnp.arange(5), "of": jnp.asarray(of), "caption": jnp.asarray(of)[:, None]}
    batch = gather(data, jnp.asarray(drawn))
    assert (batch["caption"][:, :, 0] == batch["image"][:, None]).all()


def test_gather_gives_each_caption_its_own_image():
    captions = (("zero",), ("one", "one one"), ("two", "two two", "two two two"))
    split = Split(("a", "b", "c"), captions, image=lambda i: np.zeros((2, 2, 3), np.uint8))
    images = np.arange(3, dtype=np.float32)[:, None] * np.ones(4, np.float32)
    vocabulary = Vocabulary.build([text for texts in captions for text in texts], 1)
    data = caption_arrays(split, images, vocabulary, 3)
    names = np.array(["zero", "one", "two"])
    for seed in range(5):
        batch = jax.jit(gather)(data, jnp.asarray(rows_of(6, 4, seed, seed)))
        for image, words in zip(batch["image"], batch["caption"], strict=True):
            assert set(vocabulary.decode(words).split()) == {names[int(image[0])]}
    whole = gather(data, jnp.arange(6))
    assert [vocabulary.decode(words) for words in whole["caption"]] == [
        text for texts in captions for text in texts
    ]


@pytest.mark.parametrize("others", [1, 5])
def test_mismatched_captions_are_of_other_images_each_as_likely(others):
    of = np.repeat(np.arange(4), [1, 2, 3, 1])
    batches = [rows_with_others(of, 7, 1, 0, step, others)[:, 0] for step in range(2000)]
    for batch in batches[:3]:
        assert sorted(batch[:, 0]) == list(range(7))  # an epoch is every caption once
    own, beside = (of[x] for x in (np.stack(batches)[..., 0], np.stack(batches)[..., 1:]))
    assert (beside != own[..., None]).all()
    for image in range(4):
        drawn = beside[own == image].ravel()
        share = np.bincount(drawn, minlength=4) / drawn.size
        # Five standard errors of a share of a third.
        bound = 5 * np.sqrt(1 / 3 * 2 / 3 / drawn.size)
        np.testing.assert_allclose(np.delete(share, image), 1 / 3, atol=bound)


def test_mined_captions_are_of_the_nearest_images_alone():
    of = np.repeat(np.arange(4), [1, 2, 3, 1])
    near = np.array([[1, 2], [0, 3], [3, 1], [2, 0]])
    rows = np.stack([rows_with_others(of, 7, 1, 0, step, 3, near)[:, 0] for step in range(300)])
    own, beside = of[rows[..., 0]], of[rows[..., 1:]]
    for image in range(4):
        drawn = beside[own == image]
        assert set(drawn.ravel()) == set(near[image])
        bound = 5 * np.sqrt(1 / 4 / drawn.size)
        assert abs((drawn == near[image][0]).mean() - 0.5) < bound
    picked = rows[..., 1:][beside == 2]
    assert set(picked) == {3, 4, 5}  # each of an image's captions
