"""A trained speaker out of a run's folder, and what judges it."""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from capjax.data.vocabulary import Vocabulary
from capjax.errors import InputError
from capjax.files.places import place
from capjax.files.whole import read_json
from capjax.judging import Evaluator
from capjax.models.evaluator import evaluator
from capjax.models.generator import CELLS, generator
from capjax.models.listener import listener
from capjax.models.paragraph_evaluator import paragraph_evaluator
from capjax.models.paragraphs import paragraph_generator
from capjax.parallel import by_first
from capjax.run.checkpoint import Checkpoints
from capjax.run.folder import best_folder, read_config, saved
from capjax.run.recipe import Recipe
from capjax.speaker import Params, Speaker

JUDGES = {"evaluator": evaluator, "listener": listener}
PARAGRAPH = "paragraph"  # the cell that speaks several sentences


class Trained(NamedTuple):
    """A speaker out of a run's folder, ready to speak."""

    recipe: Recipe  # the run's settings
    vocabulary: Vocabulary  # its words
    speaker: Speaker  # as the recipe describes it
    params: Params  # the speaker's
    step: int  # of the stage, at which they were the best
    evaluator: Evaluator | None = None  # the evaluator that the run trained, where it did
    evaluator_params: Params | None = None  # and its parameters
    concepts: tuple[str, ...] = ()  # the classes that the speaker is told, by name

    @property
    def judge(self) -> tuple[Evaluator, Params] | None:
        """The evaluator and its parameters, for decoding that asks it."""
        return (self.evaluator, self.evaluator_params) if self.evaluator else None


def speaker_of(recipe: Recipe, vocab_size: int, image: tuple, concepts: int = 0) -> Speaker:
    """The speaker that a recipe describes.

    Args:
      concepts: how many classes it is told one of.
    Raises:
      InputError: its settings do not fit one another or the images.
    """
    names = ["dim", "noise", "dropout", "input_dropout", "dtype", "sight"]
    if recipe.cell == PARAGRAPH:
        if concepts:
            raise InputError(
                f"config.cell={PARAGRAPH!r} is told no classes; set config.concepts to False, or"
                f" config.cell to one of {', '.join(CELLS)}"
            )
        make: Callable[..., Speaker] = paragraph_generator
        names += ["sentences", "look", "noise_parts", "hears"]
    else:
        make = partial(generator, cell=recipe.cell, concepts=concepts)
    try:
        return make(vocab_size, image, **{name: getattr(recipe, name) for name in names})
    except ValueError as error:
        raise InputError(f"the captioner cannot be made: {error}") from error


def evaluator_of(recipe: Recipe, vocab_size: int, image: tuple) -> Evaluator | None:
    """The evaluator or listener that a recipe describes; None where it has none.

    Raises:
      InputError: its settings do not fit one another or the images.
    """
    if not (kind := recipe.judged_by):
        return None
    make: Callable[..., Evaluator] = JUDGES[kind]
    if kind == "evaluator" and recipe.cell == PARAGRAPH:
        make = partial(paragraph_evaluator, sentences=recipe.sentences)
    try:
        return make(
            vocab_size,
            image,
            dim=recipe.evaluator_dim,
            dropout=recipe.evaluator_dropout,
            dtype=recipe.dtype,
            sight=recipe.sight,
        )
    except ValueError as error:
        raise InputError(f"the {kind} cannot be made: {error}") from error


def check_sentences(recipe: Recipe, vocabulary: Vocabulary) -> None:
    """Raises InputError where a speaker of paragraphs is given single sentences."""
    if recipe.cell == PARAGRAPH and not vocabulary.sentences:
        raise InputError(
            f"config.cell={PARAGRAPH!r} speaks paragraphs, and the captions of {recipe.data.name}"
            f" are single sentences; set config.cell to one of {', '.join(CELLS)}, or take"
            f" --config.data.name=scenes-paragraphs"
        )


def image_kind(encoder: str, shape: Iterable[int]) -> tuple:
    """What the generator is told of images: from the encoder's name and the shape of one output."""
    shape = tuple(int(s) for s in shape)
    if encoder.startswith("pixels"):
        return ("pixels", *shape[:2])
    return ("features", *shape) if len(shape) == 1 else ("regions", *shape)


def open_run(workdir: str | Path, stage: str | None = None) -> Trained:
    """The trained speaker of a run, the best by validation, and its evaluator if it has one.

    Args:
      workdir: the run's folder, on a disk or on gs://.
      stage: after which of its stages; None: after the last that has got so far.
    Returns:
      Trained, whose speaker every decoder, loss and measure takes.
    Raises:
      InputError: the folder holds no run, or none of its checkpoints can be read.
    """
    workdir = place(workdir)
    if not workdir.is_dir():
        raise InputError(f"there is no folder {workdir}; give the folder of a training run")
    config = read_config(workdir)
    try:
        recipe = Recipe.of(config)
    except InputError as error:
        path = workdir / "config.json"
        raise InputError(f"{path} is damaged: {error}; restore it or start anew") from error
    stages = recipe.stages
    if stage is not None and stage not in stages:
        raise InputError(f"the run in {workdir} has no stage {stage!r}; it has {', '.join(stages)}")
    wanted = [stage] if stage else list(reversed(stages))
    folders = [best_folder(workdir, stages, name) for name in wanted]
    folder = by_first(lambda: next((f for f in folders if saved(workdir, f.name)), None))
    if folder is None:
        after = f" of stage {stage}" if stage else ""
        raise InputError(
            f"{workdir} has no checkpoint{after} yet;"
            " run capjax.train with it until a first validation"
        )
    vocabulary = Vocabulary.load(workdir / "vocabulary.json")
    concepts = read_json(workdir / "concepts.json") if recipe.concepts else []
    made: dict[str, Any] = {"evaluator": None}

    def like(note):
        image = tuple(note["image"])
        made["speaker"] = speaker_of(recipe, len(vocabulary), image, len(concepts))
        form = {"params": jax.eval_shape(made["speaker"].init, jax.random.key(0))}
        if note.get("evaluator"):
            made["evaluator"] = evaluator_of(recipe, len(vocabulary), image)
            form["evaluator"] = jax.eval_shape(made["evaluator"].init, jax.random.key(0))
        return form

    with contextlib.closing(Checkpoints(folder, keep=None)) as best:
        found = best.restore(like)
    assert found is not None  # a checkpoint was seen above
    step, state, _ = found
    return Trained(
        recipe,
        vocabulary,
        made["speaker"],
        state["params"],
        step,
        made["evaluator"],
        state.get("evaluator"),
        tuple(concepts),
    )


def check_classes(where: str, theirs: Sequence[str], ours: Sequence[str]) -> None:
    """Raises InputError where a run is told other classes than the dataset or a recipe has."""
    if tuple(theirs) != tuple(ours):
        counts = [f"{len(names)} classes" if names else "none" for names in (theirs, ours)]
        raise InputError(
            f"the run in {where} is told {counts[0]}, and not the same as here ({counts[1]}): the"
            " names or their order differ; take the dataset that it was trained on, or train anew"
        )


def fingerprint(params: Params) -> str:
    """Eight hexadecimal digits that tell parameters from others, wherever they lie."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:8]
