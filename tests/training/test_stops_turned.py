"""A stop that other code turns into an error of its own is a stop all the same."""

import os
import signal

import pytest

from capjax.errors import InputError
from capjax.training.stopping import Interrupted, StopSignal


def turned(other):
    """Is stopped, deep in code that raises another error of it."""
    with StopSignal():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except BaseException as error:
            raise other("initialization failed") from error


@pytest.mark.parametrize("other", [ImportError, InputError])
def test_an_error_that_came_of_a_stop_is_a_stop(other):
    """As C modules that are being imported, and readers of files, turn what is raised in them."""
    with pytest.raises(Interrupted, match="SIGTERM"):
        turned(other)


def test_another_error_stays_what_it_is():
    with pytest.raises(ImportError, match="no module"), StopSignal():
        raise ImportError("no module")
