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

__all__ = [
    "ChunkAnswer",
    "ChunkStream",
    "Metrics",
    "Scope",
    "SegmentMetrics",
    "Transport",
    "Weights",
]

Scope = Literal["clip", "track"]


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
        agreement: as of ``Metrics``.
    """

    start: int
    offset: int
    confidence: float
    agreement: float


@dataclass(frozen=True, eq=False)
class Metrics:
    """What the model ``sync_metrics`` says about a number of rows of distances.

    Attributes:
        offset: frames; positive when the audio is ahead of the video.
        confidence: median minus minimum of the mean distances.
        min_distance: minimum of the mean distances.
        frame_confidence: float32 [K].
        agreement: share of the draws (block bootstrap) that give this offset to within a frame.
        offset_interval: in frames, read between whole ones; 95 % of the draws lie in it.
        mean_distances: float32 [2*vshift+1], what offset and confidence are read from.
        track_weights: how much each track says, by its number; the sum is 1.
        segments: the same of equal segments of the rows, where that was asked for.
    """

    offset: int
    confidence: float
    min_distance: float
    frame_confidence: npt.NDArray[np.float32]
    agreement: float
    offset_interval: tuple[float, float]
    mean_distances: npt.NDArray[np.float32]
    track_weights: tuple[float, ...]
    segments: tuple[SegmentMetrics, ...] = ()


@dataclass(frozen=True)
class Weights:
    """What the server says its weights are; empty where it does not know.

    Attributes:
        name: of the weights.
        trained_on: what they learned from.
        offset_error_ms: how far off their absolute offset was seen to be; 0 for unknown or none.
    """

    name: str = ""
    trained_on: str = ""
    offset_error_ms: int = 0

    @property
    def error_in_words(self) -> str:
        """As in "+-120 ms: weights trained on synthetic faces"; empty without a known error."""
        if not self.offset_error_ms:
            return ""
        trained = f" trained on {self.trained_on}" if self.trained_on else f" {self.name}".rstrip()
        return f"+-{self.offset_error_ms} ms: weights{trained}"


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

    def weights(self, version: str) -> Weights:
        """What is known about a version of the weights; asked once, nothing where it is kept."""
        ...

    def open_stream(self) -> ChunkStream:
        """Start a conversation about one clip."""
        ...

    def measure(
        self,
        distances: npt.NDArray[np.float32],
        scope: Scope,
        *,
        tracks: npt.NDArray[np.int32] | None = None,
        segment_windows: int = 0,
    ) -> Metrics:
        """Ask ``sync_metrics`` about rows of distances, in one request.

        Args:
            distances: float32 [K, 2*vshift+1].
            scope: tells the server's statistics whether these are all rows of a clip, or those of
                one of its tracks.
            tracks: int32 [K], number of the track of each row; None for one track.
            segment_windows: rows of a segment; all segments have the same length, the last one
                reaches back. 0: no segments.
        """
        ...

    def close(self) -> None:
        """Close the connection."""
        ...
