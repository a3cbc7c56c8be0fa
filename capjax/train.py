"""`python -m capjax.train --config=configs/mle.py[:dataset] [--workdir=DIR] [--config.x=y]`."""

import sys
from collections.abc import Sequence

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from capjax.command import command, stopped, tell
from capjax.errors import InputError
from capjax.parallel.memory import telling_memory
from capjax.training import Interrupted, train

_CONFIG = config_flags.DEFINE_config_file("config", None, "the recipe", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "the run's folder; default runs/RECIPE-DATASET")
_STOP_STATUS = flags.DEFINE_integer(
    "stop_status", 0, "what it ends with when a signal has stopped it", 0, 255
)


def main(argv: Sequence[str]) -> None:
    logging.set_verbosity(logging.FATAL)  # orbax tells every step, and what is raised anyway
    try:
        if len(argv) > 1:
            raise InputError(f"{argv[1]!r} is no flag; settings are given as --config.x=y")
        try:
            if not isinstance(recipe := _CONFIG.value, ConfigDict):
                raise InputError("get_config() of the file of --config must return a ConfigDict")
            config = recipe.to_dict()
        except OSError as error:  # where --config names no file, this is when it is told
            why = " ".join(str(error).split()).partition("Attempted ")[2]
            raise InputError(f"the recipe of --config cannot be loaded: {why or error}") from error
        config["stages"] = list(config.get("stages", ()))
        if _WORKDIR.value == "":
            raise InputError("--workdir= is empty; give a folder, or leave --workdir out")
        # What a stage's batch is at fault for, the stage tells itself.
        with telling_memory("lower config.data.resident, config.dim or the stage's batch"):
            train(config, _WORKDIR.value, stop_status=_STOP_STATUS.value)
    except InputError as error:
        sys.exit(tell(error, 2))
    except Interrupted as error:
        sys.exit(stopped(error, _STOP_STATUS.value))


def _parse(argv: Sequence[str]) -> list[str]:
    """Reads the flags; the recipe is read with them."""
    try:
        return flags.FLAGS(argv)
    except AttributeError as error:
        if "get_config" in str(error):
            sys.exit(tell("the file of --config has no get_config(), which makes the recipe", 2))
        name = str(error).strip("\"'")
        sys.exit(tell(f"the recipe has no setting {name!r}; the file of --config names them", 2))
    except (flags.Error, OSError, ImportError, SyntaxError, TypeError, ValueError) as error:
        sys.exit(tell(" ".join(str(error).split()), 2))
    except Exception as error:  # whatever the recipe's own code raises
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        sys.exit(tell(f"the recipe of --config cannot be loaded: {told}; correct the file", 2))


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    command(lambda: app.run(main, flags_parser=_parse), together=True)
