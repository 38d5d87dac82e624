"""Measure audio-visual sync of talking-head clips with SyncNet on a Triton server.

    from syncnet_client import SyncNetClient

    with SyncNetClient("localhost:8001") as client:
        result = client.score("interview.mp4")
    print(result.offset_ms, result.confidence, result.verdict.trusted)

Names are imported when they are first used, so that the command line and the constants in
``syncnet_client.contract`` do not wait for gRPC and FFmpeg.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncnet_client.aio import AsyncSyncNetClient
    from syncnet_client.client import SyncNetClient
    from syncnet_client.errors import (
        ClipTooShortError,
        InferenceError,
        MediaError,
        ModelNotReadyError,
        NoAudioError,
        NoFaceError,
        NoVideoError,
        ServerError,
        ServerUnavailableError,
        SyncNetError,
        UntrustedError,
        UsageError,
    )
    from syncnet_client.scoring.clip import Progress
    from syncnet_client.scoring.drift import Drift, OffsetWindow
    from syncnet_client.scoring.live import Update
    from syncnet_client.scoring.result import SyncResult, TrackResult
    from syncnet_client.scoring.verdict import Reason, Verdict
    from syncnet_client.transport.grpc import GrpcOptions

__all__ = [
    "AsyncSyncNetClient",
    "ClipTooShortError",
    "Drift",
    "GrpcOptions",
    "InferenceError",
    "MediaError",
    "ModelNotReadyError",
    "NoAudioError",
    "NoFaceError",
    "NoVideoError",
    "OffsetWindow",
    "Progress",
    "Reason",
    "ServerError",
    "ServerUnavailableError",
    "SyncNetClient",
    "SyncNetError",
    "SyncResult",
    "TrackResult",
    "UntrustedError",
    "Update",
    "UsageError",
    "Verdict",
]

_MODULES = {
    "AsyncSyncNetClient": "aio",
    "Drift": "scoring.drift",
    "GrpcOptions": "transport.grpc",
    "OffsetWindow": "scoring.drift",
    "Progress": "scoring.clip",
    "Reason": "scoring.verdict",
    "SyncNetClient": "client",
    "SyncResult": "scoring.result",
    "TrackResult": "scoring.result",
    "Update": "scoring.live",
    "Verdict": "scoring.verdict",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES.get(name, 'errors')}")
    return getattr(module, name)
