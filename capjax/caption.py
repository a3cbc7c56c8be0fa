"""`python -m capjax.caption --workdir=DIR photo.jpg [more.jpg | folder]`: captions of any photo.

A folder's photos are its own, by their endings and not hidden; what is left out is told. Which
files can be read, and as what pixels, says capjax.data.photo_pixels.

With --distractor=other.jpg [--rationality=0.5], captions that tell the photo from the other; of a
run that is told classes, with --concept=NAME [--against=NAME], captions that say why it is of the
one and not of the other.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from absl import logging

from capjax.command import command, json_line
from capjax.data.photo_files import photo_files
from capjax.decoding.speaking import METHODS, decoding_of
from capjax.decoding.telling_apart import apart_decoding
from capjax.errors import InputError, named
from capjax.evaluation.photo_lines import check_paragraphs, lines, row
from capjax.evaluation.photos import Request, caption_photos
from capjax.files.paths import check_path
from capjax.run import Recipe, open_run

# Of draws, where a recipe has no temperature of its own: at 1 a captioner of our size says
# word salad (docs/results.md).
TEMPERATURE = 0.5


def flag_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="capjax.caption", description=__doc__)
    parser.add_argument(
        "photos", nargs="+", help="photos, or folders of photos, of which hidden files are none"
    )
    parser.add_argument("--workdir", required=True, help="the folder of a training run")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--greedy", action="store_true", help="the likeliest word at every step")
    how.add_argument("--beam", type=int, metavar="WIDTH", help="beam search (default: the recipe)")
    how.add_argument("--samples", type=int, metavar="N", help="N drawn captions a photo")
    parser.add_argument(
        "--temperature",
        type=float,
        help=f"of the draws (default: the recipe's, if it draws, else {TEMPERATURE}); at 1, as"
        " it was trained, a captioner says more that makes no sense",
    )
    parser.add_argument("--top-p", type=float, help="of the draws: nucleus sampling")
    parser.add_argument(
        "--allow-unknown",
        action="store_true",
        help="say <unk>, the word for all rare ones, where it comes; without, it is never said",
    )
    parser.add_argument(
        "--block-trigrams", action=argparse.BooleanOptionalAction, help="say no 3 words twice"
    )
    parser.add_argument(
        "--distractor", nargs="+", default=[], help="photos that each photo is to be told from"
    )
    parser.add_argument(
        "--rationality",
        type=float,
        help="with --distractor or --against, 0 to 1 (default: 0.5): less holds down more of what"
        " fits both",
    )
    parser.add_argument("--concept", default="", help="the class of the photos, of a run told one")
    parser.add_argument("--against", default="", help="a class that they are not of")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--paragraph", action="store_true", help="of paragraphs: a line a sentence")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def read_flags(flags: argparse.Namespace) -> Request:
    """Raises InputError where flags do not fit one another, or what they name is not there."""
    photos = photo_files(flags.photos)
    if flags.beam is not None and flags.beam < 1:
        raise InputError(f"--beam={flags.beam} must be at least 1")
    if flags.rationality is not None and not (flags.distractor or flags.against):
        raise InputError(
            "--rationality has no meaning without --distractor or --against; leave it out"
        )
    if flags.against and not flags.concept:
        raise InputError("--against has no meaning without --concept; name the photo's class")
    rationality = 0.5 if flags.rationality is None else flags.rationality
    with named("--distractor", " ".join(flags.distractor)):
        distractors = photo_files(flags.distractor)
    check_path("--workdir", flags.workdir, "run")
    with named("--workdir", flags.workdir):
        run = open_run(flags.workdir)
    check_paragraphs(run, flags.workdir, flags.paragraph)
    return Request(
        run,
        photos,
        _decoding(flags, run.recipe),
        flags.seed,
        distractors,
        rationality,
        flags.concept,
        flags.against,
    )


def _decoding(flags: argparse.Namespace, recipe: Recipe) -> dict[str, Any]:
    """How the flags have captions decoded by a run of this recipe."""
    method = "greedy" if flags.greedy else "beam" if flags.beam is not None else None
    for name in ("temperature", "top_p"):
        if method and (value := getattr(flags, name)) is not None:
            raise InputError(
                f"--{name.replace('_', '-')}={value} has no meaning for {method}, which draws"
                " nothing; leave it out, or draw with --samples=N"
            )
    decoding = decoding_of(
        apart_decoding(recipe.decoding, recipe.noise) if flags.distractor else recipe.decoding,
        method="sample" if flags.samples is not None else method,
        width=flags.beam,
        samples=flags.samples,
        temperature=flags.temperature,
        top_p=flags.top_p,
        forbid_unknown=not flags.allow_unknown,
        block_trigrams=flags.block_trigrams,
    )
    if "temperature" in METHODS[decoding["method"]]:
        own = recipe.decoding.get("temperature", TEMPERATURE)
        decoding = {"temperature": own} | decoding
    return decoding


def main(argv: Sequence[str] | None = None) -> int:
    flags = flag_parser().parse_args(argv)
    logging.set_verbosity(logging.FATAL)  # orbax tells every step, and what is raised anyway
    try:
        request = read_flags(flags)
        captions = caption_photos(*request)
    except InputError as error:
        print(f"capjax: {error}", file=sys.stderr)
        return 2
    for path, spoken in zip(request.photos, captions, strict=True):
        if flags.json:
            print(json_line(row(path, spoken, flags.paragraph)))
        else:
            print("\n".join(lines(path, spoken, len(request.photos) > 1, flags.paragraph)))
    return 0


if __name__ == "__main__":
    command(main)
