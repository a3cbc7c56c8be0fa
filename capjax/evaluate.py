"""`python -m capjax.evaluate`: what a run's captions are worth, or anyone's.

python -m capjax.evaluate --workdir=DIR [--split=val] [--samples=5 --temperature=0.7]
python -m capjax.evaluate --workdir=DIR --evaluator=RUN
python -m capjax.evaluate --workdir=DIR --distractors=1 [--rationality=0.5] [--listener=RUN]
python -m capjax.evaluate --workdir=DIR --justify [--blind=RUN]
python -m capjax.evaluate --predictions=FILE --references=FILE
"""

from collections.abc import Sequence
from functools import partial

from absl import logging

from capjax.command import command, tell
from capjax.errors import InputError
from capjax.evaluation import FilesRequest, of_files, of_run, show
from capjax.evaluation.flags import parser
from capjax.evaluation.reading import read
from capjax.parallel import by_first, telling_memory


def main(argv: Sequence[str] | None = None) -> int:
    flags = parser(__doc__).parse_args(argv)
    logging.set_verbosity(logging.FATAL)  # orbax tells every step, and what is raised anyway
    try:
        request = read(flags)
        if isinstance(request, FilesRequest):
            written = by_first(partial(of_files, request))
        else:
            with telling_memory("lower --width, --samples, --candidates or --retrieval"):
                written = of_run(request)
    except InputError as error:
        return tell(error, 2)
    print(show(written.found.scores, written.title))
    for name, path in zip(("captions:", "scores:", "pairs:"), written.paths, strict=False):
        print(f"{name:9} {path}")
    return 0


if __name__ == "__main__":
    command(main, together=True)
