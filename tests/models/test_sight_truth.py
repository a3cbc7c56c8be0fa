"""How far eyes are from the truth: by hand, and in the limit of what is certain and true."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.data import scenes
from capjax.data.scenes.sight import CELLS, OBJECTS, seen
from capjax.models.eyes import KINDS, Sight
from capjax.models.sight_truth import sight_loss, sights_right

SURE = 40.0  # of a logit beside zeros: e^-40 is left for all else


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    """Of scenes with each number of objects."""
    drawn = [scenes.random_scene(np.random.default_rng([12, i])) for i in range(30)]
    return dict(seen(drawn))


def sight_of(truth: dict[str, np.ndarray], sure: float = SURE) -> Sight:
    """What eyes would tell who see it all, and are that sure."""

    def chosen(index, width):
        return jax.nn.log_softmax(sure * jax.nn.one_hot(index, width))

    kinds = (chosen(truth["attributes"][..., i], width) for i, width in enumerate(KINDS))
    cell, place = chosen(truth["cell"], CELLS + 1), jnp.asarray(truth["place"])
    return Sight(cell, tuple(kinds), place, chosen(truth["background"], 4))


def any_sight(key: jax.Array, count: int) -> Sight:
    """Of eyes that see nothing of it."""

    def drawn(i, *shape):
        return jax.random.normal(jax.random.fold_in(key, i), (count, *shape))

    kinds = (jax.nn.log_softmax(drawn(i, OBJECTS, width)) for i, width in enumerate(KINDS))
    cell = jax.nn.log_softmax(drawn(10, OBJECTS, CELLS + 1))
    return Sight(cell, tuple(kinds), drawn(11, OBJECTS, 2), jax.nn.log_softmax(drawn(12, 4)))


def by_hand(sight: Sight, truth: dict[str, np.ndarray], row: int) -> float:
    """The sum as it is told: all of each object, then that there is no more, then the ground."""
    total = -float(sight.background[row, truth["background"][row]])
    for slot in range(OBJECTS):
        cell = truth["cell"][row, slot]
        total -= float(sight.cell[row, slot, cell])
        if cell == CELLS:
            break
        for kind, value in zip(sight.attributes, truth["attributes"][row, slot], strict=True):
            total -= float(kind[row, slot, value])
        total += float(np.abs(sight.place[row, slot] - truth["place"][row, slot]).sum())
    return total


losses = jax.jit(jax.vmap(sight_loss))
rights = jax.jit(sights_right)


def test_the_loss_is_the_plain_sum(truth, key):
    sight = any_sight(key, len(truth["cell"]))
    expected = [by_hand(sight, truth, row) for row in range(len(truth["cell"]))]
    np.testing.assert_allclose(losses(sight, truth), expected, rtol=1e-5)


def test_the_loss_vanishes_as_the_truth_is_told_with_certainty(truth):
    np.testing.assert_allclose(losses(sight_of(truth), truth), 0, atol=1e-5)
    less, more = (float(losses(sight_of(truth, sure), truth).mean()) for sure in (2.0, 4.0))
    assert less > more > 1e-3
    # As unsure as can be: the logarithms of how many answers there are.
    count = (truth["cell"] < CELLS).sum(1)
    said = np.minimum(count + 1, OBJECTS)
    expected = said * np.log(CELLS + 1) + count * np.log(KINDS).sum() + np.log(4)
    np.testing.assert_allclose(losses(sight_of(truth, 0.0), truth), expected, rtol=1e-5)


def test_all_is_right_of_what_is_told_as_it_is(truth):
    right = rights(sight_of(truth), truth)
    objects = (truth["cell"] < CELLS).sum(1)
    np.testing.assert_array_equal(right["attributes"], np.stack([objects] * len(KINDS)))
    for name in ("number", "background", "main", "all"):
        assert right[name].all()


@pytest.mark.parametrize("slot", range(OBJECTS))
@pytest.mark.parametrize("attribute", range(len(KINDS)))
def test_one_attribute_of_one_object_told_wrong_is_not_all_right(truth, attribute, slot):
    wrong = {name: x.copy() for name, x in truth.items()}
    values = wrong["attributes"][:, slot, attribute]
    wrong["attributes"][:, slot, attribute] = (values + 1) % KINDS[attribute]
    right = rights(sight_of(wrong), truth)
    there = truth["cell"][:, slot] < CELLS  # else it is of no object
    assert there.any()
    np.testing.assert_array_equal(right["all"], ~there)
    np.testing.assert_array_equal(right["main"], ~there if slot == 0 else np.ones_like(there))
    lost = np.zeros((len(KINDS), len(there)), int)
    lost[attribute] = there
    objects = (truth["cell"] < CELLS).sum(1)
    np.testing.assert_array_equal(right["attributes"], objects[None] - lost)
    assert right["number"].all()
    assert right["background"].all()


def test_one_object_too_many_or_too_few_is_told(truth):
    count = (truth["cell"] < CELLS).sum(1)
    more, fewer = (dict(truth) | {"cell": truth["cell"].copy()} for _ in range(2))
    for row, objects in enumerate(count):
        more["cell"][row, objects:][:1] = 0  # four cannot be one more
        fewer["cell"][row, objects - 1] = CELLS
    for told, right_rows in ((more, count == OBJECTS), (fewer, np.zeros_like(count, bool))):
        right = rights(sight_of(told), truth)
        np.testing.assert_array_equal(right["number"], right_rows)
        np.testing.assert_array_equal(right["all"], right_rows)
        assert right["main"].all()
    other = dict(truth) | {"background": (truth["background"] + 1) % 4}
    right = rights(sight_of(other), truth)
    assert not right["background"].any()
    assert right["all"].all()  # of objects
