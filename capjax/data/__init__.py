"""Images and what people wrote about them: datasets by name, words, features."""

import os
from pathlib import Path

from capjax.data.split import Dataset, Split
from capjax.data.tokens import tokenize
from capjax.data.vocabulary import Vocabulary
from capjax.errors import InputError
from capjax.files.paths import check_text
from capjax.files.places import stored

__all__ = [
    "CLASSED",
    "DRAWN",
    "NAMES",
    "Dataset",
    "Split",
    "Vocabulary",
    "cache_folder",
    "check_name",
    "load",
    "tokenize",
]

NAMES = (
    *("scenes", "scenes-paragraphs", "flickr8k", "flickr30k", "coco", "cub", "paragraphs"),
    "folder",
)
DRAWN = ("scenes", "scenes-paragraphs")  # generated, of the same images, whose truth is known
CLASSED = (*DRAWN, "cub")  # whose images have classes


def cache_folder(cache: str | Path | None = None) -> Path:
    """Where what is made of datasets is kept: `cache`, else $CAPJAX_CACHE, else ~/.cache/capjax.

    Raises InputError where that is on a store.
    """
    folder = cache or os.environ.get("CAPJAX_CACHE") or "~/.cache/capjax"
    if stored(folder):
        raise InputError(
            f"the cache {folder} must be on this machine, as what a run reads at random is; name a"
            " folder of a disk"
        )
    return Path(folder).expanduser()


def check_name(name: str) -> None:
    """Raises InputError where there is no dataset of that name."""
    if name not in NAMES:
        raise InputError(f"there is no dataset {name!r}; choose one of {', '.join(NAMES)}")


def load(name: str, path: str | Path | None = None, cache: str | Path | None = None) -> Dataset:
    """The dataset of that name, one of NAMES.

    Args:
      name: one of "scenes", "scenes-paragraphs", "flickr8k", "flickr30k", "coco", "cub",
        "paragraphs", "folder".
      path: where its captions and images lie; scenes are generated and have none, and COCO is
        downloaded where none is given.
      cache: as in `cache_folder`.
    Returns:
      Dataset, whose images are read when they are asked for.
    Raises:
      InputError: the name is unknown, or the data are not as they should be.
    """
    check_name(name)
    folder = cache_folder(cache)
    check_text(f"the cache {folder}" if cache else f"CAPJAX_CACHE={folder}", folder)
    cache = folder
    if name in DRAWN:
        if path is not None:
            raise InputError(f"scenes are generated and not read from {path}; leave the path out")
        from capjax.data import scenes

        return scenes.load(cache) if name == "scenes" else scenes.load_paragraphs(cache)
    from capjax.data import caption_files

    return caption_files.load(name, path, cache)
