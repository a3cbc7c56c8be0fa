"""What every dataset becomes: images, and what people wrote about them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Split(NamedTuple):
    """One split of a dataset; M images with R captions each (R may vary)."""

    ids: tuple[str, ...]  # [M], unique
    captions: tuple[tuple[str, ...], ...]  # [M][R], as people wrote them, none empty
    image: Callable[[int], np.ndarray]  # index -> uint8 [H, W, 3], read when asked for
    truth: tuple[Mapping[str, Any], ...] | None = None  # generated images only: what is in them
    concepts: tuple[int, ...] | None = None  # [M], each image's class, where there are classes


class Dataset(NamedTuple):
    """All splits of a dataset, and a name for what is cached of it."""

    splits: Mapping[str, Split]  # "train", "val", and "test" where there is one
    fingerprint: str  # changes whenever the images or the captions do; safe as a file name
    concepts: tuple[str, ...] = ()  # the names of its classes
    sentences: bool = False  # whether its captions are paragraphs, of several sentences
