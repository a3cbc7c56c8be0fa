"""`python -m capjax.compile --config=configs/gan.py:coco --topology=v5e:16x16 [--config.x=y]`.

Compiles each stage of a recipe for a machine that need not be here: what a chip must hold against
what it has, what chips send one another, and what they compute. Ends with 1 where it does not fit.
"""

import sys
from collections.abc import Sequence

from absl import app, flags, logging
from ml_collections import config_flags

from capjax.command import command, tell
from capjax.compiled.of_recipe import programs_of
from capjax.compiled.sizes import Given
from capjax.compiled.table import fits, head, legend, lines, record
from capjax.compiled.targets import check_target
from capjax.errors import InputError, named
from capjax.files.places import place, stored
from capjax.files.whole import write_json
from capjax.training.flags import parse, recipe_of

_CONFIG = config_flags.DEFINE_config_file("config", None, "the recipe", lock_config=True)
_TOPOLOGY = flags.DEFINE_string(
    "topology", None, "h100, h100:8, h100:64 in hosts of 8, or a slice of TPUs, v5e:2x2"
)
_WHERE = "; default: of the data, where they are here, else as published"
_VOCABULARY = flags.DEFINE_integer("vocabulary", None, f"ids of the words{_WHERE}", lower_bound=3)
_IMAGES = flags.DEFINE_integer("images", None, f"training images{_WHERE}", lower_bound=2)
_CAPTIONS = flags.DEFINE_integer("captions", None, f"their captions{_WHERE}", lower_bound=2)
_FEATURES = flags.DEFINE_string("features", None, "the form of an image's own features: 36x2048")
_JSON = flags.DEFINE_string("json", None, "also write the figures to this file")


def main(argv: Sequence[str]) -> None:
    logging.set_verbosity(logging.FATAL)
    try:
        config, topology = recipe_of(argv, _CONFIG), str(_TOPOLOGY.value)
        given = Given(_VOCABULARY.value, _IMAGES.value, _CAPTIONS.value, _form(_FEATURES.value))
        with named("--topology", topology):
            check_target(topology)
        _check_file(_JSON.value)
        found = programs_of(config, topology, given)
        print(*head(found), sep="\n", flush=True)
        stages = []
        for one in found.stages:
            print(*lines(one, found), sep="\n", flush=True)
            stages.append(one)
        print(legend(found))
        if _JSON.value:
            write_json(place(_JSON.value), record(found, stages))
        sys.exit(0 if all(fits(one, topology) for one in stages) else 1)
    except InputError as error:
        sys.exit(tell(error, 2))


def _check_file(text: str | None) -> None:
    """Raises InputError where a file cannot be written, before anything is compiled."""
    if text is None:
        return
    with named("--json", text):
        path = place(text)
        if not text or (not stored(text) and path.is_dir()):
            raise InputError("that is no file; name one to write")
        if not stored(text) and not path.parent.is_dir():
            raise InputError(f"there is no folder {path.parent}; make it first")


def _form(text: str | None) -> tuple[int, ...] | None:
    """The form that a text tells of: "36x2048"."""
    if not text:
        return None
    sides = text.split("x")
    with named("--features", text):
        if not all(side.isdigit() and int(side) for side in sides):
            raise InputError("give the form of one image's features as 2048 or 36x2048")
    return tuple(int(side) for side in sides)


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "topology"])
    command(lambda: app.run(main, flags_parser=parse), compiles=False)
