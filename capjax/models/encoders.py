"""The frozen encoders that photos and drawn scenes are seen through, by name."""

import numpy as np

from capjax.data.feature_files import (
    PREFIX,
    FeatureFiles,
    feature_files,
)
from capjax.data.features import Encoder
from capjax.data.scenes.drawing import SIDE
from capjax.errors import InputError
from capjax.models.eyes import eyes

ENCODERS = (
    *("efficientnet_lite0", "efficientnet_lite0_grid"),
    *("eyes64", "eyes64_objects", "pixels64", "none"),
)


def encoder_named(name: str) -> Encoder | FeatureFiles:
    """One of ENCODERS, or "files:FOLDER", features that a user has.

    Raises InputError where the name is another, its weights are missing, or the folder is.
    """
    if name.startswith(PREFIX):
        return feature_files(name.removeprefix(PREFIX))
    if name == "pixels64":
        return pixels(64)
    if name == "none":
        return nothing()
    if name in ("eyes64", "eyes64_objects"):  # eyes trained anew see other things: another name
        return Encoder(name, SIDE, eyes(objects=name.endswith("objects")))
    if name.startswith("efficientnet_lite0") and name in ENCODERS:
        from capjax.models.efficientnet import efficientnet_lite0

        if name.endswith("grid"):  # 49 regions of 1,280 numbers: stored in half the bits
            return Encoder(name, 224, efficientnet_lite0("grid"), np.float16)
        return Encoder(name, 224, efficientnet_lite0("pooled"))
    known = ", ".join(ENCODERS)
    raise InputError(f"there is no encoder {name!r}; choose one of {known}, or {PREFIX}FOLDER")


def pixels(size: int) -> Encoder:
    """The encoder that leaves images as they are, uint8 [N, size, size, 3]."""
    return Encoder("pixels", size, lambda images: images, np.uint8)


def nothing() -> Encoder:
    """The encoder for a speaker that is to see nothing: float32 [N, 1] of zeros."""
    return Encoder("none", 8, lambda images: np.zeros((len(images), 1), np.float32))
