"""What can be tried with a run that has ended? Commands with its folder in them, that work."""

import runpy
import shlex
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from capjax.data.feature_files import PREFIX
from capjax.data.photo_files import PhotoFiles
from capjax.errors import InputError
from capjax.files.places import stored
from capjax.run.recipe import Recipe
from capjax.settings import flat
from capjax.training.plan import Plan
from capjax.training.stage import Run
from capjax.training.telling import watched

# Recipes lie beside the library where it is used from its source tree, as README.md says.
RECIPES = Path(__file__).parents[2] / "configs"
TUNED_BY = {
    "contrastive": "tune it to fit its image better than others'",
    "self_critical": "tune it for CIDEr-D",
}
# What a recipe that tunes has of its own; all else must be as in the run that it starts from.
OWN = ("recipe", "stages", "init_from", "seed", "judge", "noise_law", "parallel", "report_images")
OWN_STARTS = ("evaluator_", "decoding.", "validate_", "save_", "log_")
RANKED = 1000  # images that a listener ranks


class Step(NamedTuple):
    """Something to try, and the command that does it."""

    what: str
    command: str


def next_steps(run: Run, plan: Plan, classes: tuple[str, ...] = ()) -> list[Step]:
    """What there is to try with a run whose stages have all been learnt.

    Args:
      classes: of its dataset, where the speaker is told them.
    """
    workdir, recipe = run.workdir, run.recipe
    own = shlex.quote(f"--workdir={workdir}")
    encoder, told = recipe.data.encoder, recipe.concepts
    steps = []
    if not stored(workdir):
        report = (Path(workdir).absolute() / "report.html").as_uri()
        steps.append(Step("look at the report", f"python -m webbrowser {shlex.quote(report)}"))
    if encoder != "none":
        if not told and find_spec("capjax.demo"):
            steps.append(Step("play with it on a page", f"python -m capjax.demo {own}"))
        if not encoder.startswith(PREFIX):
            steps.append(_caption(run, own, classes))
    steps.append(
        Step(
            "measure five captions of each image, and how they differ",
            f"python -m capjax.evaluate {own} --samples=5 --temperature=0.7",
        )
    )
    if encoder != "none":
        steps += _apart(run, own)
    if plan.stages[-1].settings.keeps_speaker:
        steps += _judging(run)
    else:
        steps += _tuning(run, plan)
    return steps


def _caption(run: Run, own: str, classes: tuple[str, ...]) -> Step:
    split, photo = run.validation.split, "photo.jpg"
    if isinstance(split.image, PhotoFiles):
        photo = split.image.files[watched(split)[0]]
    asked = f"python -m capjax.caption {own} {shlex.quote(photo)}"
    for flag, name in zip(("--concept", "--against"), classes[:2], strict=False):
        asked += f" {shlex.quote(f'{flag}={name}')}"
    asked += " --paragraph" if run.vocabulary.sentences else ""
    return Step(f"caption an image of your own in the place of {Path(photo).name}", asked)


def _apart(run: Run, own: str) -> Iterator[Step]:
    """What tells images apart, or justifies a class."""
    asked, split = f"python -m capjax.evaluate {own}", run.validation.split
    if run.recipe.concepts:
        yield Step("say why an image is of its class and no other", f"{asked} --justify")
    elif split.truth is not None:
        what = "tell each image from its four near twins"
        yield Step(what, f"{asked} --distractors=4 --twins --rationality=0.5")
    elif len(split.ids) > 1:
        what = "tell each image from the most alike of others"
        yield Step(what, f"{asked} --distractors=1 --hard --rationality=0.5")


def _judging(run: Run) -> Iterator[Step]:
    """What the run has trained a judge for."""
    recipe, count = run.recipe, len(run.validation.split.ids)
    if not recipe.init_from or (recipe.judged_by == "listener" and count < 2):
        return
    asked = f"python -m capjax.evaluate {shlex.quote(f'--workdir={recipe.init_from}')}"
    judge = shlex.quote(f"--{recipe.judged_by}={run.workdir}")
    ranks = f" --retrieval={min(RANKED, count)}" if recipe.judged_by == "listener" else ""
    yield Step("have it judge the captioner that it began with", f"{asked} {judge}{ranks}")


def _tuning(run: Run, plan: Plan) -> Iterator[Step]:
    """The recipes that can start from the run."""
    recipe = run.recipe
    if recipe.noise or recipe.concepts or len(run.training.split.ids) < 2:
        return
    for name, what in TUNED_BY.items():
        file = RECIPES / f"{name}.py"
        if file.exists() and name != plan.stages[-1].name:
            flags = _flags(file, name, recipe, run.workdir)
            if flags is not None:
                yield Step(what, " ".join(["python -m capjax.train", *map(shlex.quote, flags)]))


def _flags(file: Path, name: str, recipe: Recipe, workdir: Path) -> list[str] | None:
    """The flags by which a recipe's stage of this name starts from a run; None where it cannot."""
    config = runpy.run_path(str(file))["get_config"](recipe.data.name)
    given = config.to_dict()
    stages = [
        key for key, value in given.items() if isinstance(value, Mapping) and "batch" in value
    ]
    changes = _changes(flat(given), flat(recipe.given), stages)
    own: dict[str, Any] = {} if tuple(config.stages) == (name,) else {"stages": (name,)}
    config.update_from_flattened_dict(changes | own | {"init_from": str(workdir)})
    try:
        Plan(config.to_dict())
    except InputError:
        return None
    here = Path.cwd()
    shown = file.relative_to(here) if file.is_relative_to(here) else file
    return [
        f"--config={shown}:{recipe.data.name}",
        f"--config.init_from={workdir}",
        *(f'--config.{key}=("{name}",)' for key in own),  # which a shell need not escape
        *(f"--config.{key}={value}" for key, value in changes.items()),
        f"--workdir={workdir}-{name}",
    ]


def _changes(theirs: Mapping[str, Any], ours: Mapping[str, Any], stages: list[str]) -> dict:
    """The settings of a recipe that must be another run's."""
    starts = (*OWN_STARTS, *(f"{stage}." for stage in stages))
    shared = [name for name in theirs if name not in OWN and not name.startswith(starts)]
    if "decoding.max_len" in theirs:
        shared.append("decoding.max_len")
    return {name: ours[name] for name in shared if name in ours and ours[name] != theirs[name]}


def steps_told(steps: list[Step]) -> str:
    """Steps as they stand on a terminal."""
    return "\n".join(
        ["what to try next:", *(f"  {step.what}:\n    {step.command}" for step in steps)]
    )
