"""What a network is told of images: features, regions or pixels, and their sizes."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from capjax.agreement import check_array, told

IMAGES = '("features", D), ("regions", R, D) or ("pixels", H, W)'


def check_image(image: tuple) -> None:
    """Raises ValueError where an image is described as nothing that there is."""
    sizes = {"features": 1, "regions": 2, "pixels": 2}.get(image[0]) if image else None
    if (
        not sizes
        or sizes != len(image) - 1
        or not all(isinstance(s, int) and s > 0 for s in image[1:])
    ):
        raise ValueError(f"image {image!r} is not one of {IMAGES}")
    if image[0] == "pixels" and any(s % 16 for s in image[1:]):
        raise ValueError(f"image {image!r}: height and width must be multiples of 16")


def blank_image(image: tuple) -> jax.Array:
    """One image of nothing, of the kind described: [1, ...]."""
    if image[0] == "pixels":
        return jnp.zeros((1, *image[1:], 3), jnp.uint8)
    return jnp.zeros((1, *image[1:]), jnp.float32)


def check_images(image: tuple, context: Mapping[str, Any]) -> None:
    """Raises ValueError where a context's images are missing or not of the kind described."""
    if "image" not in context:
        raise ValueError("the context lacks ['image'], which this model reads")
    found, wanted = context["image"], blank_image(image)
    check_array(found, "context['image']")
    if found.shape[1:] != wanted.shape[1:] or (
        image[0] == "pixels" and found.dtype != wanted.dtype
    ):
        kind = "uint8" if image[0] == "pixels" else "float"
        raise ValueError(
            f"context['image'] is {told(found)}, and this model reads"
            f" {kind}[N, {', '.join(map(str, wanted.shape[1:]))}], as its image {image!r} says"
        )
