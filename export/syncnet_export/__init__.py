"""Turn a SyncNet checkpoint into the towers that Triton serves."""

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
