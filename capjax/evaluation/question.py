"""What can a run be asked about images? Plainly for captions, or one of the two other kinds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from capjax.data.feature_files import FeatureFiles
from capjax.data.features import Encoder
from capjax.data.prepare import Prepared
from capjax.evaluation.data import Encoded, RunData
from capjax.evaluation.of_speaker import Answer
from capjax.evaluation.text_measures import Evaluation
from capjax.run import Recipe


class Question(Protocol):
    """What is asked of a run. Each kind says in what it is unlike asking plainly for captions.

    In the order in which an evaluation asks: `checked` before images are encoded, `with_images`
    and `asked` after, then `answer`.
    """

    def own_decoding(self, recipe: Recipe) -> Mapping[str, Any]:
        """How a run of a recipe speaks where nothing else is said."""
        return recipe.decoding

    def checked(self, data: RunData, decoding: Mapping[str, Any]) -> Self:
        """With the other runs that it needs; InputError where it cannot be asked so."""
        return self

    def check_encoder(self, encoder: Encoder | FeatureFiles) -> None:
        """Raises InputError where an encoder cannot see all images that it needs."""
        return None

    def with_images(self, seen: Encoded, decoding: Mapping[str, Any]) -> Self:
        """With what depends on how the run sees the images."""
        return self

    def pictures(
        self, prepared: Prepared, split: str, encoder: Encoder | FeatureFiles
    ) -> np.ndarray:
        """A split's images, and what else is seen beside them, as an encoder has them."""
        return prepared.images[split]

    def asked(self, seen: Encoded) -> Encoded:
        """The data with an entry in the split for each time that the question is asked."""
        return seen

    def answer(self, seen: Encoded, decoding: Mapping[str, Any], seed: int) -> Answer:
        """What the run answers."""
        return Answer()

    def finished(self, seen: Encoded, found: Evaluation) -> Evaluation:
        """With what only it measures."""
        return found

    def write(
        self, folder: Path, mark: str, seen: Encoded, decoding: Mapping[str, Any]
    ) -> tuple[Path, ...]:
        """Writes what is to be seen beside captions and scores: the pages, named by a mark."""
        return ()

    @property
    def notes(self) -> list[str]:
        """What stands beside the scores and in no table."""
        return []

    @property
    def title(self) -> str:
        """What is asked, in words."""
        return ""

    @property
    def mark(self) -> str:
        """What is asked, in the names of files."""
        return ""


@dataclass(frozen=True)
class Plain(Question):
    """What does the run say of each image?"""
