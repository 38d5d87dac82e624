"""The errors of this package: `ServerError`, and nothing below it."""


class ServerError(Exception):
    """The server cannot start, or died; the message is one line that says why and what to do."""
