"""What does a scene look like? Sixty-four by sixty-four pixels, the same for the same scene."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from capjax.errors import InputError

Scene = Mapping[str, Any]
# {"background": name, "objects": [{"shape", "colour", "size", "texture": names, "x", "y": pixels}]}

SIDE = 64  # pixels; x grows to the right, y downwards, from the top left corner
RADII = {"small": 8, "medium": 11, "large": 15}  # pixels from an object's centre to its edge
COLOURS = {
    "red": (214, 30, 34),
    "green": (30, 150, 50),
    "blue": (34, 72, 220),
    "yellow": (246, 214, 30),
    "purple": (122, 36, 160),
    "orange": (250, 130, 10),
    "pink": (255, 140, 190),
    "brown": (116, 66, 28),
}
# The second tone of stripes and dots: light on dark colours, dark on light ones.
INKS = {name: (20, 20, 30) if sum(rgb) > 380 else (255, 250, 235) for name, rgb in COLOURS.items()}
BACKGROUNDS = {
    "white": (255, 255, 255),
    "grey": (148, 152, 158),
    "black": (14, 14, 18),
    "beige": (226, 206, 166),
}
SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross")
TEXTURES = ("plain", "striped", "dotted")

_FINE = 8  # samples a pixel and axis
_RIM = 1.3  # pixels at the edge that no texture covers, so that an outline stays whole


def draw(scene: Scene) -> np.ndarray:
    """The picture of a scene -> uint8 [64, 64, 3], later objects over earlier ones.

    A function of the scene alone: the same scene gives the same bytes.

    Raises InputError where the scene names what cannot be drawn.
    """
    try:
        picture = np.empty((SIDE, SIDE, 3), np.float32)
        picture[:] = BACKGROUNDS[scene["background"]]
        for thing in scene["objects"]:
            radius = RADII[thing["size"]]
            cover, ink = _stencil(thing["shape"], radius, thing["texture"])  # [D, D, 1]
            left, top = thing["x"] - radius - 1, thing["y"] - radius - 1
            size = len(cover)
            if min(left, top) < 0 or max(left, top) + size > SIDE:
                raise InputError(
                    f"A scene's {thing['shape']} at ({thing['x']}, {thing['y']}) leaves the "
                    f"{SIDE} x {SIDE} picture; move its centre inwards."
                )
            colour = np.asarray(COLOURS[thing["colour"]], np.float32)
            paint = colour + ink * (np.asarray(INKS[thing["colour"]], np.float32) - colour)
            patch = picture[top : top + size, left : left + size]
            patch += cover * (paint - patch)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"The scene {scene!r} cannot be drawn ({error!r}); write it as random_scene does."
        ) from error
    return np.rint(picture).astype(np.uint8)


@functools.cache
def _stencil(shape: str, radius: int, texture: str) -> tuple[np.ndarray, np.ndarray]:
    """The share of each pixel that an object covers and that its ink covers: float32 [D, D, 1]."""
    half = radius + 1
    line = (np.arange(2 * half * _FINE) + 0.5) / _FINE - half
    x, y = np.meshgrid(line, line)  # fine samples, from the object's centre
    inside = _depth(shape, radius, x, y)
    inked = (inside > _RIM) & _ink(texture, x, y)
    return _average(inside > 0), _average(inked)


def _average(fine: np.ndarray) -> np.ndarray:
    """Means over the samples of each pixel: bool [D * F, D * F] -> float32 [D, D, 1]."""
    side = len(fine) // _FINE
    mean = fine.reshape(side, _FINE, side, _FINE).mean(axis=(1, 3), dtype=np.float32)
    return np.asarray(mean[..., None], np.float32)


def _depth(shape: str, radius: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How far inside the shape's edge each point lies, in pixels; negative outside."""
    if shape == "circle":
        return radius - np.hypot(x, y)
    if shape == "square":
        return 0.86 * radius - np.maximum(abs(x), abs(y))
    if shape == "diamond":  # narrow, or it would be a square that was turned
        return (radius - abs(y) - abs(x) * 1.4) / np.hypot(1, 1.4)
    if shape == "cross":
        across = np.maximum(abs(x), abs(y)) - radius
        arm = np.minimum(abs(x), abs(y)) - 0.34 * radius
        return -np.maximum(across, arm)
    if shape == "triangle":
        slope = 2.0  # rises two pixels for one across, from the base to the top
        base = 0.86 * radius
        return np.minimum(base - y, (y + radius - slope * abs(x)) / np.hypot(1, slope))
    if shape == "star":
        # Five points: fold the plane into half a point, whose edge is then one line.
        angle = np.arctan2(x, -y)
        folded = abs((angle + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
        distance = np.hypot(x, y)
        u, v = distance * np.cos(folded), distance * np.sin(folded)
        waist = 0.5 * radius
        inner = np.array([waist * np.cos(np.pi / 5), waist * np.sin(np.pi / 5)])
        along = inner - np.array([radius, 0.0])
        normal = np.array([-along[1], along[0]]) / np.hypot(*along)
        return (u - radius) * normal[0] + v * normal[1]
    raise KeyError(shape)


def _ink(texture: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where the second tone lies, whatever the shape: bool, like x."""
    if texture == "plain":
        return np.zeros(x.shape, bool)
    if texture == "striped":
        return ((x + y) / np.sqrt(2) + 1.25) % 5.0 < 2.5
    if texture == "dotted":  # one dot at the centre, the others around it
        u, v = (x + y) / np.sqrt(2), (x - y) / np.sqrt(2)
        step = 5.4
        return np.hypot((u + step / 2) % step - step / 2, (v + step / 2) % step - step / 2) < 1.7
    raise KeyError(texture)
