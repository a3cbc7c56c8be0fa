"""Batches depend on the seed and the step alone, and every row comes once an epoch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.data.batches import (
    caption_arrays,
    gather,
    images_of,
    rows_beside_images,
    rows_by_image,
    rows_of,
    rows_with_others,
)
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
    batch = gather("captions", data, jnp.asarray(drawn))
    assert (batch["caption"][:, :, 0] == batch["image"][:, None]).all()


def test_gather_gives_each_caption_its_own_image():
    captions = (("zero",), ("one", "one one"), ("two", "two two", "two two two"))
    split = Split(("a", "b", "c"), captions, image=lambda i: np.zeros((2, 2, 3), np.uint8))
    images = np.arange(3, dtype=np.float32)[:, None] * np.ones(4, np.float32)
    vocabulary = Vocabulary.build([text for texts in captions for text in texts], 1)
    data = caption_arrays(split, vocabulary, 3) | {"image": jnp.asarray(images)}
    names = np.array(["zero", "one", "two"])
    for seed in range(5):
        batch = jax.jit(gather, static_argnums=0)(
            "captions", data, jnp.asarray(rows_of(6, 4, seed, seed))
        )
        for image, words in zip(batch["image"], batch["caption"], strict=True):
            assert set(vocabulary.decode(words).split()) == {names[int(image[0])]}
    whole = gather("captions", data, jnp.arange(6))
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


OF = np.repeat(np.arange(5), [1, 2, 3, 1, 4])
NEAR = np.array([[1, 2], [0, 3], [3, 1], [2, 0]])


@pytest.mark.parametrize("among", [None, np.array([0, 1, 2, 4])])
def test_images_come_once_an_epoch_with_a_caption_of_theirs_and_images_like_them(among):
    count = 5 if among is None else 4
    near = (np.arange(count)[:, None] + [1, 2]) % count if among is None else NEAR
    options = {"among": among, "near": near, "distractors": 3}
    rows = [rows_beside_images(OF, count, 0, step, **options) for step in range(200)]
    names = np.arange(5) if among is None else among
    seen = set()
    for batch in rows:
        images = OF[batch[:, 0]]
        assert sorted(images) == sorted(names)
        for image, beside in zip(images, batch[:, 1:], strict=True):
            place = list(names).index(image)
            assert set(beside) <= set(names[near[place]])
        seen |= set(batch[:, 0])
    assert seen == set(np.flatnonzero(np.isin(OF, names)))  # each caption has its turn


@pytest.mark.parametrize("kind", ["captions", "several", "units", "others", "beside", "alone"])
def test_images_read_from_the_disk_are_those_kept_on_the_device(kind):
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(5, 3)).astype(np.float16)
    data = {"caption": jnp.asarray(rng.integers(0, 9, (11, 4)), jnp.int32), "of": jnp.asarray(OF)}
    rows = {
        "captions": rows_of(11, 4, 0, 1),
        "several": rows_by_image(OF, 4, 2, 0, 1),
        "units": rows_with_others(OF, 4, 2, 0, 1),
        "others": rows_with_others(OF, 4, 1, 0, 1, 3)[:, 0],
        "beside": rows_beside_images(OF, 4, 0, 1, near=np.eye(5, k=1, dtype=int), distractors=2),
        "alone": rows_beside_images(OF, 4, 0, 1),
    }[kind]
    kind = {"several": "captions", "alone": "beside"}.get(kind, kind)
    resident = gather(kind, data | {"image": jnp.asarray(pictures)}, jnp.asarray(rows))
    taken = {name: pictures[index] for name, index in images_of(kind, OF, rows).items()}
    streamed = gather(kind, data | {"taken": taken}, jnp.asarray(rows))
    assert resident.keys() == streamed.keys()
    for name, x in resident.items():
        np.testing.assert_array_equal(x, streamed[name])
    np.testing.assert_array_equal(
        resident["image"],
        pictures[OF[rows.reshape(4, -1)[:, 0]]] if kind != "units" else pictures[OF[rows[..., 0]]],
    )
