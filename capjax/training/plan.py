"""A recipe and its stages as they are to be trained: all that can be said without data."""

import json
import sys
from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax

from capjax.errors import InputError
from capjax.models.generator import CELLS
from capjax.parallel import processes
from capjax.run.folder import read_config, saved
from capjax.run.recipe import Recipe, check_ranges, with_places
from capjax.settings import flat, lacking, read
from capjax.training.stage import Learning, Stage
from capjax.training.stages import stage_file, stage_names

# What every recipe tells; settings of stages aside.
NEEDED = (
    *("recipe", "seed", "init_from", "stages", "cell", "dim", "noise", "dropout"),
    *(f"data.{name}" for name in ("name", "path", "cache", "encoder", "resident")),
    *("data.min_count", "data.max_len", "decoding.method", "decoding.max_len"),
    *("validate_every", "save_every", "log_every", "report_images", "parallel"),
)

# What gives regions in the place of encoders that give none.
WITH_REGIONS = {"efficientnet_lite0": "efficientnet_lite0_grid", "eyes64": "eyes64_objects"}


class Planned(NamedTuple):
    """A stage of a recipe, with its settings."""

    name: str
    settings: Learning
    stage: Callable[..., Stage]  # (run, settings)


class Plan:
    """A recipe that is to be trained: its settings, and its stages in their order.

    Args:
      config: nested settings, as `get_config` of a file in configs/ makes them.
    Raises:
      InputError: naming the setting and what it may be, all that can be said without data.
    """

    recipe: Recipe
    stages: tuple[Planned, ...]
    folders: tuple[str, ...]  # settings of stages that are folders of runs, by their dotted names

    def __init__(self, config: Mapping[str, Any]):
        files = _stage_files(config)
        runs = {
            name: stage_file(name).Settings.folders
            for name in stage_names()
            if isinstance(config.get(name), Mapping)
        }
        given = with_places(config, runs)
        self.folders = tuple(f"{stage}.{name}" for stage, names in runs.items() for name in names)
        self.recipe = Recipe.of(given)
        self.stages = tuple(
            Planned(
                name,
                read(files[name].Settings, given[name], f"config.{name}."),
                files[name].stage,
            )
            for name in self.recipe.stages
        )
        self._check()

    def _check(self) -> None:
        """Raises InputError where settings do not fit one another."""
        recipe, stages = self.recipe, self.stages
        first = next((one.settings.tunes for one in stages if not one.settings.keeps_speaker), "")
        if first and not recipe.init_from:
            raise InputError(
                f"{first} starts from a captioner: name a run with --config.init_from=DIR,"
                " or put 'mle' before it in config.stages"
            )
        if recipe.concepts and (recipe.stages != ("mle",) or recipe.noise):
            raise InputError(
                "config.concepts=True is for maximum likelihood without noise; set config.stages to"
                " ('mle',) and config.noise to 0"
            )
        cell, encoder = recipe.cell, recipe.data.encoder
        if cell in CELLS and CELLS[cell].regional and (other := WITH_REGIONS.get(encoder)):
            raise InputError(
                f"config.cell={cell!r} looks at regions, and config.data.encoder={encoder!r} gives"
                f" one vector an image; take --config.data.encoder={other}"
            )
        check_ranges(recipe.decoding, "config.decoding")
        devices = jax.device_count()
        for name, settings, _ in stages:
            if settings.decoding is not None:
                check_ranges(settings.decoding, f"config.{name}.decoding")
            settings.check(recipe, f"config.{name}")
            if not (settings.epochs or settings.steps):
                raise lacking(f"config.{name}.epochs")
            parts = settings.accumulate
            if parts > 1 and not settings.accumulates:
                raise InputError(
                    f"config.{name}.accumulate={parts}: stage {name} learns from a batch as a"
                    " whole; set it to 1"
                )
            if settings.batch % (devices * parts):
                shared = f"{devices} devices" + f" in {parts} parts each" * (parts > 1)
                raise InputError(
                    f"config.{name}.batch={settings.batch} cannot be shared by {shared};"
                    f" make it a multiple of {devices * parts}"
                )


def _stage_files(config: Mapping[str, Any]) -> dict[str, ModuleType]:
    """The files of a recipe's stages. Raises InputError where it lacks what every recipe has."""
    settings = flat(config)
    if lacks := [name for name in NEEDED if name not in settings]:
        raise lacking(f"config.{lacks[0]}")
    names, known = config["stages"], stage_names()
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        which = ", ".join(map(repr, unknown)) or "no stage"
        raise InputError(f"config.stages names {which}; choose from {', '.join(known)}")
    if bare := [name for name in names if not isinstance(config.get(name), Mapping)]:
        raise InputError(
            f"config.stages names {bare[0]!r}, and the recipe has no settings config.{bare[0]} of"
            " it; take a recipe that has, or leave the stage out"
        )
    return {name: stage_file(name) for name in names}


def as_begun(plan: Plan, workdir: Path) -> Plan:
    """The plan by which a run goes on that was begun when recipes did not yet forbid `<unk>`.

    What it may say it may go on to say, or it would be another run; that is told on the terminal.
    """
    if not saved(workdir):
        return plan
    theirs = flat(read_config(workdir))
    older = [
        name
        for name, value in flat(plan.recipe.given).items()
        if name.endswith("decoding.forbid_unknown") and value and not theirs.get(name, False)
    ]
    if not older:
        return plan
    if processes.first():
        print(
            f"capjax: the run in {workdir} was begun with config.{older[0]}=False and goes on so",
            file=sys.stderr,
        )
    given = json.loads(json.dumps(plan.recipe.given))
    for name in older:
        *above, last = name.split(".")
        reduce(lambda settings, part: settings[part], above, given)[last] = False
    return Plan(given)
