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
    from syncnet_client.chunks import Chunk
    from syncnet_client.client import Source, SyncNetClient
    from syncnet_client.errors import (
        ClipCrashedError,
        ClipTooShortError,
        InferenceError,
        MediaError,
        ModelNotReadyError,
        NoAudioError,
        NoFaceError,
        NoVideoError,
        OutOfMemoryError,
        ServerError,
        ServerUnavailableError,
        SyncNetError,
        UntrustedError,
        UsageError,
    )
    from syncnet_client.faces import CropMode
    from syncnet_client.media import (
        Frame,
        Media,
        MediaBlock,
        MediaSummary,
        Picture,
        StreamInfo,
    )
    from syncnet_client.media.conversion import Conversion
    from syncnet_client.media.lossy import Losses
    from syncnet_client.media.recoding import Coding
    from syncnet_client.scoring.clip import Progress
    from syncnet_client.scoring.drift import Drift, DriftKind, Segment
    from syncnet_client.scoring.live import Measurement, Update
    from syncnet_client.scoring.options import (
        ScoreKeywords,
        ScoreOptions,
        WatchKeywords,
        WatchOptions,
    )
    from syncnet_client.scoring.protocols import Lse, Protocol, Scored, TrackRules
    from syncnet_client.scoring.result import ClipAnswer, SyncResult, TrackResult
    from syncnet_client.scoring.verdict import Reason, ReasonCode, Verdict
    from syncnet_client.transport.base import (
        ChunkAnswer,
        ChunkStream,
        Metrics,
        Scope,
        SegmentMetrics,
        Transport,
        Weights,
    )
    from syncnet_client.transport.grpc import GrpcOptions, GrpcTransport

__all__ = [
    "AsyncSyncNetClient",
    "Chunk",
    "ChunkAnswer",
    "ChunkStream",
    "ClipAnswer",
    "ClipCrashedError",
    "ClipTooShortError",
    "Coding",
    "Conversion",
    "CropMode",
    "Drift",
    "DriftKind",
    "Frame",
    "GrpcOptions",
    "GrpcTransport",
    "InferenceError",
    "Losses",
    "Lse",
    "Measurement",
    "Media",
    "MediaBlock",
    "MediaError",
    "MediaSummary",
    "Metrics",
    "ModelNotReadyError",
    "NoAudioError",
    "NoFaceError",
    "NoVideoError",
    "OutOfMemoryError",
    "Picture",
    "Progress",
    "Protocol",
    "Reason",
    "ReasonCode",
    "Scope",
    "ScoreKeywords",
    "ScoreOptions",
    "Scored",
    "Segment",
    "SegmentMetrics",
    "ServerError",
    "ServerUnavailableError",
    "Source",
    "StreamInfo",
    "SyncNetClient",
    "SyncNetError",
    "SyncResult",
    "TrackResult",
    "TrackRules",
    "Transport",
    "UntrustedError",
    "Update",
    "UsageError",
    "Verdict",
    "WatchKeywords",
    "WatchOptions",
    "Weights",
]

# Where each name that is not an error is defined.
_MODULES = {
    "AsyncSyncNetClient": "aio",
    "Chunk": "chunks",
    "Source": "client",
    "SyncNetClient": "client",
    "CropMode": "faces",
    "Frame": "media",
    "Media": "media",
    "MediaBlock": "media",
    "MediaSummary": "media",
    "StreamInfo": "media",
    "Picture": "media",
    "Coding": "media.recoding",
    "Conversion": "media.conversion",
    "Losses": "media.lossy",
    "Progress": "scoring.clip",
    "Drift": "scoring.drift",
    "DriftKind": "scoring.drift",
    "Segment": "scoring.drift",
    "Measurement": "scoring.live",
    "Update": "scoring.live",
    "ScoreKeywords": "scoring.options",
    "ScoreOptions": "scoring.options",
    "WatchKeywords": "scoring.options",
    "WatchOptions": "scoring.options",
    "ClipAnswer": "scoring.result",
    "Lse": "scoring.protocols",
    "Protocol": "scoring.protocols",
    "Scored": "scoring.protocols",
    "TrackRules": "scoring.protocols",
    "SyncResult": "scoring.result",
    "TrackResult": "scoring.result",
    "Reason": "scoring.verdict",
    "ReasonCode": "scoring.verdict",
    "Verdict": "scoring.verdict",
    "ChunkAnswer": "transport.base",
    "ChunkStream": "transport.base",
    "Metrics": "transport.base",
    "Scope": "transport.base",
    "SegmentMetrics": "transport.base",
    "Transport": "transport.base",
    "Weights": "transport.base",
    "GrpcOptions": "transport.grpc",
    "GrpcTransport": "transport.grpc",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES.get(name, 'errors')}")
    return getattr(module, name)
