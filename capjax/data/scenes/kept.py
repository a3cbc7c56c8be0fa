"""Where are generated data kept? Built once through tensorflow-datasets, then read from a cache."""

import contextlib
import io
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from capjax.errors import InputError

Sizes = Mapping[str, int]  # images of each split


class Generated(tfds.core.GeneratorBasedBuilder):
    """Records that are made of a split's name, a number and a seed: `examples` tells how."""

    # Nothing is downloaded: there are no checksums to look for.
    url_infos: ClassVar[dict[str, Any]] = {}
    FEATURES: ClassVar[Mapping[str, Any]]  # of a record

    def __init__(self, *, sizes: Sizes, seed: int, **settings: Any) -> None:
        self.sizes = sizes
        self.seed = seed
        super().__init__(**settings)

    def examples(self, split: str) -> Iterator[dict[str, Any]]:
        """The records of a split, in order."""
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(dict(self.FEATURES))
        return tfds.core.DatasetInfo(
            builder=self, description=self.__doc__, features=features, disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {split: self._generate_examples(split) for split in self.sizes}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        return enumerate(self.examples(split))


def built(kind: type[Generated], cache: pathlib.Path, sizes: Sizes, seed: int) -> Generated:
    """The builder of just these sizes and this seed, built first where the cache lacks it.

    Raises InputError where the cache cannot be used.
    """
    cache = pathlib.Path(os.path.abspath(cache))
    try:
        builder = _builder(kind, cache, sizes, seed)
        if not builder.is_prepared():
            _build(kind, cache, sizes, seed)
            builder = _builder(kind, cache, sizes, seed)
    except OSError as error:
        raise InputError(
            f"The dataset scenes cannot be cached in {cache} ({error}); name a folder that can be "
            "written to, on a disk with 50 MB to spare."
        ) from error
    return builder


def records(builder: Generated, split: str, **decoders: Any) -> list[Any]:
    """The records of a split, in order. Raises InputError where they are damaged."""
    try:
        source = builder.as_data_source(split, decoders=decoders)
        return list(source.__getitems__(list(range(builder.sizes[split]))))
    except Exception as error:  # array_record raises many kinds for a damaged file
        raise InputError(
            f"The cached scenes in {builder.data_dir} cannot be read ({error}); delete that folder "
            "and start again."
        ) from error


def _builder(kind: type[Generated], folder: pathlib.Path, sizes: Sizes, seed: int) -> Generated:
    name = "-".join(["scenes", f"seed{seed}", *(f"{split}{size}" for split, size in sizes.items())])
    return kind(sizes=sizes, seed=seed, data_dir=folder / name, file_format="array_record")


def _build(kind: type[Generated], cache: pathlib.Path, sizes: Sizes, seed: int) -> None:
    """Builds in a folder of this process's own, then moves it into place in one step.

    So a build that was cut short leaves nothing that looks finished, and of two processes that
    build at once the first to finish wins.
    """
    cache.mkdir(parents=True, exist_ok=True)
    own = pathlib.Path(tempfile.mkdtemp(prefix="building-scenes-", dir=cache))
    try:
        builder = _builder(kind, own, sizes, seed)
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
