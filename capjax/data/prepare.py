"""From a dataset's name to arrays: everything that is done once, before training."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from PIL import Image

from capjax.data import DRAWN, cache_folder, load
from capjax.data.contents import Contents, of_features, read_contents
from capjax.data.feature_files import FeatureFiles, check_names, collect, first_form
from capjax.data.features import Encoder, extract, feature_path, read_photo
from capjax.data.photo_files import PhotoFiles, check_images
from capjax.data.split import Dataset, Split
from capjax.errors import InputError
from capjax.parallel import by_first, first_before_others
from capjax.parallel.together import gathered


class Prepared(NamedTuple):
    """A dataset whose images have been encoded."""

    splits: Mapping[str, Split]
    images: Mapping[str, np.ndarray]  # split -> [M, ...], mapped from a file
    fingerprint: str
    concepts: tuple[str, ...] = ()  # the names of the dataset's classes
    contents: Mapping[str, Contents] = {}  # of the splits, wherever they lie


def form_of(encoder: Encoder | FeatureFiles, split: Split) -> jax.ShapeDtypeStruct:
    """The form [1, ...] of what an encoder makes of an image, before it has seen any.

    Of features that a user has it is that of a split's first image, whose file is read.
    """
    if not isinstance(encoder, Encoder):
        shape, dtype = first_form(encoder, split)
        return jax.ShapeDtypeStruct((1, *shape), dtype)
    image = jax.ShapeDtypeStruct((1, encoder.size, encoder.size, 3), np.uint8)
    return jax.ShapeDtypeStruct(jax.eval_shape(encoder.apply, image).shape, encoder.dtype)


def prepare(
    name: str,
    path: str | Path | None,
    cache: str | Path | None,
    encoder: Encoder | FeatureFiles,
    *,
    dataset: Dataset | None = None,
    check: Callable[[Prepared], object] | None = None,
) -> Prepared:
    """Reads a dataset and encodes its images, or finds what an earlier run left of that.

    Images are given to the encoder at its own size. Raises InputError, before any encoding, where
    the captions or any image cannot be read.

    Args:
      name, path, cache: as of `load`.
      dataset: what `load` gives of them, where it has been read.
      check: is given all but the images and the features' digests before any encoding; may raise.
    """
    dataset = load(name, path, cache) if dataset is None else dataset
    folder = cache_folder(cache)
    contents, pictures = first_before_others(folder, lambda: read_contents(dataset, folder))
    # By what images hold and not by where they lie: others in their place have other features.
    key = f"{'scenes' if name in DRAWN else name}-{pictures}"
    if check:
        check(Prepared(dataset.splits, {}, dataset.fingerprint, dataset.concepts, dict(contents)))
    how = f"squash{encoder.size}" if isinstance(encoder, Encoder) else "asis"
    targets = {
        split_name: feature_path(folder, key, split_name, encoder.name, how)
        for split_name in dataset.splits
    }
    if not isinstance(encoder, Encoder):
        check_names(encoder, dataset.splits)
    for split_name, target in targets.items():
        if any(gathered(not target.exists())):
            # Features that a user has spare the encoder; the report shows photos all the same.
            size = encoder.size if isinstance(encoder, Encoder) else 224
            by_first(partial(check_images, dataset.splits[split_name], size=size))
    images: dict[str, np.ndarray] = {}
    for split_name, split in dataset.splits.items():
        target = targets[split_name]
        if isinstance(encoder, Encoder):
            images[split_name] = extract(
                partial(sized, split.image, encoder.size),
                len(split.ids),
                encoder.apply,
                target,
                dtype=encoder.dtype,
                ids=split.ids,
                label=f"{encoder.name} {split_name}",
            )
        else:
            features = collect(encoder, split, target, f"features {split_name}")
            digest = first_before_others(folder, partial(of_features, features, split.ids, target))
            contents[split_name] = contents[split_name]._replace(features=digest)
            images[split_name] = features
            _check_one_shape(encoder, images)
    return Prepared(dataset.splits, images, dataset.fingerprint, dataset.concepts, contents)


def _check_one_shape(source: FeatureFiles, images: dict[str, np.ndarray]) -> None:
    """InputError where the last split's features have another shape than the first's."""
    first, last = next(iter(images)), next(reversed(images))
    if (shape := images[last].shape[1:]) != images[first].shape[1:]:
        raise InputError(
            f"the features of {last} in {source.folder} are {list(shape)} where"
            f" those of {first} are {list(images[first].shape[1:])}; give all images"
            " features of one shape"
        )


def sized(image: Callable[[int], np.ndarray], size: int, i: int) -> np.ndarray:
    """An image as `read_photo` gives a photo: uint8 [size, size, 3]."""
    if isinstance(image, PhotoFiles):
        return read_photo(image.files[i], size)
    return resized(image(i), size)


def resized(pixels: np.ndarray, size: int) -> np.ndarray:
    """uint8 [H, W, 3] -> [size, size, 3], squashed where it is no square."""
    if pixels.shape[:2] == (size, size):
        return pixels
    return np.array(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC))
