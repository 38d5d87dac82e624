"""Turn a SyncNet checkpoint into the towers that Triton serves.

    from syncnet_export import build

    result = build("syncnet_v2.model", precisions=["fp32", "int8"])
    print(result.version)

Names are imported when they are first used, so that building TensorRT engines does not need
PyTorch, and downloading weights without either.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncnet_export.building import Build, build
    from syncnet_export.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from syncnet_export.errors import (
        CheckpointError,
        DownloadError,
        ExportError,
        TensorRTError,
        VerificationError,
    )

__all__ = [
    "Build",
    "Checkpoint",
    "CheckpointError",
    "DownloadError",
    "ExportError",
    "TensorRTError",
    "VerificationError",
    "build",
    "load_checkpoint",
    "save_checkpoint",
]

_MODULES = {
    "Build": "building",
    "Checkpoint": "checkpoint",
    "build": "building",
    "load_checkpoint": "checkpoint",
    "save_checkpoint": "checkpoint",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES.get(name, 'errors')}")
    return getattr(module, name)
