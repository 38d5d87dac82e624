"""Import what only some users need, and name the command that installs what is missing."""

from __future__ import annotations

import importlib
from typing import Any

from syncnet_client.errors import SyncNetError
from syncnet_programs.installs import install_command

__all__ = ["require"]


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
