"""Captions of photos as a tensorflow-datasets builder: checked once, then read back in order."""

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from capjax.data.annotations import SPLITS, Photo
from capjax.data.resumable import only_process
from capjax.errors import InputError

Read = Callable[[Callable[[str], str]], list[Photo]]  # (download: url -> path) -> photos


class CaptionFiles(tfds.core.GeneratorBasedBuilder):
    """Records of an id, an image file (read in place, not copied), its captions and its class."""

    VERSION = tfds.core.Version("1.1.0")  # records of another version are left alone, and reread
    url_infos: ClassVar[dict[str, Any]] = {}  # no checksums are published for what it downloads
    RELEASE_NOTES: ClassVar[dict[str, str]] = {
        "1.1.0": "The class of an image.",
        "1.0.0": "The first.",
    }

    def __init__(self, key: str, read: Read, cache: Path):
        self._read = read
        super().__init__(
            data_dir=str(cache / "tensorflow_datasets" / key),
            file_format="array_record",
        )

    def _info(self) -> Any:
        text = tfds.features.Text()
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "id": text,
                    "file": text,
                    "split": text,
                    "captions": tfds.features.Sequence(text),
                    "concept": tfds.features.Scalar(np.int64),
                }
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, downloads: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        photos = self._read(lambda url: str(downloads.download(url)))
        return {
            split: self._generate_examples([shown for shown in photos if shown.split == split])
            for split in SPLITS
            if any(shown.split == split for shown in photos)
        }

    def _generate_examples(self, photos: list[Photo]) -> Iterator[tuple[int, dict[str, Any]]]:
        for i, shown in enumerate(photos):
            yield i, {**shown._asdict(), "captions": list(shown.captions)}


def records(key: str, read: Read, cache: Path, fresh: bool = False) -> dict[str, list[Photo]]:
    """The photos of each split, in the order of `read`; read once, kept in `cache` under `key`.

    fresh: read again though they are there. Raises what `read` raises, and InputError where the
    cache cannot be written.
    """
    mode = "reuse_cache_if_exists" if fresh else "reuse_dataset_if_exists"
    config = tfds.download.DownloadConfig(
        try_download_gcs=False, download_mode=tfds.GenerateMode(mode), compute_stats="skip"
    )
    try:
        builder = CaptionFiles(key, read, cache)
        if fresh or not builder.data_path.exists():
            with only_process(cache / "tensorflow_datasets" / key):
                with contextlib.redirect_stdout(io.StringIO()):  # its banners; its bars stay
                    builder.download_and_prepare(download_config=config)
                builder = CaptionFiles(key, read, cache)  # another process may have made it
        photos: dict[str, list[Photo]] = {}
        for split in builder.info.splits:
            source = builder.as_data_source(split=split)
            photos[split] = [
                Photo(
                    row["id"].decode(),
                    row["file"].decode(),
                    tuple(caption.decode() for caption in row["captions"]),
                    split,
                    int(row["concept"]),
                )
                for row in source.__getitems__(range(len(source)))
            ]
    except OSError as error:
        raise InputError(
            f"cannot keep the captions in {cache}: {error.strerror or error}; make room, or choose "
            "another cache"
        ) from error
    return photos
