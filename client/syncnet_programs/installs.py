"""The command that installs what only some users need.

This package is on no index, so the command names the packages themselves, as this package's own
metadata has them.
"""

from __future__ import annotations

import re
from importlib.metadata import requires

__all__ = ["install_command"]


def install_command(extra: str) -> str:
    """Return the command that installs what the extra ``extra`` of this package does."""
    wanted = re.compile(rf"\s*([^;]+);.*\bextra == '{extra}'")
    found = filter(None, map(wanted.match, requires("syncnet-triton") or ()))
    return " ".join(["pip install", *(f"'{each[1].strip()}'" for each in found)])
