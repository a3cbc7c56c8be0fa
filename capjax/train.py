"""`python -m capjax.train --config=configs/mle.py[:dataset] [--workdir=DIR] [--config.x=y]`."""

import faulthandler
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from absl import app, flags, logging
from ml_collections import config_flags

from capjax.command import command, stopped, tell
from capjax.errors import InputError
from capjax.parallel import processes
from capjax.parallel.memory import telling_memory
from capjax.training import Interrupted, train
from capjax.training.flags import parse, recipe_of

_CONFIG = config_flags.DEFINE_config_file("config", None, "the recipe", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "the run's folder; default runs/RECIPE-DATASET")
_STOP_STATUS = flags.DEFINE_integer(
    "stop_status", 0, "what it ends with when a signal has stopped it", 0, 255
)


def main(argv: Sequence[str]) -> None:
    logging.set_verbosity(logging.FATAL)  # orbax tells every step, and what is raised anyway
    if processes.count() > 1:
        faulthandler.disable()  # which absl enables: a lost process is no fault of this one
    # Before there is anything to save, and after all is done.
    signal.signal(signal.SIGTERM, _stop)
    try:
        config = recipe_of(argv, _CONFIG)
        if _WORKDIR.value == "":
            raise InputError("--workdir= is empty; give a folder, or leave --workdir out")
        # What a stage's batch is at fault for, the stage tells itself.
        with telling_memory("lower config.data.resident, config.dim or the stage's batch"):
            train(config, _WORKDIR.value, stop_status=_STOP_STATUS.value)
    except InputError as error:
        sys.exit(tell(error, 2))
    except Interrupted as error:
        sys.exit(stopped(error, _STOP_STATUS.value))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted("SIGTERM: stopped; run the same command again to go on")


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    command(lambda: app.run(main, flags_parser=parse), together=True)
