"""Where do the scenes come from? Drawn once, and written about in a sentence or in several."""

import hashlib
import io
import json
import pathlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from capjax.data.scenes.at_length import describe_at_length
from capjax.data.scenes.drawing import SIDE, draw
from capjax.data.scenes.kept import Generated, Sizes, built, records
from capjax.data.scenes.layout import CONCEPTS, concept, random_distractors, random_scene
from capjax.data.scenes.people import describe
from capjax.data.split import Dataset, Split
from capjax.errors import InputError
from capjax.terminal.progress import along

SIZES: Sizes = MappingProxyType({"train": 20_000, "val": 1_000, "test": 1_000})
SEED = 0
_STREAMS = {"train": 0, "val": 1, "test": 2}  # which random numbers a split draws from


def load(cache: pathlib.Path, *, sizes: Sizes | None = None, seed: int = SEED) -> Dataset:
    """The dataset `scenes`, built first where the cache does not hold it.

    Arguments: cache, a folder, made if need be; sizes, images a split, some of "train", "val" and
    "test", or None for SIZES; seed, from which all follows: image i of a split is the same whatever
    the sizes.

    Returns the splits. An image's truth is {"scene": scene, "distractors": [4 scenes]}, with no
    distractors in the training split. PNG images stay in memory (25 MB) and are decoded when
    asked for.

    Raises InputError for sizes that no dataset has and for a cache that cannot be used.
    """
    sizes = _checked(sizes, seed)
    builder = built(CapjaxScenes, cache, sizes, seed)
    digest = hashlib.sha256()
    splits = {split: _read(builder, split, digest) for split in sizes}
    return Dataset(splits, f"scenes-{digest.hexdigest()[:16]}", CONCEPTS)


def load_paragraphs(
    cache: pathlib.Path, *, sizes: Sizes | None = None, seed: int = SEED
) -> Dataset:
    """The dataset `scenes-paragraphs`: the images of `scenes` and their truth, and paragraphs.

    Arguments and what is raised are those of `load`.
    """
    scenes = load(cache, sizes=sizes, seed=seed)
    builder = built(CapjaxScenesParagraphs, cache, _checked(sizes, seed), seed)
    digest = hashlib.sha256(scenes.fingerprint.encode())
    splits = {}
    for name, split in scenes.splits.items():
        texts = [record["captions"] for record in records(builder, name)]
        digest.update(b"".join(text for each in texts for text in each))
        said = tuple(tuple(text.decode() for text in each) for each in texts)
        splits[name] = split._replace(captions=said)
    fingerprint = f"scenes-paragraphs-{digest.hexdigest()[:16]}"
    return Dataset(splits, fingerprint, scenes.concepts, sentences=True)


def _checked(sizes: Sizes | None, seed: int) -> Sizes:
    """The sizes in one order."""
    sizes = SIZES if sizes is None else sizes
    for split, size in sizes.items():
        if split not in _STREAMS or size < 1:
            raise InputError(
                f"The dataset scenes has no split {split!r} of {size} images; "
                f"ask for at least one image of {', '.join(_STREAMS)}."
            )
    if not sizes or seed < 0:
        raise InputError("The dataset scenes needs at least one split and a seed that is >= 0.")
    return {split: sizes[split] for split in _STREAMS if split in sizes}


def example(split: str, index: int, seed: int = SEED) -> dict[str, Any]:
    """One image and all about it: a function of the split's name, the index and the seed alone.

    Returns {"image": uint8 [64, 64, 3], "captions": 5 texts, "scene", "distractors"}.
    """
    rng = np.random.default_rng([seed, _STREAMS[split], index])
    scene = random_scene(rng)
    captions = describe(rng, scene)
    distractors = [] if split == "train" else random_distractors(rng, scene)
    return {"image": draw(scene), "captions": captions, "scene": scene, "distractors": distractors}


def paragraphs(split: str, index: int, seed: int = SEED) -> list[str]:
    """The five paragraphs of the same image, a function of the same alone."""
    scene = random_scene(np.random.default_rng([seed, _STREAMS[split], index]))
    return describe_at_length(np.random.default_rng([seed, _STREAMS[split], index, 1]), scene)


class CapjaxScenes(Generated):
    """Pictures of simple shapes, and what people would write about them."""

    # Raise it whenever an image, a caption or a distractor changes: caches live on.
    VERSION = tfds.core.Version("1.0.0")
    FEATURES: ClassVar[Mapping[str, Any]] = {
        "image": tfds.features.Image(shape=(SIDE, SIDE, 3), encoding_format="png"),
        "captions": tfds.features.Sequence(tfds.features.Text()),
        "scene": tfds.features.Text(),  # JSON
        "distractors": tfds.features.Text(),  # JSON, a list of scenes
    }

    def examples(self, split: str) -> Iterator[dict[str, Any]]:
        """The records of a split, in order."""
        size = self.sizes[split]
        for index in along(range(size), size, f"drawing scenes ({split})", "images"):
            made = example(split, index, self.seed)
            # Encoded here: an array would have TensorFlow encode it.
            png = io.BytesIO()
            Image.fromarray(made["image"]).save(png, "PNG", compress_level=1)
            yield {
                "image": png.getvalue(),
                "captions": made["captions"],
                "scene": json.dumps(made["scene"], separators=(",", ":")),
                "distractors": json.dumps(made["distractors"], separators=(",", ":")),
            }


class CapjaxScenesParagraphs(Generated):
    """What people would write about the same pictures at length."""

    # Raise it whenever a scene or a paragraph changes.
    VERSION = tfds.core.Version("1.0.0")
    FEATURES: ClassVar[Mapping[str, Any]] = {
        "captions": tfds.features.Sequence(tfds.features.Text())
    }

    def examples(self, split: str) -> Iterator[dict[str, Any]]:
        """The records of a split, in order."""
        size = self.sizes[split]
        for index in along(range(size), size, f"describing scenes ({split})", "images"):
            yield {"captions": paragraphs(split, index, self.seed)}


def _read(builder: Generated, split: str, digest: Any) -> Split:
    """One split from the cache; adds all its bytes to the digest."""
    every = records(builder, split, image=tfds.decode.SkipDecoding())
    images = [record["image"] for record in every]
    for record in every:
        for part in (record["image"], record["scene"], record["distractors"], *record["captions"]):
            digest.update(part)

    def image(index: int) -> np.ndarray:
        return np.array(Image.open(io.BytesIO(images[index])))

    truth = tuple(
        {name: json.loads(record[name]) for name in ("scene", "distractors")} for record in every
    )
    return Split(
        ids=tuple(f"{split}-{index:05d}" for index in range(len(every))),
        captions=tuple(tuple(text.decode() for text in record["captions"]) for record in every),
        image=image,
        truth=truth,
        concepts=tuple(concept(about["scene"]) for about in truth),
    )
