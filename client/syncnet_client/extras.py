"""Import what only some users need, and name the command that installs what is missing.

This package is on no index, so the command names the packages themselves, as this package's own
metadata has them.
"""

from __future__ import annotations

import importlib
import re
from importlib.metadata import requires
from typing import Any

from syncnet_client.errors import SyncNetError

__all__ = ["install_command", "require"]


def require(module: str, *, extra: str) -> Any:
    """Import ``module``, which the extra ``extra`` of this package installs.

    Raises:
        SyncNetError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SyncNetError(
            f"this needs {module.split('.')[0]}: {install_command(extra)}"
        ) from error


def install_command(extra: str) -> str:
    """Return the command that installs what the extra ``extra`` of this package does."""
    wanted = re.compile(rf"\s*([^;]+);.*\bextra == '{extra}'")
    found = filter(None, map(wanted.match, requires("syncnet-triton") or ()))
    return " ".join(["pip install", *(f"'{each[1].strip()}'" for each in found)])
