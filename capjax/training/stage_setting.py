"""What the stages of a run share, and what they hand on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from capjax.data.split import Split
from capjax.data.vocabulary import Vocabulary
from capjax.judging import Evaluator
from capjax.objectives.evaluator_training import Noise
from capjax.run.checkpoint import Checkpoints
from capjax.run.folder import Trained
from capjax.speaker import Params, Speaker


class Learnt(NamedTuple):
    """What the stages of a run have learnt so far; None for what is still to be made."""

    speaker: Params | None = None
    evaluator: Params | None = None


class Setting(NamedTuple):
    """What the stages of a run share."""

    config: Mapping[str, Any]
    workdir: Path
    speaker: Speaker
    evaluator: Evaluator | None  # where the recipe trains one
    vocabulary: Vocabulary
    image: tuple  # what the speaker is told of images
    training: Split
    pictures: np.ndarray  # its images, [M, ...]
    data: dict[str, jax.Array]  # of both what is kept on the device, a row a caption
    split: Split  # the validation split
    images: np.ndarray  # its images
    validation: dict[str, jax.Array]  # and its captions, a row a caption
    last: Checkpoints
    reference: Trained | None = None  # of contrastive learning, where it is another run


def noise_of(config: Mapping[str, Any]) -> Noise:
    """What a recipe's speaker draws its noise from, when it learns to use it."""
    return Noise(config["noise"], config.get("noise_law", "uniform"))


def decoding_after(config: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """How captions are spoken after a stage: as the stage says, else as the recipe does."""
    return dict(options.get("decoding") or config["decoding"])
