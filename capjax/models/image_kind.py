"""What a network is told of images: features, regions or pixels, and their sizes."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from capjax.agreement import check_array, spec

IMAGES = '("features", D), ("regions", R, D) or ("pixels", H, W)'


SIGHTS = ("convnet", "eyes")  # what looks at pixels


def check_image(image: tuple, sight: str = "convnet") -> None:
    """Raises ValueError where an image is described as nothing that there is, or sight is."""
    known = {"features": 1, "regions": 2, "pixels": 2}
    sizes = known.get(str(image[0])) if isinstance(image, (tuple, list)) and image else None
    if (
        not sizes
        or sizes != len(image) - 1
        or not all(isinstance(s, (int, np.integer)) and s > 0 for s in image[1:])
    ):
        raise ValueError(f"image {image!r} is not one of {IMAGES}")
    if image[0] == "pixels" and any(s % 16 for s in image[1:]):
        raise ValueError(f"image {image!r}: height and width must be multiples of 16")
    if sight not in SIGHTS:
        raise ValueError(f"sight {sight!r} is unknown; choose one of {', '.join(SIGHTS)}")
    if sight == "eyes" and tuple(image) != ("pixels", 64, 64):
        raise ValueError(f"sight 'eyes' looks at ('pixels', 64, 64), not at {image!r}")


def check_vocab_size(vocab_size: Any) -> None:
    """Raises ValueError where it is no whole number."""
    if not isinstance(vocab_size, (int, np.integer)) or isinstance(vocab_size, bool):
        raise ValueError(f"vocab_size is {spec(vocab_size)}; give a whole number, len(vocabulary)")


def blank_image(image: tuple) -> jax.Array:
    """One image of nothing, of the kind described: [1, ...]."""
    if image[0] == "pixels":
        return jnp.zeros((1, *image[1:], 3), jnp.uint8)
    return jnp.zeros((1, *image[1:]), jnp.float32)


def check_images(image: tuple, context: Mapping[str, Any]) -> None:
    """Raises ValueError where a context's images are missing or not of the kind described."""
    if "dropout" in context:
        check_array(context["dropout"], "context['dropout']")
        if context["dropout"].ndim != 1 or not jnp.issubdtype(
            context["dropout"].dtype, jax.dtypes.prng_key
        ):
            raise ValueError(
                f"context['dropout'] is {spec(context['dropout'])}; give one typed key a row, by"
                " jax.random.split(key, N)"
            )
    if "image" not in context:
        raise ValueError("the context lacks ['image'], which this model reads")
    found, wanted = context["image"], blank_image(image)
    check_array(found, "context['image']")
    if found.shape[1:] != wanted.shape[1:] or (
        image[0] == "pixels" and found.dtype != wanted.dtype
    ):
        kind = "uint8" if image[0] == "pixels" else "float"
        raise ValueError(
            f"context['image'] is {spec(found)}, and this model reads"
            f" {kind}[N, {', '.join(map(str, wanted.shape[1:]))}], as its image {image!r} says"
        )
