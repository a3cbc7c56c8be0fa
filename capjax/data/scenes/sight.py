"""What is there to be seen in a scene? Its truth as numbers, for eyes to learn from."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from capjax.data.scenes.drawing import BACKGROUNDS, SIDE, Scene
from capjax.data.scenes.layout import CHOICES, by_prominence

OBJECTS = 4  # the most that a scene has
CELL = 8  # pixels a side; no cell holds the centres of two objects
CELLS = (SIDE // CELL) ** 2  # row by row; the number that stands for no object
UNIT = SIDE / 4  # pixels that places are measured in, from the picture's centre


def seen(scenes: Sequence[Scene]) -> Mapping[str, np.ndarray]:
    """What the objects of scenes are and where, the most prominent first.

    Returns {"cell" int32[M, 4], the cell that an object's centre lies in, or CELLS where there is
    no object more; "attributes" int32[M, 4, 4], places in CHOICES, in its order; "place"
    float32[M, 4, 2], x and y of the centre from that of the picture, in UNITs; "background"
    int32[M], places in BACKGROUNDS}.
    """
    count = len(scenes)
    cell = np.full((count, OBJECTS), CELLS, np.int32)
    attributes = np.zeros((count, OBJECTS, len(CHOICES)), np.int32)
    place = np.zeros((count, OBJECTS, 2), np.float32)
    grounds = list(BACKGROUNDS)
    for row, scene in enumerate(scenes):
        for slot, index in enumerate(by_prominence(scene)):
            thing: Mapping[str, Any] = scene["objects"][index]
            x, y = thing["x"], thing["y"]
            cell[row, slot] = y // CELL * (SIDE // CELL) + x // CELL
            attributes[row, slot] = [list(all_).index(thing[a]) for a, all_ in CHOICES.items()]
            place[row, slot] = (x - SIDE / 2) / UNIT, (y - SIDE / 2) / UNIT
    background = np.array([grounds.index(scene["background"]) for scene in scenes], np.int32)
    return {"cell": cell, "attributes": attributes, "place": place, "background": background}
