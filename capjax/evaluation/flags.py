"""The flags of `capjax.evaluate`, and what they mean beside one another."""

import argparse

from capjax.data.image_ids import IDS
from capjax.decoding.speaking import METHODS
from capjax.decoding.telling_apart import TELLERS
from capjax.errors import InputError
from capjax.files.paths import check_path, check_text
from capjax.metrics.official import METRICS, QUICK
from capjax.metrics.spice import spice_missing

# Flags that have a meaning for one of the two only.
RUN_ONLY = (
    *("decoding", "samples", "temperature", "top_k", "top_p", "width", "groups", "diversity"),
    *("candidates", "branch", "rollouts", "forbid_unknown", "seed", "path", "features", "cache"),
    *("retrieval", "evaluator", "listener", "distractors", "hard", "twins"),
    *("rationality", "speaker", "guide", "justify", "triplets", "blind"),
)
FILES_ONLY = ("references", "known", "subset", "ids")


def metrics_of(flags: argparse.Namespace) -> tuple[str, ...]:
    """The official metrics that are wanted; InputError where SPICE is required and not there."""
    if flags.quick:
        return QUICK
    if flags.spice == "require" and (why := spice_missing()):
        raise InputError(f"SPICE is required and cannot be had: {why}")
    return tuple(name for name in METRICS if name != "spice" or flags.spice != "off")


# What must be there, or can be made, by flag.
PATHS = {
    "workdir": "run",
    "predictions": "file",
    "out": "new",
    "path": "data",
    "features": "folder",
    "cache": "new",
    "evaluator": "run",
    "listener": "run",
    "guide": "run",
    "blind": "run",
    "triplets": "file",
    "references": "file",
    "known": "file",
}


def check_flags(flags: argparse.Namespace) -> None:
    """Raises InputError for a flag that has no meaning beside the others, or names no such path."""
    _check_together(flags)
    for name, kind in PATHS.items():
        if getattr(flags, name) is not None:
            check_path(f"--{name}", getattr(flags, name), kind)
    if flags.cache is not None:
        check_text(f"--cache={flags.cache}", flags.cache)


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
    if flags.rationality is not None and not 0 <= flags.rationality <= 1:
        raise InputError(f"--rationality={flags.rationality} must be from 0 to 1")
    other = RUN_ONLY if flags.workdir is None else FILES_ONLY
    given = [name for name in other if getattr(flags, name) not in (None, False, 0)]
    if flags.workdir is None and flags.forbid_unknown is False:
        given.append("allow_unknown")
    if given:
        mine = "--predictions" if flags.workdir is None else "--workdir"
        raise InputError(f"--{given[0].replace('_', '-')} has no meaning with {mine}; leave it out")


def parser(about: str) -> argparse.ArgumentParser:
    """The command's flags; about: what its help begins with."""
    made = argparse.ArgumentParser(
        prog="capjax.evaluate",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = made.add_mutually_exclusive_group(required=True)
    what.add_argument("--workdir", help="the folder of a training run")
    what.add_argument(
        "--predictions",
        help="captions: JSON lines, also of capjax.caption --json, COCO results, {id: caption}",
    )
    made.add_argument(
        "--out",
        help="the folder to write to; default: the run's. Scores of the same captions and data take"
        " the place of those there, and what these held more is told",
    )
    made.add_argument("--split", help="train, val or test, of --references; default val, of a run")
    made.add_argument("--quick", action="store_true", help="without METEOR and SPICE")
    made.add_argument("--spice", choices=("auto", "require", "off"), default="auto")
    run = made.add_argument_group("captions of a run")
    run.add_argument("--decoding", choices=METHODS, help="default: as the recipe says")
    run.add_argument("--samples", type=int, help="captions an image: drawn, or the best beams")
    run.add_argument(
        "--temperature", type=float, help="of the draws (default: as the recipe says, else 1)"
    )
    run.add_argument("--top-k", type=int, help="of the draws")
    run.add_argument("--top-p", type=float, help="of the draws: nucleus sampling")
    run.add_argument("--width", type=int, help="beam width")
    run.add_argument("--groups", type=int, help="of diverse beam search")
    run.add_argument("--diversity", type=float, help="of diverse beam search, in nats")
    run.add_argument(
        "--candidates",
        type=int,
        help="that best_of, or the introspective or reasoning speaker, ranks",
    )
    run.add_argument("--branch", type=int, help="of guided search: words tried of a hypothesis")
    run.add_argument("--rollouts", type=int, help="of guided search: completions of each of them")
    unknown = run.add_mutually_exclusive_group()
    unknown.add_argument(
        "--forbid-unknown",
        action="store_const",
        const=True,
        help="never say <unk> (default: as the recipe says; it may be said in a run that is older)",
    )
    unknown.add_argument(
        "--allow-unknown",
        action="store_const",
        const=False,
        dest="forbid_unknown",
        help="say <unk> where it is the likeliest word",
    )
    run.add_argument("--seed", type=int, default=0, help="of the draws")
    run.add_argument(
        "--retrieval", type=int, default=0, metavar="J", help="self-retrieval among J images"
    )
    run.add_argument(
        "--evaluator",
        metavar="RUN",
        help="the folder of a run of configs/evaluator.py, which judges the captions: E-NGAN",
    )
    run.add_argument(
        "--listener",
        metavar="RUN",
        help="the folder of a run of configs/listener.py, which ranks the images of --retrieval",
    )
    run.add_argument(
        "--distractors",
        type=int,
        default=0,
        metavar="M",
        help="tell each image from the M nearest ones",
    )
    run.add_argument(
        "--hard", action="store_true", help="from those near that are captioned most alike"
    )
    run.add_argument(
        "--twins",
        action="store_true",
        help="from those unlike it in one attribute, which generated images have",
    )
    run.add_argument(
        "--speaker",
        choices=TELLERS,
        help="who tells images apart (default: emitter_suppressor)",
    )
    run.add_argument(
        "--guide",
        metavar="RUN",
        help="the listener that the reasoning speaker asks: the folder of a run of"
        " configs/listener.py, another than --listener",
    )
    run.add_argument(
        "--rationality", type=float, help="0 to 1 (default 0.5): at 1 distractors are not heeded"
    )
    run.add_argument(
        "--justify",
        action="store_true",
        help="say why each image is of its class and not of another, of a run that is told classes",
    )
    run.add_argument(
        "--triplets",
        metavar="FILE",
        help="of images and two classes each, as capjax.data.justify_files describes; default: a"
        " class like the image's own",
    )
    run.add_argument(
        "--blind",
        metavar="RUN",
        help="the listener is a run that is told classes and sees nothing: semi-blind",
    )
    run.add_argument(
        "--path",
        help="where the run's dataset lies, if it has moved; of other data the scores have files"
        " of their own",
    )
    run.add_argument(
        "--features",
        metavar="DIR",
        help="where the run's features lie, of config.data.encoder=files:DIR, if they have moved;"
        " of others the scores have files of their own",
    )
    run.add_argument("--cache", help="where what was made of datasets is kept")
    files = made.add_argument_group("captions of a file")
    files.add_argument(
        "--references",
        help="COCO annotations, Karpathy JSON, JSON lines, BLIP's, LAVIS' and TextCaps' lists, a"
        " folder's captions.json or captions.csv, Kaggle's tables, Flickr8k.token.txt",
    )
    files.add_argument(
        "--known",
        help="training captions, for the share of novel ones: split train of a file that has"
        " splits, else all of it",
    )
    files.add_argument(
        "--ids",
        choices=IDS,
        help="how images are called, where a name fits two of them: by ids alone, or by names of"
        " files alone, with or without an ending. Default: a name with a picture's ending is a"
        " file's, any other is an id and fits the same id alone (1 is neither 001 nor 1.jpg);"
        " COCO_val2014_000000391895 is 391895, too",
    )
    files.add_argument("--subset", action="store_true", help="score the images with a caption only")
    return made
