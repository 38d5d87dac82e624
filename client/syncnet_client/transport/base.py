"""What the client needs from a server, however it is reached.

``GrpcTransport`` (in ``transport.grpc``) is the one for use; tests put their own in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from syncnet_client.chunks import Chunk

__all__ = ["ChunkAnswer", "ChunkStream", "Metrics", "Scope", "SegmentMetrics", "Transport"]

Scope = Literal["clip", "chunk"]


@dataclass(frozen=True, eq=False)
class ChunkAnswer:
    """Distances of one chunk: float32 [K, 2*vshift+1], where windows start at ``first_window``."""

    track: int
    first_window: int
    distances: npt.NDArray[np.float32]


@dataclass(frozen=True)
class SegmentMetrics:
    """What ``sync_metrics`` says about one segment of the rows.

    Attributes:
        start: index of its first row.
        offset: frames; positive when the audio is ahead of the video.
        confidence: median minus minimum of the segment's mean distances.
    """

    start: int
    offset: int
    confidence: float


@dataclass(frozen=True, eq=False)
class Metrics:
    """What the model ``sync_metrics`` says about a number of rows of distances.

    Attributes:
        offset: frames; positive when the audio is ahead of the video.
        confidence: median minus minimum of the mean distances (LSE-C).
        min_distance: minimum of the mean distances (LSE-D).
        frame_confidence: float32 [K].
        segments: the same of equal segments of the rows, where that was asked for.
    """

    offset: int
    confidence: float
    min_distance: float
    frame_confidence: npt.NDArray[np.float32]
    segments: tuple[SegmentMetrics, ...] = ()


class ChunkStream(Protocol):
    """A conversation with the server about the chunks of one clip; not for several threads."""

    def send(self, chunk: Chunk) -> None:
        """Send a chunk; wait first while as many as allowed are unanswered."""
        ...

    def received(self) -> Sequence[ChunkAnswer]:
        """The answers that have come since the last call, in any order, without waiting."""
        ...

    def finish(self) -> Sequence[ChunkAnswer]:
        """Wait until every chunk is answered; the answers not yet taken."""
        ...

    def close(self) -> None:
        """Give up what is unanswered."""
        ...

    def __enter__(self) -> ChunkStream: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Transport(Protocol):
    """A way to a server. Several threads may use it at once, each with a stream of its own."""

    def check_ready(self) -> None:
        """Make sure that the server can score, in one attempt.

        Raises:
            ServerUnavailableError: nothing answers.
            ModelNotReadyError: a model is not loaded.
        """
        ...

    def model_versions(self, *, max_age_s: float = 0) -> dict[str, str]:
        """The versions of the weights that answer, ``{"video_tower": "2", ...}``.

        Args:
            max_age_s: an answer of the server that is no older will do; 0 asks anew.
        """
        ...

    def open_stream(self) -> ChunkStream:
        """Start a conversation about one clip."""
        ...

    def measure(
        self, distances: npt.NDArray[np.float32], scope: Scope, *, segment_windows: int = 0
    ) -> Metrics:
        """Ask ``sync_metrics`` about rows of distances, in one request.

        Args:
            distances: float32 [K, 2*vshift+1].
            scope: tells the server's statistics whether these are all rows of a clip or some.
            segment_windows: rows of a segment; all segments have the same length, the last one
                reaches back. 0: no segments.
        """
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...
