"""What may be looked at on the page: a photo that someone drops, a scene drawn anew, a run's own.

A picture is seen once by every encoder of the page when it comes, and then kept as what they saw.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from capjax.data import scenes
from capjax.data.features import Encoder
from capjax.data.photo_files import PhotoFiles
from capjax.data.photo_pixels import Unreadable, proportions, squashed
from capjax.data.prepare import resized, sized
from capjax.data.split import Split
from capjax.data.tokens import tokenize
from capjax.errors import InputError

SHOWN = 320  # pixels of a photo's longer side, as it is kept for the page

Encoders = Mapping[str, Encoder]  # by their names in recipes


class Picture(NamedTuple):
    """An image, and what the page's runs see of it."""

    name: str
    look: np.ndarray  # uint8 [H, W, 3], for people
    seen: Mapping[str, np.ndarray]  # [...] of each encoder, by its name in recipes
    people: tuple[str, ...] = ()  # what people said of it, where they did
    scene: Mapping[str, Any] | None = None  # what was drawn, where it was
    twins: tuple[Mapping[str, Any], ...] = ()  # scenes unlike it in one attribute


class Album(NamedTuple):
    """A split of a dataset to choose pictures from."""

    name: str
    split: Split
    features: dict[str, np.ndarray]  # [M, ...] of who sees features made elsewhere
    words: Sequence[frozenset[str]]  # [M], that people said of each

    def picture(self, row: int, encoders: Encoders) -> Picture:
        """One of its images."""
        split = self.split
        seen = _seen(encoders, lambda size: sized(split.image, size, row))
        seen |= {name: np.asarray(rows[row]) for name, rows in self.features.items()}
        look = split.image(row)
        if isinstance(split.image, PhotoFiles):  # which are squashed for the encoders
            look = photo(Path(split.image.files[row]), split.ids[row], {}).look
        one = Picture(split.ids[row], look, seen, split.captions[row])
        if not split.truth:
            return one
        about = split.truth[row]
        return one._replace(scene=about["scene"], twins=tuple(about["distractors"]))

    def alike(self, texts: Sequence[str], number: int, but: str = "") -> list[int]:
        """The images whose people said most the same as these texts: rows, the most alike first.

        Args:
          but: the id of an image that is none of them.
        """
        mine = words_of(texts)
        common = [len(mine & words) / max(1, len(mine | words)) for words in self.words]
        order = np.argsort(-np.array(common), kind="stable").tolist()
        return [row for row in order if self.split.ids[row] != but][:number]


def words_of(texts: Sequence[str]) -> frozenset[str]:
    """All words of some captions."""
    return frozenset(word for text in texts for word in tokenize(text))


def photo(path: Path, name: str, encoders: Encoders) -> Picture:
    """The photo in a file, upright.

    Args:
      name: what the file is called to people.
    Raises:
      InputError: it cannot be read.
    """
    try:
        seen = _seen(encoders, lambda size: squashed(path, size))
        look = _upright(path)
    except FileNotFoundError as error:
        raise InputError(f"the photo {name} has gone; drop it once more") from error
    except Unreadable as error:
        raise InputError(f"the photo {name} {error}") from error
    return Picture(name, look, seen)


def drawn(seed: int, encoders: Encoders) -> Picture:
    """The scene of a number, with what people might say of it and its near twins."""
    rng = np.random.default_rng(seed)
    scene = scenes.random_scene(rng)
    people = tuple(scenes.describe(rng, scene))
    twins = tuple(scenes.random_distractors(rng, scene))
    return of_scene(f"scene {seed}", scene, encoders)._replace(people=people, twins=twins)


def of_scene(name: str, scene: Mapping[str, Any], encoders: Encoders) -> Picture:
    """A scene, drawn."""
    look = scenes.draw(scene)
    seen = _seen(encoders, lambda size: resized(look, size))
    return Picture(name, look, seen, scene=scene)


def _upright(path: Path) -> np.ndarray:
    """A photo in its own proportions: uint8 [H, W, 3]. Raises as `squashed`."""
    wide = proportions(path)
    sides = (SHOWN, SHOWN / wide) if wide > 1 else (SHOWN * wide, SHOWN)
    width, height = (max(1, round(side)) for side in sides)
    return np.array(Image.fromarray(squashed(path, SHOWN)).resize((width, height)))


def _seen(encoders: Encoders, pixels: Callable[[int], np.ndarray]) -> dict[str, np.ndarray]:
    """What encoders make of one image. pixels: side -> uint8 [side, side, 3]."""
    return {
        name: np.asarray(encoder.apply(pixels(encoder.size)[None]))[0]
        for name, encoder in encoders.items()
    }
