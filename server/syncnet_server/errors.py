"""The errors of this package: `ServingError`, and nothing below it."""


class ServingError(Exception):
    """The server cannot start, or died; the message is one line that says why and what to do."""
