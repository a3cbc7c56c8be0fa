"""What is to be seen in a scene, as numbers, is all that is drawn of it."""

import numpy as np
import pytest

from capjax.data import scenes
from capjax.data.scenes.drawing import BACKGROUNDS, RADII, SIDE
from capjax.data.scenes.layout import CHOICES, by_prominence
from capjax.data.scenes.sight import CELL, CELLS, OBJECTS, UNIT, seen

STAR = {"shape": "star", "colour": "blue", "size": "small", "texture": "dotted"}
SMALL_STAR = {**STAR, "x": 20, "y": 40}
CIRCLE = {"shape": "circle", "colour": "red", "size": "large", "texture": "plain"}
LARGE_CIRCLE = {**CIRCLE, "x": 40, "y": 20}


def some_scenes(count: int) -> list[dict]:
    return [scenes.random_scene(np.random.default_rng([11, i])) for i in range(count)]


def drawn_out_of(truth: dict, row: int) -> np.ndarray:
    """The picture of a scene of which nothing but its numbers is known."""
    objects = []
    for cell, values, place in zip(
        truth["cell"][row], truth["attributes"][row], truth["place"][row], strict=True
    ):
        if cell == CELLS:
            continue
        kinds = zip(CHOICES.items(), values, strict=True)
        thing = {name: tuple(choices)[value] for (name, choices), value in kinds}
        x, y = (int(each) for each in np.rint(place * UNIT + SIDE / 2))
        objects.append(thing | {"x": x, "y": y})
    background = tuple(BACKGROUNDS)[truth["background"][row]]
    return scenes.draw({"background": background, "objects": objects})


def test_a_scene_by_hand():
    truth = seen([{"background": "grey", "objects": [SMALL_STAR, LARGE_CIRCLE]}])
    none = [CELLS] * 2
    np.testing.assert_array_equal(truth["cell"], [[2 * 8 + 5, 5 * 8 + 2, *none]])
    np.testing.assert_array_equal(
        truth["attributes"][0, :2],
        [[0, 0, 2, 0], [3, 2, 0, 2]],  # shape, colour, size, texture: the large one first
    )
    np.testing.assert_allclose(truth["place"][0, :2], [[0.5, -0.75], [-0.75, 0.5]])
    assert truth["background"] == [1]


def test_the_numbers_of_a_scene_draw_its_picture():
    """Pixel by pixel, where later objects cover earlier ones at a touch in the same order."""
    drawn = some_scenes(200)
    truth = seen(drawn)
    for row, scene in enumerate(drawn):
        objects = [scene["objects"][i] for i in by_prominence(scene)]
        expected = scenes.draw({**scene, "objects": objects})
        np.testing.assert_array_equal(drawn_out_of(truth, row), expected)


def test_a_cell_holds_the_centre_of_one_object_and_the_first_is_named_first():
    drawn = some_scenes(200)
    truth = seen(drawn)
    assert {int(n) for n in (truth["cell"] < CELLS).sum(1)} == set(range(1, OBJECTS + 1))
    for row, scene in enumerate(drawn):
        cells = truth["cell"][row]
        real = cells[cells < CELLS]
        assert len(set(real)) == len(real) == len(scene["objects"])
        assert (cells[len(real) :] == CELLS).all()
        corner = np.stack([real % (SIDE // CELL), real // (SIDE // CELL)], 1) * CELL
        centre = truth["place"][row, : len(real)] * UNIT + SIDE / 2
        assert ((centre >= corner) & (centre < corner + CELL)).all()
        main = scene["objects"][scenes.main_object(scene)]
        np.testing.assert_array_equal(centre[0], [main["x"], main["y"]])
        radii = np.array(list(RADII.values()))[truth["attributes"][row, : len(real), 2]]
        assert (np.diff(radii) <= 0).all()


def test_what_is_no_scene_is_not_taken_for_one():
    with pytest.raises(ValueError, match="hexagon"):
        seen([{"background": "grey", "objects": [{**SMALL_STAR, "shape": "hexagon"}]}])
