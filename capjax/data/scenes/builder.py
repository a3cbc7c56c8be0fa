"""Where do the scenes come from? Built once through tensorflow-datasets, then read from a cache."""

import contextlib
import hashlib
import io
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from capjax.data.scenes.drawing import SIDE, draw
from capjax.data.scenes.layout import CONCEPTS, concept, random_distractors, random_scene
from capjax.data.scenes.people import describe
from capjax.data.split import Dataset, Split
from capjax.errors import InputError
from capjax.terminal.progress import along

SIZES: Mapping[str, int] = MappingProxyType({"train": 20_000, "val": 1_000, "test": 1_000})
SEED = 0
_STREAMS = {"train": 0, "val": 1, "test": 2}  # which random numbers a split draws from


def load(
    cache: pathlib.Path, *, sizes: Mapping[str, int] | None = None, seed: int = SEED
) -> Dataset:
    """The dataset `scenes`, built first where the cache does not hold it.

    Arguments: cache, a folder, made if need be; sizes, images a split, some of "train", "val" and
    "test", or None for SIZES; seed, from which all follows: image i of a split is the same whatever
    the sizes.

    Returns the splits. An image's truth is {"scene": scene, "distractors": [4 scenes]}, with no
    distractors in the training split. PNG images stay in memory (25 MB) and are decoded when
    asked for.

    Raises InputError for sizes that no dataset has and for a cache that cannot be used.
    """
    sizes = SIZES if sizes is None else sizes
    for split, size in sizes.items():
        if split not in _STREAMS or size < 1:
            raise InputError(
                f"The dataset scenes has no split {split!r} of {size} images; "
                f"ask for at least one image of {', '.join(_STREAMS)}."
            )
    if not sizes or seed < 0:
        raise InputError("The dataset scenes needs at least one split and a seed that is >= 0.")
    cache = pathlib.Path(os.path.abspath(cache))
    sizes = {split: sizes[split] for split in _STREAMS if split in sizes}  # in one order
    try:
        builder = _builder(cache, sizes, seed)
        if not builder.is_prepared():
            _build(cache, sizes, seed)
            builder = _builder(cache, sizes, seed)
    except OSError as error:
        raise InputError(
            f"The dataset scenes cannot be cached in {cache} ({error}); name a folder that can be "
            "written to, on a disk with 50 MB to spare."
        ) from error
    digest = hashlib.sha256()
    splits = {
        split: _read(builder, split, sizes[split], digest) for split in _STREAMS if split in sizes
    }
    return Dataset(splits, f"scenes-{digest.hexdigest()[:16]}", CONCEPTS)


def example(split: str, index: int, seed: int = SEED) -> dict[str, Any]:
    """One image and all about it: a function of the split's name, the index and the seed alone.

    Returns {"image": uint8 [64, 64, 3], "captions": 5 texts, "scene", "distractors"}.
    """
    rng = np.random.default_rng([seed, _STREAMS[split], index])
    scene = random_scene(rng)
    captions = describe(rng, scene)
    distractors = [] if split == "train" else random_distractors(rng, scene)
    return {"image": draw(scene), "captions": captions, "scene": scene, "distractors": distractors}


class CapjaxScenes(tfds.core.GeneratorBasedBuilder):
    """Pictures of simple shapes, and what people would write about them."""

    # Raise it whenever an image, a caption or a distractor changes: caches live on.
    VERSION = tfds.core.Version("1.0.0")
    # Nothing is downloaded: there are no checksums to look for.
    url_infos: ClassVar[dict[str, Any]] = {}

    def __init__(self, *, sizes: Mapping[str, int], seed: int, **settings: Any) -> None:
        self.sizes = sizes
        self.seed = seed
        super().__init__(**settings)

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(SIDE, SIDE, 3), encoding_format="png"),
                "captions": tfds.features.Sequence(tfds.features.Text()),
                "scene": tfds.features.Text(),  # JSON
                "distractors": tfds.features.Text(),  # JSON, a list of scenes
            }
        )
        return tfds.core.DatasetInfo(
            builder=self, description=self.__doc__, features=features, disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {split: self._generate_examples(split) for split in self.sizes}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        size = self.sizes[split]
        for index in along(range(size), size, f"drawing scenes ({split})", "images"):
            made = example(split, index, self.seed)
            # Encoded here: an array would have TensorFlow encode it.
            png = io.BytesIO()
            Image.fromarray(made["image"]).save(png, "PNG", compress_level=1)
            yield (
                index,
                {
                    "image": png.getvalue(),
                    "captions": made["captions"],
                    "scene": json.dumps(made["scene"], separators=(",", ":")),
                    "distractors": json.dumps(made["distractors"], separators=(",", ":")),
                },
            )


def _builder(folder: pathlib.Path, sizes: Mapping[str, int], seed: int) -> CapjaxScenes:
    """The builder of just these sizes and this seed, in a subfolder named after them."""
    name = "-".join(["scenes", f"seed{seed}", *(f"{split}{size}" for split, size in sizes.items())])
    return CapjaxScenes(sizes=sizes, seed=seed, data_dir=folder / name, file_format="array_record")


def _build(cache: pathlib.Path, sizes: Mapping[str, int], seed: int) -> None:
    """Builds in a folder of this process's own, then moves it into place in one step.

    So a build that was cut short leaves nothing that looks finished, and of two processes that
    build at once the first to finish wins.
    """
    cache.mkdir(parents=True, exist_ok=True)
    own = pathlib.Path(tempfile.mkdtemp(prefix="building-scenes-", dir=cache))
    try:
        builder = _builder(own, sizes, seed)
        with _quiet():
            builder.download_and_prepare()
        built = pathlib.Path(builder.data_dir)
        target = cache / built.relative_to(own)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            built.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(own, ignore_errors=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps tensorflow-datasets from printing paths and bars of its own; ours show on stderr."""
    tfds.display_progress_bar(False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.display_progress_bar(True)


def _read(builder: CapjaxScenes, split: str, size: int, digest: Any) -> Split:
    """One split from the cache; adds all its bytes to the digest."""
    try:
        source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
        records = source.__getitems__(list(range(size)))
    except Exception as error:  # array_record raises many kinds for a damaged file
        raise InputError(
            f"The cached scenes in {builder.data_dir} cannot be read ({error}); delete that folder "
            "and start again."
        ) from error
    images = [record["image"] for record in records]
    for record in records:
        for part in (record["image"], record["scene"], record["distractors"], *record["captions"]):
            digest.update(part)

    def image(index: int) -> np.ndarray:
        return np.array(Image.open(io.BytesIO(images[index])))

    truth = tuple(
        {name: json.loads(record[name]) for name in ("scene", "distractors")} for record in records
    )
    return Split(
        ids=tuple(f"{split}-{index:05d}" for index in range(size)),
        captions=tuple(tuple(text.decode() for text in record["captions"]) for record in records),
        image=image,
        truth=truth,
        concepts=tuple(concept(about["scene"]) for about in truth),
    )
