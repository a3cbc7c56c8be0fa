"""The stages of a recipe, compiled for a machine that is not here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
from jax import ShapeDtypeStruct

from capjax.compiled import targets
from capjax.compiled.sizes import Given, Sizes, read_data, sizes_of
from capjax.compiled.stage_programs import (
    NARROW,
    Asked,
    StageProgram,
    each_stage,
)
from capjax.compiled.stand_in import Networks, as_people_end, few_of, resident, stand_in, words_of
from capjax.data import Dataset, Vocabulary
from capjax.errors import InputError
from capjax.files.places import place
from capjax.run.recipe import Recipe
from capjax.run.trained import evaluator_of, image_kind, speaker_of
from capjax.training.plan import Plan


class RecipePrograms(NamedTuple):
    """A recipe for a machine; its programs are compiled as they are asked for."""

    target: str
    chips: int
    recipe: Recipe
    sizes: Sizes
    resident: bool  # whether images lie on each chip
    stages: Iterator[StageProgram]


def programs_of(
    config: Mapping[str, Any],
    target: str,
    given: Given | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> RecipePrograms:
    """Compiles each stage's update of a recipe for all chips of a machine that need not be here.

    No photo is read, no run of `init_from` is needed, and nothing trains.

    Args:
      config: as `get_config` of a file in configs/ makes it.
      target: "h100", "h100:8", or a slice of TPUs, "v5e:16x16".
      given: sizes of the data that are not to be looked for.
      devices: in the place of the machine's, as many as there are, such as virtual ones of a CPU.
    Raises:
      InputError: the recipe, the machine, or data that are not here nor known; a batch that so many
        chips cannot share; what compiles for the machine is not installed.
    """
    plan, asked = asked_of(config, target, given or Given(), devices)
    kept = resident(plan.recipe, asked.sizes)
    stages = each_stage(asked, plan.stages)
    return RecipePrograms(target, len(asked.devices), plan.recipe, asked.sizes, kept, stages)


def asked_of(
    config: Mapping[str, Any],
    target: str,
    given: Given,
    devices: Sequence[jax.Device] | None = None,
) -> tuple[Plan, Asked]:
    """The plan of a recipe, and all of it that is compiled; as of `programs_of`."""
    if devices is None:
        targets.check_target(target)
        targets.prepare(target)
    plan = Plan(_startable(config))
    recipe = plan.recipe
    _check_batches(plan, targets.chips_of(target), target)
    dataset = read_data(recipe)
    vocabulary = _vocabulary(recipe, dataset)
    sizes = sizes_of(recipe, dataset, vocabulary, given)
    if vocabulary is None or len(vocabulary) != sizes.vocabulary:
        dataset, vocabulary = None, words_of(sizes)
    split = few_of(dataset, vocabulary, sizes)
    image = image_kind(recipe.data.encoder, sizes.form.shape)
    form, kind = _narrow(sizes.form, image)
    wide = _networks(recipe, sizes, image)
    narrow = _networks(replace(recipe, dim=NARROW, evaluator_dim=NARROW), sizes, kind)
    runs = (
        stand_in(recipe, wide, vocabulary, split, image, form),
        stand_in(recipe, as_people_end(narrow, vocabulary), vocabulary, split, kind, form),
    )
    return plan, Asked(target, list(devices or targets.devices(target)), *runs, sizes)


def _networks(recipe: Recipe, sizes: Sizes, image: tuple) -> Networks:
    return (
        speaker_of(recipe, sizes.vocabulary, image, sizes.classes),
        evaluator_of(recipe, sizes.vocabulary, image),
    )


def _startable(config: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe with a run to start from: programs ask its form alone, which is the recipe's."""
    return {**config, "init_from": config.get("init_from") or "any captioner"}


def _vocabulary(recipe: Recipe, dataset: Dataset | None) -> Vocabulary | None:
    """Of the run that is started from, or of the training captions; None where neither is here."""
    path = place(recipe.init_from) / "vocabulary.json"
    if path.is_file():
        return Vocabulary.load(path)
    if dataset is None:
        return None
    texts = (text for each in dataset.splits["train"].captions for text in each)
    return Vocabulary.build(texts, recipe.data.min_count, sentences=dataset.sentences)


def _narrow(form: ShapeDtypeStruct, image: tuple) -> tuple[ShapeDtypeStruct, tuple]:
    """The form of narrower images, and what the speaker is told of them; pixels stay."""
    if image[0] == "pixels":
        return form, image
    shape = (*form.shape[:-1], min(NARROW, form.shape[-1]))
    return ShapeDtypeStruct(shape, form.dtype), (image[0], *shape)


def _check_batches(plan: Plan, chips: int, target: str) -> None:
    """Raises InputError where chips cannot share the batches, with the next that they can."""
    odd = []
    for name, settings, _ in plan.stages:
        each = chips * settings.accumulate
        if rest := settings.batch % each:
            odd.append((name, settings.batch, settings.batch + each - rest))
    if odd:
        told = " and ".join(f"config.{name}.batch={batch}" for name, batch, _ in odd)
        flags = " ".join(f"--config.{name}.batch={enough}" for name, _, enough in odd)
        raise InputError(
            f"{told} cannot be shared by the {chips} chips of {target}; the next that can: {flags}"
        )
