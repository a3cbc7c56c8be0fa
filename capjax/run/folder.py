"""A run's folder: what is in it, and whose it is."""

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from capjax.data import cache_folder
from capjax.errors import InputError
from capjax.files.places import stored
from capjax.files.whole import read_json
from capjax.run.recipe import plain

# Settings that do not change what a run computes: a run may go on with others.
FREE = ("data.path", "data.cache", "data.resident", "log_every", "save_every", "report_images")

# What orbax writes last; on a store a checkpoint has its name while it is being written.
WHOLE = "commit_success.txt"

# Folders: runs of older versions named them as seen from where they were started.
PLACES = ("init_from", "data.encoder")


def read_config(workdir: Path) -> dict[str, Any]:
    """The settings of a run. Raises InputError where there are none or they are damaged."""
    config = read_json(workdir / "config.json")
    wanted = ("data", "decoding", "cell", "dim", "noise", "dropout")
    if not isinstance(config, dict) or (lacks := [name for name in wanted if name not in config]):
        what = f"lacks {', '.join(lacks)}" if isinstance(config, dict) else "holds no settings"
        raise InputError(f"{workdir / 'config.json'} {what}; restore it or start anew")
    return config


def lock_of(workdir: Path, cache: str = "") -> Path:
    """The file that keeps a second command out of a run's folder.

    A store has no locks: there it is a file of the cache, and keeps out those of this machine.
    """
    if not stored(workdir):
        return workdir / "run"
    name = hashlib.sha256(str(workdir).encode()).hexdigest()[:16]
    return cache_folder(cache) / "runs" / name


def saved(workdir: Path, kind: str = "*") -> bool:
    """Whether there is a checkpoint, of the kind "last" or "best*" or of any."""
    return any(
        found.name.isdigit() and (not stored(found) or (found / WHOLE).exists())
        for found in (workdir / "checkpoints").glob(f"{kind}/*")
    )


def check_claim(
    workdir: Path,
    config: Mapping[str, Any],
    free: Collection[str] = (),
    places: Collection[str] = (),
) -> bool:
    """Checks that a folder is free or belongs to a run of this recipe with these settings.

    A folder without a checkpoint is free: what came of a first try there is begun anew anyway.

    Args:
      free: settings beside FREE that may be others.
      places: settings beside PLACES that are folders.
    Returns:
      Whether it is such a run's.
    Raises:
      InputError: it belongs to a run with other settings (the first few are named).
    """
    if not saved(workdir):
        return False
    theirs, ours = plain(read_config(workdir)), plain(config)
    differ = [
        f"{name} is {theirs.get(name)!r} there and {ours.get(name)!r} here"
        for name in sorted(theirs.keys() | ours.keys())
        if theirs.get(name) != ours.get(name)
        and name not in (*FREE, *free)
        and not (name in (*PLACES, *places) and one_place(theirs.get(name), ours.get(name)))
    ]
    if differ:
        more = f" ({len(differ) - 3} more differ)" if len(differ) > 3 else ""
        raise InputError(
            f"{workdir} belongs to another run: {'; '.join(differ[:3])}{more};"
            " choose another --workdir, or the settings of that run"
        )
    return True


def one_place(relative: Any, absolute: Any) -> bool:
    """Whether an absolute folder may be what a run called by a relative name."""
    if not (isinstance(relative, str) and isinstance(absolute, str) and relative):
        return False
    kinds = [name.partition(":")[0] if ":" in name else "" for name in (relative, absolute)]
    names = [name.rpartition(":")[2] for name in (relative, absolute)]
    if kinds[0] != kinds[1] or os.path.isabs(names[0]):
        return False
    parts = [part for part in Path(os.path.normpath(names[0])).parts if part not in ("..", ".")]
    return list(Path(os.path.normpath(names[1])).parts[-len(parts) :]) == parts if parts else True


def best_folder(workdir: Path, stages: Sequence[str], stage: str) -> Path:
    """Where the best checkpoint of a stage lies: the last stage's in `best`, as what is spoken."""
    name = "best" if stage == stages[-1] else f"best-{stage}"
    return workdir / "checkpoints" / name
