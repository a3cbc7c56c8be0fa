"""The flags of `capjax.evaluate`, checked beside one another and read into what is asked for."""

import argparse
from pathlib import Path
from typing import Any

from capjax.decoding.telling_apart import RANKED, Teller
from capjax.errors import InputError
from capjax.evaluation.data import Places
from capjax.evaluation.justified import Justified
from capjax.evaluation.question import Plain, Question
from capjax.evaluation.request import FilesRequest, RunRequest
from capjax.evaluation.told_apart import ToldApart
from capjax.files.paths import check_path, check_text
from capjax.files.places import resolved
from capjax.metrics.official import METRICS, QUICK
from capjax.metrics.spice import spice_missing

# Settings of a decoding that replace the recipe's.
DECODING = (
    *("samples", "temperature", "top_k", "top_p", "width", "groups", "diversity"),
    *("candidates", "branch", "rollouts", "forbid_unknown", "block_trigrams"),
)
# Flags that have a meaning for one of the two only.
RUN_ONLY = (
    *("decoding", *DECODING, "seed", "path", "features", "cache"),
    *("retrieval", "evaluator", "listener", "distractors", "hard", "twins"),
    *("rationality", "speaker", "guide", "justify", "triplets", "blind"),
)
FILES_ONLY = ("references", "known", "subset", "ids", "paragraphs")


# What must be there, or can be made, by flag.
PATHS = {
    "workdir": "run",
    "predictions": "file",
    "out": "new",
    "path": "data",
    "features": "folder",
    "cache": "cache",
    "evaluator": "run",
    "listener": "run",
    "guide": "run",
    "blind": "run",
    "triplets": "file",
    "references": "file",
    "known": "file",
}


def read(flags: argparse.Namespace) -> RunRequest | FilesRequest:
    """What is asked for; InputError where flags do not fit one another, or name no such path."""
    _check(flags)
    metrics = _metrics(flags)
    if flags.workdir is None:
        return _of_files(flags, metrics)
    kinds = ("evaluator", "listener")
    return RunRequest(
        workdir=flags.workdir,
        split=flags.split or "val",
        out=flags.out or flags.workdir,
        metrics=metrics,
        question=_question(flags),
        decoding=_decoding(flags),
        seed=flags.seed,
        retrieval=flags.retrieval,
        judges={kind: getattr(flags, kind) for kind in kinds if getattr(flags, kind)},
        places=Places(flags.path, flags.features, flags.cache),
    )


def _of_files(flags: argparse.Namespace, metrics: tuple[str, ...]) -> FilesRequest:
    if not flags.references:
        raise InputError("--predictions needs --references=FILE, the captions of people")
    return FilesRequest(
        predictions=flags.predictions,
        references=flags.references,
        out=flags.out or f"evaluation-{Path(flags.predictions).stem}",
        metrics=metrics,
        known=flags.known,
        split=flags.split,
        subset=flags.subset,
        ids=flags.ids,
        paragraphs=flags.paragraphs,
    )


def _question(flags: argparse.Namespace) -> Question:
    rationality = 0.5 if flags.rationality is None else flags.rationality
    if flags.justify:
        return Justified(rationality, flags.triplets or "", flags.blind or "")
    if not flags.distractors:
        return Plain()
    teller = Teller(flags.speaker or Teller().name, rationality)
    if flags.candidates is not None:
        teller = teller._replace(candidates=flags.candidates)
    kind = "twins" if flags.twins else "hard" if flags.hard else "nearest"
    return ToldApart(flags.distractors, kind, teller, flags.guide or "")


def _decoding(flags: argparse.Namespace) -> dict[str, Any]:
    """Changes of the recipe's decoding, as of `decoding_of`."""
    drawn = flags.samples is not None and flags.decoding is None
    changes = {name: getattr(flags, name) for name in DECODING}
    if flags.speaker in RANKED:
        changes["candidates"] = None  # they are the speaker's
    return {"method": "sample" if drawn else flags.decoding, **changes}


def _metrics(flags: argparse.Namespace) -> tuple[str, ...]:
    """The official metrics that are wanted; InputError where SPICE is required and not there."""
    if flags.quick:
        return QUICK
    if flags.spice == "require" and (why := spice_missing()):
        raise InputError(f"SPICE is required and cannot be had: {why}")
    return tuple(name for name in METRICS if name != "spice" or flags.spice != "off")


def _check(flags: argparse.Namespace) -> None:
    """Raises InputError for a flag that has no meaning beside the others, or names no such path."""
    _check_together(flags)
    for name, kind in PATHS.items():
        if getattr(flags, name) is not None:
            check_path(f"--{name}", getattr(flags, name), kind)
    if flags.cache is not None:
        check_text(f"--cache={flags.cache}", flags.cache)
    if flags.guide and flags.listener and _same(flags.guide, flags.listener):
        raise InputError(
            f"--guide and --listener are both {flags.guide}: a listener that a speaker asks cannot"
            " judge it; train another on the other half of the images"
        )


def _same(folder: str, other: str) -> bool:
    return resolved(folder) == resolved(other)


def _check_together(flags: argparse.Namespace) -> None:
    if flags.spice == "require" and flags.quick:
        raise InputError("--quick leaves SPICE out and --spice=require asks for it; take one")
    if flags.listener and not (flags.retrieval or flags.distractors):
        raise InputError(
            "--listener ranks images by captions; say among how many with --retrieval=1000, or out"
            " of which with --distractors=1"
        )
    for name in ("hard", "twins", "speaker", "guide"):
        if getattr(flags, name) not in (None, False) and not flags.distractors:
            raise InputError(f"--{name} has no meaning without --distractors; leave it out")
    for name in ("triplets", "blind"):
        if getattr(flags, name) and not flags.justify:
            raise InputError(f"--{name} has no meaning without --justify; leave it out")
    if flags.rationality is not None and not (flags.distractors or flags.justify):
        raise InputError(
            "--rationality has no meaning without --distractors or --justify; leave it out"
        )
    if flags.justify and flags.distractors:
        raise InputError("--justify tells classes apart and --distractors images; take one")
    if flags.justify and (flags.evaluator or flags.listener or flags.retrieval):
        raise InputError(
            "--justify has questions in the place of images, which nobody ranks or judges; leave"
            " out --evaluator, --listener and --retrieval"
        )
    if flags.hard and flags.twins:
        raise InputError("--hard and --twins name different distractors; take one")
    if flags.guide and flags.speaker != "reasoning":
        raise InputError("--guide has no meaning without --speaker=reasoning; leave it out")
    if flags.speaker in RANKED and flags.width is not None:
        raise InputError(
            f"--width has no meaning for the {flags.speaker} speaker, whose beam is as wide as it"
            " has candidates; give --candidates"
        )
    if flags.rationality is not None and not 0 <= flags.rationality <= 1:
        raise InputError(f"--rationality={flags.rationality} must be from 0 to 1")
    other = RUN_ONLY if flags.workdir is None else FILES_ONLY
    given = [name for name in other if getattr(flags, name) not in (None, False, 0)]
    if flags.workdir is None and flags.forbid_unknown is False:
        given.append("allow_unknown")
    if flags.workdir is None and flags.block_trigrams is False:
        given.append("no_block_trigrams")
    if given:
        mine = "--predictions" if flags.workdir is None else "--workdir"
        raise InputError(f"--{given[0].replace('_', '-')} has no meaning with {mine}; leave it out")
