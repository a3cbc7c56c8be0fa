"""The one error that a user's input can cause."""


class InputError(ValueError):
    """Bad input: one sentence that says what is wrong, where, and what to do.

    The commands print it without a traceback and exit with status 2.
    """
