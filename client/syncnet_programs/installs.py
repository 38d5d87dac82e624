"""What this package's own metadata says: its version, and what its extras install.

This package is on no index, so the command that installs what is missing names the packages
themselves. A checkout that is not installed, but on PYTHONPATH, has no metadata.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires, version

__all__ = ["install_command", "package_version"]

_DISTRIBUTION = "syncnet-triton"


def install_command(extra: str) -> str:
    """Return the command that installs what the extra ``extra`` of this package does."""
    try:
        stated = requires(_DISTRIBUTION) or ()
    except PackageNotFoundError:
        return f"pip install -c constraints.txt '.[{extra}]' in the checkout"
    wanted = re.compile(rf"\s*([^;]+);.*\bextra == '{extra}'")
    found = filter(None, map(wanted.match, stated))
    return " ".join(["pip install", *(f"'{each[1].strip()}'" for each in found)])


def package_version() -> str:
    """The version of this package; ``not-installed`` where only its source is there."""
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return "not-installed"
