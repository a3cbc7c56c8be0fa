"""Eyes tell what is drawn: which object they look at, what their features say, how often right."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.data import scenes
from capjax.data.scenes.drawing import BACKGROUNDS, SIDE
from capjax.data.scenes.layout import CHOICES, by_prominence
from capjax.data.scenes.sight import CELL, CELLS, OBJECTS, UNIT, seen
from capjax.data.scenes.truth import placed, related
from capjax.models.evaluator import evaluator
from capjax.models.eyes import FEATURES, KINDS, LOUD, Eyes, eyes, look, read_eyes
from capjax.models.generator import generator
from capjax.models.sight_truth import sights_right
from capjax.speaker import log_probs

FRESH = 1000  # scenes that no dataset of ours holds
SIDES = ("right", "bottom", "left", "top")  # as features have them
WAYS = {(0, 1): "right", (0, -1): "left", (1, 1): "below", (1, -1): "above"}  # (axis, sign)

looked = jax.jit(look)


@pytest.fixture(scope="module")
def drawn() -> list[dict]:
    return [scenes.random_scene(np.random.default_rng([2026, i])) for i in range(FRESH)]


@pytest.fixture(scope="module")
def pictures(drawn) -> np.ndarray:
    return np.stack([scenes.draw(scene) for scene in drawn])


@pytest.fixture(scope="module")
def untaught() -> dict:
    """Eyes that have learnt nothing, and so pick cells in no order."""
    blank = jnp.zeros((1, SIDE, SIDE, 3), jnp.uint8)
    return jax.jit(lambda key: Eyes().init(key, blank, method=Eyes.look))(jax.random.key(3))


@pytest.fixture(scope="module")
def told(pictures) -> dict[str, np.ndarray]:
    """Features by name: of objects [N, 4, ...], of two objects [N, 6, 2], of pairs [N, ., .]."""
    found = np.asarray(eyes()(pictures))
    assert found.shape == (FRESH, FEATURES)
    assert found.dtype == np.float32
    names = tuple(CHOICES)
    pairs = list(itertools.combinations(range(len(KINDS)), 2))
    thing = 1 + sum(KINDS) + 2 + 4
    shapes = {"background": (len(BACKGROUNDS),), "things": (OBJECTS, thing), "ways": (6, 2)}
    shapes |= {f"{names[a]} {names[b]}": (KINDS[a], KINDS[b]) for a, b in pairs}
    ends = np.cumsum([np.prod(shape) for shape in shapes.values()])
    assert ends[-1] == FEATURES
    parts = np.split(found, ends[:-1], 1)
    named = zip(shapes.items(), parts, strict=True)
    told = {name: part.reshape(FRESH, *shape) for (name, shape), part in named}
    widths = {"there": 1, **dict(zip(names, KINDS, strict=True)), "place": 2, "sides": 4}
    things = np.split(told.pop("things"), np.cumsum([*widths.values()])[:-1], -1)
    return told | dict(zip(widths, things, strict=True))


def test_eyes_pick_no_cell_twice_whatever_they_have_learnt(untaught, pictures):
    for params in (untaught, read_eyes()):
        picks = np.asarray(looked(params, pictures[:50]).cell[..., :CELLS].argmax(-1))
        assert all(len(set(row)) == OBJECTS for row in picks)


def test_cells_that_are_given_are_what_is_told_of(untaught, pictures, key):
    some = pictures[:20]
    own = looked(untaught, some)
    picks = own.cell[..., :CELLS].argmax(-1)
    given = looked(untaught, some, picks)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), given, own)
    turned = looked(untaught, some, picks[:, ::-1])
    for there, back in zip(
        (*own.attributes, own.place), (*turned.attributes, turned.place), strict=True
    ):
        np.testing.assert_allclose(there[:, ::-1], back, atol=1e-6)
    # Eyes that tell of no place in a cell tell its middle; of no object the picture's.
    blind = jax.tree.map(jnp.zeros_like, untaught)
    cells = jax.random.randint(key, (20, OBJECTS), 0, CELLS + 1)
    row, column = jnp.divmod(cells, SIDE // CELL)
    middle = (jnp.stack([column, row], -1).astype(jnp.float32) + 0.5) * CELL - SIDE / 2
    middle = jnp.where((cells == CELLS)[..., None], 0, middle / UNIT)
    np.testing.assert_allclose(looked(blind, some, cells).place, middle, atol=1e-6)


def test_shipped_eyes_see_fresh_scenes(drawn, pictures):
    """Of a thousand: standard errors are 0.7 points at 95 %, and 0.9 at 90."""
    truth = seen(drawn)
    right = jax.jit(sights_right)(looked(read_eyes(), pictures), truth)
    assert right["background"].all()
    assert right["number"].mean() >= 0.99
    assert right["main"].mean() >= 0.95
    assert right["all"].mean() >= 0.90
    there = truth["cell"] < CELLS
    off = np.abs(looked(read_eyes(), pictures, truth["cell"]).place - truth["place"])[there]
    assert np.quantile(off * UNIT, 0.99) < 1.5  # pixels


def test_features_tell_how_many_objects_there_are_of_which_kinds(drawn, told):
    """Expected numbers add up, and are nearly those that are drawn."""
    truth = seen(drawn)
    real = truth["cell"] < CELLS
    number = told["there"].sum((1, 2))
    assert (np.rint(number) == real.sum(1)).mean() >= 0.99
    np.testing.assert_allclose(told["background"].sum(1), 1, atol=1e-5)
    for name in CHOICES:  # each told of objects that are there
        np.testing.assert_allclose(told[name].sum(-1), told["there"][..., 0], atol=1e-4)
    for a, b in itertools.combinations(range(len(KINDS)), 2):
        one, other = tuple(CHOICES)[a], tuple(CHOICES)[b]
        expected = told[f"{one} {other}"]
        np.testing.assert_allclose(expected.sum((1, 2)), number, atol=1e-3)
        np.testing.assert_allclose(expected.sum(2), told[one].sum(1), atol=1e-3)
        counts = np.zeros_like(expected)
        for slot in range(OBJECTS):
            values = truth["attributes"][:, slot]
            counts[np.arange(FRESH), values[:, a], values[:, b]] += real[:, slot]
        assert (np.rint(expected) == counts).all((1, 2)).mean() >= 0.90


def test_features_tell_sides_and_ways_as_captions_mean_them(drawn, told):
    """But for what lies at the very border, and for objects that are taken one for the other."""
    pairs = list(itertools.combinations(range(OBJECTS), 2))
    there = told["there"][:, [j for _, j in pairs]]
    assert (abs(told["ways"]) <= LOUD * there).all()  # no way leads to where nothing is
    off = abs(told["place"] - seen(drawn)["place"]).max(-1) * UNIT  # pixels
    sides, ways = [], []
    for row, scene in enumerate(drawn):
        things = [scene["objects"][i] for i in by_prominence(scene)]
        found = [slot for slot in range(len(things)) if off[row, slot] < 3]
        for slot, (side, name) in itertools.product(found, enumerate(SIDES)):
            thing, axis = things[slot], "xy"[side % 2]
            moved = [{**thing, axis: thing[axis] + step} for step in (-1.5, 1.5)]
            if placed(name, moved[0]) == placed(name, moved[1]):
                sides.append((told["sides"][row, slot, side] > LOUD / 2) == placed(name, thing))
        for pair, (i, j) in enumerate(pairs):
            for (axis, sign), name in WAYS.items():
                if {i, j} <= set(found) and related(name, things[i], things[j]):
                    ways.append(sign * told["ways"][row, pair, axis] > 0)
    assert np.mean(sides) >= 0.995
    assert np.mean(ways) >= 0.995


@pytest.mark.parametrize("make", [generator, evaluator])
def test_a_network_with_eyes_is_one_on_their_features(make, pictures, key):
    """The same numbers from pixels, by eyes of its own, as from what the encoder made of them."""
    words = jnp.array([[3, 1, 2, 0], [2, 0, 0, 0]])
    seeing = make(6, ("pixels", SIDE, SIDE), dim=8, sight="eyes")
    told = make(6, ("features", FEATURES), dim=8)
    params = jax.jit(told.init)(key)
    with_eyes = {"params": params["params"] | {"see": read_eyes()["params"]}}
    forms = jax.eval_shape(seeing.init, key), with_eyes
    assert len({jax.tree.structure(form) for form in forms}) == 1
    pixels = {"image": jnp.asarray(pictures[:2])}
    features = {"image": eyes()(pictures[:2])}
    if make is evaluator:
        np.testing.assert_allclose(
            seeing.image(with_eyes, pixels), told.image(params, features), atol=1e-4
        )
        return
    got = jax.jit(log_probs, static_argnums=0)(seeing, with_eyes, pixels, words)
    np.testing.assert_allclose(got, log_probs(told, params, features, words), atol=1e-4)


@pytest.mark.parametrize("make", [generator, evaluator])
@pytest.mark.parametrize("image", [("features", 64), ("regions", 64, 64), ("pixels", 32, 64)])
def test_eyes_look_at_pixels_of_scenes_alone(make, image):
    with pytest.raises(ValueError, match=r"^sight 'eyes' looks at \('pixels', 64, 64\), not at"):
        make(6, image, sight="eyes")


def test_a_sight_that_there_is_not_and_one_without_regions_are_refused():
    pixels = ("pixels", SIDE, SIDE)
    for make in (generator, evaluator):
        with pytest.raises(ValueError, match=r"sight 'nose' is unknown; choose one of convnet, ey"):
            make(6, pixels, sight="nose")
    for cell in ("att2in", "adaptive"):
        with pytest.raises(ValueError, match=f"'{cell}' looks at regions, and sight 'eyes' tells"):
            generator(6, pixels, cell=cell, sight="eyes")
