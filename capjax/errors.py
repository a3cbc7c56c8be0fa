"""The one error that a user's input can cause."""

import contextlib
from collections.abc import Iterator


class InputError(ValueError):
    """Bad input: one sentence that says what is wrong, where, and what to do.

    The commands print it without a traceback and exit with status 2.
    """


@contextlib.contextmanager
def named(flag: str, value: object) -> Iterator[None]:
    """Puts the flag before what is wrong with what it names."""
    try:
        yield
    except InputError as error:
        if str(error).startswith(flag):
            raise
        raise InputError(f"{flag}={value}: {error}") from error
