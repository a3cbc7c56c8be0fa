"""The flags of `capjax.evaluate`."""

import argparse
from typing import Any

from capjax.data.image_ids import IDS
from capjax.decoding.speaking import METHODS
from capjax.decoding.telling_apart import TELLERS

Group = Any  # argparse has no public name for a group of flags


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
    _of_decoding(run)
    _of_judges(run)
    _of_questions(run)
    _of_places(run)
    _of_files(made.add_argument_group("captions of a file"))
    return made


def _of_decoding(run: Group) -> None:
    """How the run speaks."""
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
    run.add_argument(
        "--block-trigrams",
        action=argparse.BooleanOptionalAction,
        help="never say three words running that the caption holds already (default: as the recipe"
        " says)",
    )
    run.add_argument("--seed", type=int, default=0, help="of the draws")


def _of_judges(run: Group) -> None:
    """Who judges what it says."""
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


def _of_questions(run: Group) -> None:
    """What it is asked."""
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


def _of_places(run: Group) -> None:
    """Where its data lie."""
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


def _of_files(files: Group) -> None:
    """What captions of a file are scored against."""
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
    files.add_argument(
        "--paragraphs",
        action="store_true",
        help="captions are of several sentences: measure these, too (a run tells it itself)",
    )
