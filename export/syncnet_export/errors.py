"""The errors of this package.

ExportError
├── CheckpointError    the weights cannot be read, or are not SyncNet's
├── DownloadError      the official weights cannot be fetched
├── TensorRTError      no TensorRT package, no GPU, or an engine that does not fit
└── VerificationError  an exported file is not the same network as its checkpoint
"""

__all__ = [
    "CheckpointError",
    "DownloadError",
    "ExportError",
    "TensorRTError",
    "VerificationError",
]


class ExportError(Exception):
    """Something went wrong; the message is one line that says what, and what to do."""


class CheckpointError(ExportError):
    """The weights cannot be read, or are not those of a SyncNet."""


class DownloadError(ExportError):
    """The official weights cannot be fetched."""


class TensorRTError(ExportError):
    """TensorRT is missing, has no GPU, or its engine does not fit this machine or these towers."""


class VerificationError(ExportError):
    """An exported file is not the same network as its checkpoint, within the tolerance."""
