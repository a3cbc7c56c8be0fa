"""Where do words stand beside points without covering one another?"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple


class Side(NamedTuple):
    """The side of a point on which its label stands: -1, 0 or 1 to the right and down."""

    across: int
    down: int


# In the order in which they are tried.
SIDES = [Side(*at) for at in [(1, 0), (0, -1), (-1, 0), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1)]]

Box = tuple[float, float, float, float]  # left, top, right, bottom
Place = tuple[float, float]


def sides(
    places: Sequence[Place],
    lengths: Sequence[float],
    lines: Sequence[Sequence[Place]] = (),
    *,
    sizes: Sequence[Place],
    line_height: float,
    gap: float,
) -> list[Side | None]:
    """A side for the label of each point, None where every side is taken.

    Labels cover no other label and no point, at any of the sizes that the plot may have, and lie
    on a line only where there is no better side.

    Arguments: places, of all points, across and down in parts of the plot; lengths, of the labels
    in pixels, 0 for a point without; lines, through which places; sizes, (width, height) in
    pixels; line_height, of the labels; gap, between the middle of a point and its label.
    """
    taken: list[list[Box]] = []
    dots: list[list[Box]] = []
    for width, height in sizes:
        half = gap - 1.5  # a mark is nearly as large as the gap
        dots.append(
            [(x * width - half, y * height - half, x * width + half, y * height + half)
             for x, y in places]
        )  # fmt: skip
        taken.append([])
    chosen: list[Side | None] = []
    for index, (place, length) in enumerate(zip(places, lengths, strict=True)):
        best: tuple[int, int, Side, list[Box]] | None = None
        for order, side in enumerate(SIDES if length else ()):
            boxes = [
                _box((place[0] * w, place[1] * h), side, length, line_height, gap) for w, h in sizes
            ]
            free = all(
                _inside(box, size, gap)
                and not any(_meet(box, other) for other in taken[n])
                and not any(_meet(box, dot) for d, dot in enumerate(dots[n]) if d != index)
                for n, (box, size) in enumerate(zip(boxes, sizes, strict=True))
            )
            if free:
                crossed = sum(
                    _crossed(box, lines, size) for box, size in zip(boxes, sizes, strict=True)
                )
                if best is None or (crossed, order) < best[:2]:
                    best = crossed, order, side, boxes
        chosen.append(best[2] if best else None)
        for n, box in enumerate(best[3] if best else ()):
            taken[n].append(box)
    return chosen


def _box(at: Place, side: Side, length: float, height: float, gap: float) -> Box:
    # Half the gap is enough at a corner, which is farther away already.
    near = gap if 0 in side else 0.6 * gap
    left = at[0] + {-1: -near - length, 0: -length / 2, 1: near}[side.across]
    top = at[1] + {-1: -near - height, 0: -height / 2, 1: near}[side.down]
    return left, top, left + length, top + height


def _meet(one: Box, other: Box) -> bool:
    return (
        one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
    )  # fmt: skip


def _inside(box: Box, size: Place, slack: float) -> bool:
    return (
        box[0] >= 0 and box[1] >= 0 and box[2] <= size[0] + slack and box[3] <= size[1]
    )  # fmt: skip


def _crossed(box: Box, lines: Sequence[Sequence[Place]], size: Place) -> int:
    """How many pieces of lines run through a box."""
    count = 0
    for line in lines:
        for (x0, y0), (x1, y1) in pairwise(line):
            for step in range(21):
                x = size[0] * (x0 + (x1 - x0) * step / 20)
                y = size[1] * (y0 + (y1 - y0) * step / 20)
                if box[0] < x < box[2] and box[1] < y < box[3]:
                    count += 1
                    break
    return count
