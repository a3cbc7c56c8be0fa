"""How large the data of a recipe are: as they are here, else as published, without a photo read."""

from math import prod
from typing import NamedTuple

import jax
import numpy as np

from capjax.compiled.lengths import VOCABULARY
from capjax.data import DRAWN, Dataset, check_name, load
from capjax.data.feature_files import PREFIX
from capjax.data.prepare import form_of
from capjax.data.vocabulary import Vocabulary
from capjax.errors import InputError
from capjax.models.encoders import ENCODERS, encoder_named
from capjax.run.recipe import Recipe


class Sizes(NamedTuple):
    """What of a training split decides a program's shapes."""

    vocabulary: int  # ids
    images: int
    captions: int
    form: jax.ShapeDtypeStruct  # of one image, as the speaker takes it
    classes: int  # that the speaker is told one of
    whence: str  # in words

    @property
    def image_bytes(self) -> int:
        """Of all images."""
        return self.images * prod(self.form.shape) * np.dtype(self.form.dtype).itemsize


class Given(NamedTuple):
    """Sizes that a user gives; None for what is to be found."""

    vocabulary: int | None = None
    images: int | None = None
    captions: int | None = None
    features: tuple[int, ...] | None = None  # the form of one image's


NAMES = "vocabulary", "images", "captions"
# Ids of the words that come 5 times or more, as Karpathy & Fei-Fei (2015) counted them (of COCO as
# the code counts that most follow), the end and the unknown word; training images and captions by
# their splits, COCO's restval among them.
PUBLISHED = {
    "coco": (VOCABULARY, 113_287, 566_747),
    "flickr8k": (2_538 + 2, 6_000, 30_000),
    "flickr30k": (7_414 + 2, 29_000, 145_000),
}
# What our encoders make of an image: one that lacks its weights can be compiled for all the same.
FORMS = {
    "efficientnet_lite0": ((1280,), np.float32),
    "efficientnet_lite0_grid": ((49, 1280), np.float16),
    "eyes64": ((265,), np.float32),
    "eyes64_objects": ((5, 265), np.float32),
    "pixels64": ((64, 64, 3), np.uint8),
    "none": ((1,), np.float32),
}


def read_data(recipe: Recipe) -> Dataset | None:
    """The dataset where it is here or is drawn; None where that would be a download."""
    data = recipe.data
    check_name(data.name)
    if data.name not in DRAWN and not data.path:
        return None
    return load(data.name, data.path or None, data.cache or None)


def sizes_of(
    recipe: Recipe, dataset: Dataset | None, vocabulary: Vocabulary | None, given: Given
) -> Sizes:
    """The sizes of a recipe's training split.

    Raises:
      InputError: what is not here, not published and not given, naming the flag.
    """
    name = recipe.data.name
    found, whence = dict.fromkeys(NAMES, 0), f"sizes of {name} as given"
    if name in PUBLISHED:
        found = dict(zip(NAMES, PUBLISHED[name], strict=True))
        whence = f"published sizes of {name}"
    if dataset is not None:
        split = dataset.splits["train"]
        found |= {"images": len(split.ids), "captions": sum(map(len, split.captions))}
        whence = f"{name} as it is here"
    if vocabulary is not None:
        found["vocabulary"] = len(vocabulary)
    for flag in NAMES:
        found[flag] = getattr(given, flag) or found[flag]
        if not found[flag]:
            raise InputError(
                f"the data of {name} are not here, nor are their sizes known; name their folder"
                f" with --config.data.path, or give --{', --'.join(NAMES)}"
            )
    told = [f"--{flag}={getattr(given, flag)}" for flag in NAMES if getattr(given, flag)]
    if told and not whence.endswith("given"):
        whence += f", but {' '.join(told)}"
    # Where they are not here, those of CUB's birds.
    classes = len(dataset.concepts) if dataset and recipe.concepts else 200 * recipe.concepts
    return Sizes(
        found["vocabulary"],
        found["images"],
        found["captions"],
        _form(recipe, dataset, given),
        classes,
        whence,
    )


def _form(recipe: Recipe, dataset: Dataset | None, given: Given) -> jax.ShapeDtypeStruct:
    encoder = recipe.data.encoder
    if given.features:
        return jax.ShapeDtypeStruct(given.features, np.float32)
    if encoder in FORMS:
        return jax.ShapeDtypeStruct(*FORMS[encoder])
    if encoder.startswith(PREFIX) and dataset is not None:
        form = form_of(encoder_named(encoder), dataset.splits["train"])
        return jax.ShapeDtypeStruct(form.shape[1:], form.dtype)
    if encoder.startswith(PREFIX):
        raise InputError(
            f"what {encoder} holds is not known without the dataset; give the form of one image's"
            " features, such as --features=36x2048"
        )
    raise InputError(
        f"there is no encoder {encoder!r}; choose one of {', '.join(ENCODERS)}, or {PREFIX}FOLDER"
    )
