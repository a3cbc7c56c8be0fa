"""`python -m capjax.demo --workdir=RUN [--workdir=RUN2 ...]`: a page to play with runs on.

Drop a photo, take a scene that is drawn anew, or an image of the run's own: what the run says by
beam search, by drawing, by the best of its draws; and, beside others, what tells it from them, as
the rationality is dragged. With --listener=RUN, which of them a listener would pick.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from absl import logging

from capjax.command import command
from capjax.errors import InputError
from capjax.page import open_answers
from capjax.page.ready import How

LARGEST = 20  # MB


def flag_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="capjax.demo", description=__doc__)
    parser.add_argument(
        "--workdir",
        required=True,
        action="append",
        metavar="RUN",
        help="the folder of a training run; several stand side by side",
    )
    parser.add_argument(
        "--listener",
        default="",
        metavar="RUN",
        help="the folder of a run of configs/listener.py, which picks images by their captions",
    )
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for all of a network")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument(
        "--largest", type=int, default=LARGEST, metavar="MB", help="upload that is taken"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    flags = flag_parser().parse_args(argv)
    logging.set_verbosity(logging.FATAL)  # orbax tells every step, and what is raised anyway
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when it is imported
    try:
        try:
            from capjax.page.serving import Address, serve
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("capjax"):
                raise
            raise InputError(
                f"the page needs Gradio, and there is no {error.name}; install it with"
                ' pip install -e ".[demo]"'
            ) from error
        if flags.largest < 1:
            raise InputError(f"--largest={flags.largest} must be at least 1 MB")
        answers, missing = open_answers(flags.workdir, flags.listener)
        recipe = answers.voices[0].run.run.recipe
        how = How(temperature=recipe.decoding.get("temperature", How().temperature))
        for sentence in missing:
            print(f"capjax: {sentence}", file=sys.stderr)
        serve(answers, Address(flags.host, flags.port), how, flags.largest)
    except InputError as error:
        print(f"capjax: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    command(main)
