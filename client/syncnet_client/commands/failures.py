"""How errors look on the command line."""

from __future__ import annotations

__all__ = ["PROGRAM", "one_line"]

PROGRAM = "syncnet-client"


def one_line(error: Exception) -> str:
    """The error as one line; libraries below may have put line breaks into their sentences."""
    return f"{PROGRAM}: {' '.join(str(error).split())}"
