"""The stages that a recipe can have: a file each, called as the stage is."""

import importlib
import pkgutil
from types import ModuleType


def stage_names() -> list[str]:
    """The names of all stages, `mle` first."""
    names = (found.name for found in pkgutil.iter_modules(__path__))
    return sorted(names, key=lambda name: (name != "mle", name))


def stage_file(name: str) -> ModuleType:
    """The file of a stage: its `Settings`, of `stage.Learning`, and `stage(run, settings)`."""
    return importlib.import_module(f"{__name__}.{name}")
