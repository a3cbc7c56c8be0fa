"""How far do seeds lie apart? Runs that differ in nothing but their seeds, as one row."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from capjax.comparison.measures import OF_DIGEST, measure
from capjax.comparison.rows import Row, Training
from capjax.errors import InputError
from capjax.files.places import place, resolved, stored
from capjax.files.whole import read_json
from capjax.run.recipe import BEFORE

# Settings that change no result.
_ASIDE = ("log_every", "save_every", "report_images", "parallel")
_ASIDE_OF_DATA = ("cache", "resident")
_ASIDE_OF_STAGES = ("accumulate",)
_MOST_STARTS = 20  # where runs name one another as their start, in a circle


def training(folder: Path, starts: int = _MOST_STARTS) -> Training | None:
    """What the settings in a run's folder tell of its training; None where there are none.

    Where it started from another run whose folder is there, that run's settings stand for its name:
    a chain of trainings by another seed each is one training by several seeds.
    """
    try:
        config: Any = read_json(folder / "config.json")
    except (InputError, RecursionError):
        return None
    if not isinstance(config, dict) or type(seed := config.pop("seed", None)) is not int:
        return None
    _add_settings_since(config)
    for name in _ASIDE:
        config.pop(name, None)
    for stage in config.values():
        if isinstance(stage, dict):
            for name in _ASIDE_OF_STAGES:
                stage.pop(name, None)
    if isinstance(data := config.get("data"), dict):
        for name in _ASIDE_OF_DATA:
            data.pop(name, None)
        data["path"] = _data_of(folder) or data.get("path")
    start, before = config.get("init_from"), None
    if isinstance(start, str) and start and starts:
        before = training(_found(start, folder), starts - 1)
    if before:
        config["init_from"] = json.loads(before.settings)
    return Training(json.dumps(config, sort_keys=True), (*(before.seeds if before else ()), seed))


def _add_settings_since(config: dict[str, Any]) -> None:
    """Adds to older settings what has become one since, each in its place (`BEFORE`)."""
    for name, value in BEFORE.items():
        *places, setting = name.split(".")
        home: Any = config
        for stage in places:
            home = home.get(stage) if isinstance(home, dict) else None
        if isinstance(home, dict):
            home.setdefault(setting, value)


def _data_of(folder: Path) -> Any:
    """What a run's data hold, wherever they lay; None where an older run does not tell."""
    try:
        return read_json(folder / "data.json")["splits"]
    except (InputError, KeyError, TypeError, RecursionError):
        return None


def _found(start: str, folder: Path) -> Path:
    """The folder of a run that another names; a relative one as seen from above that other."""
    if stored(start):
        return place(start)
    above = (parent / start for parent in resolved(folder).parents)
    return next((path for path in above if (path / "config.json").is_file()), Path(start))


def over_seeds(rows: Sequence[Row]) -> list[Row]:
    """Comparable rows, with their mean in the place of those that differ by their seeds alone.

    Those are evaluations by the same decoding of runs whose settings are equal but for the seeds of
    their trainings. A mean has the measures that all of them have, by the same judges.
    """
    families: dict[Any, list[Row]] = {}
    for row in rows:
        decoding = repr(sorted(row.decoding.items()))
        alike = (row.trained.settings, row.n_samples, decoding) if row.trained else id(row)
        families.setdefault(alike, []).append(row)
    averaged = []
    for family in families.values():
        seeds = {row.trained.seeds for row in family if row.trained}
        several = len(family) == len(seeds) > 1  # no run evaluated twice
        averaged += [_mean(family)] if several else family
    return averaged


def _mean(rows: Sequence[Row]) -> Row:
    scores, reasons = {}, {}
    for name in dict.fromkeys(name for row in rows for name in row.scores):
        lack = ", ".join(row.run for row in rows if name not in row.scores)
        if lack:
            reasons[name] = f"not of every seed: {lack} has no value"
        elif len({row.apart(measure(name)) for row in rows}) > 1:
            one = measure(name)
            what = one.judge or OF_DIGEST.get(one.depends) or "distractors"
            reasons[name] = f"the {what} of every seed is another, or not told"
        else:
            scores[name] = mean([row.scores[name] for row in rows])
    return rows[0]._replace(
        run=called([row.run for row in rows]),
        step=_common([row.step for row in rows]),
        seed=_common([row.seed for row in rows]),
        scores=scores,
        reasons={name: why for row in rows for name, why in row.reasons.items()} | reasons,
        over=tuple(rows),
        spread={name: deviation([row.scores[name] for row in rows]) for name in scores},
    )


def _common(values: Sequence[int | None]) -> int | None:
    return values[0] if len(set(values)) == 1 else None


def called(runs: Sequence[str]) -> str:
    """A name for runs that differ by their seeds: "cl (3 seeds)" for cl, cl-s1 and cl-seed2."""
    stems = {re.sub(r"([-_. ]+(seed|s)?[-_. ]*)?\d+$", "", run) for run in runs}
    name = stems.pop() if len(stems) == 1 else ""
    return f"{name or ' + '.join(runs)} ({len(runs)} seeds)"


def mean(values: Sequence[float]) -> float:
    """The mean; of whole numbers that are all equal that number."""
    return values[0] if len(set(values)) == 1 else fmean(values)


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of what the values are a sample of (n - 1)."""
    return 0 if len(set(values)) == 1 else stdev(values)
