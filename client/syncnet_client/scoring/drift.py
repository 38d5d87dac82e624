"""Whether the offset of a long clip stays, runs away steadily, or changes at one moment.

The server scores segments of some seconds each. Their offsets, read between whole frames, are
compared with three explanations: one offset; a straight line, as of clocks that run at different
speeds; two offsets with a jump between, as of an edit. An explanation holds if it comes within a
frame of 9 segments in 10, so that a segment without speech does not spoil it. A change of less
than a frame is no change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from syncnet_client.contract import FRAME_MS
from syncnet_client.scoring.curves import DECIMALS

__all__ = ["Drift", "DriftKind", "Segment", "analyse_drift"]

DriftKind = Literal["constant", "drift", "jump", "unsteady", "unknown"]

CLOSE_MS = FRAME_MS  # the resolution of the measurement
HOLDS_FOR = 0.9  # of the trusted windows
LEAST_SEGMENTS = 3  # any two offsets lie on a line


@dataclass(frozen=True)
class Segment:
    """The offset of one segment of a clip.

    Attributes:
        start_s, end_s: on the source's clock.
        offset_frames: whole frames, from the server.
        offset_ms: read between frames; whole frames where that is not possible.
        confidence: from the server.
        agreement: from the server.
        trusted: the draws agree and the offset is not at the edge of the range.
    """

    start_s: float
    end_s: float
    offset_frames: int
    offset_ms: float
    confidence: float
    agreement: float
    trusted: bool

    @property
    def middle_s(self) -> float:
        """The middle of the segment."""
        return (self.start_s + self.end_s) / 2

    def to_dict(self) -> dict[str, Any]:
        """All in types that JSON knows."""
        return {
            **asdict(self),
            "start_s": round(self.start_s, 3),
            "end_s": round(self.end_s, 3),
            "offset_ms": round(self.offset_ms, 1),
            "confidence": round(self.confidence, DECIMALS),
            "agreement": round(self.agreement, DECIMALS),
        }


@dataclass(frozen=True)
class Drift:
    """How the offset develops over the clip.

    Attributes:
        kind: ``constant``, ``drift`` (steady), ``jump`` (once), ``unsteady`` (none of these), or
            ``unknown`` (fewer than 3 segments can be trusted).
        segment_s: length of the segments.
        segments: the offset of each.
        ms_per_minute: slope, when the kind is ``drift``.
        jump_s: when the offset changes, if the kind is ``jump``.
        text: the same in words.
    """

    kind: DriftKind
    segment_s: float
    segments: tuple[Segment, ...]
    ms_per_minute: float | None
    jump_s: float | None
    text: str

    @property
    def changes(self) -> bool:
        """Whether no single offset fits."""
        return self.kind in ("drift", "jump", "unsteady")

    def to_dict(self) -> dict[str, Any]:
        """All in types that JSON knows."""
        slope, jump = self.ms_per_minute, self.jump_s
        return {
            "kind": self.kind,
            "text": self.text,
            "ms_per_minute": None if slope is None else round(slope, 1),
            "jump_s": None if jump is None else round(jump, 3),
            "segment_s": self.segment_s,
            "segments": [segment.to_dict() for segment in self.segments],
        }


def analyse_drift(segments: Sequence[Segment], segment_s: float) -> Drift:
    """Tell which explanation fits the offsets of the trusted segments."""
    trusted = [segment for segment in segments if segment.trusted]

    def result(
        kind: DriftKind, text: str, *, slope: float | None = None, jump_s: float | None = None
    ) -> Drift:
        return Drift(kind, segment_s, tuple(segments), slope, jump_s, text)

    if len(trusted) < LEAST_SEGMENTS:
        return result("unknown", f"only {len(trusted)} of {len(segments)} segments can be trusted")
    times = np.array([segment.middle_s for segment in trusted])
    offsets = np.array([segment.offset_ms for segment in trusted])

    slope = _median_slope(times, offsets)  # ms/s
    line = slope * times + np.median(offsets - slope * times)
    split = _best_split(offsets)
    before, after = float(np.median(offsets[:split])), float(np.median(offsets[split:]))
    steps = np.where(np.arange(len(offsets)) < split, before, after)

    line_is_closer = np.abs(offsets - line).mean() <= np.abs(offsets - steps).mean()
    change = slope * (times[-1] - times[0]) if line_is_closer else after - before
    if abs(change) < CLOSE_MS and _holds(offsets, np.full_like(offsets, np.median(offsets))):
        return result("constant", "the offset stays the same")
    if line_is_closer and _holds(offsets, line):
        per_minute = 60 * slope
        direction = "more ahead" if per_minute > 0 else "further behind"
        text = f"the audio gets {abs(per_minute):.0f} ms {direction} every minute"
        return result("drift", text, slope=per_minute)
    if _holds(offsets, steps):
        moment = (trusted[split - 1].end_s + trusted[split].start_s) / 2
        text = f"the offset jumps from {before:+.0f} to {after:+.0f} ms at about {moment:.0f} s"
        return result("jump", text, jump_s=moment)
    text = f"the offset wanders between {offsets.min():+.0f} and {offsets.max():+.0f} ms"
    return result("unsteady", text)


def _median_slope(times: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> float:
    """Theil-Sen: the median slope over all pairs of points; single wrong points do not move it."""
    first, second = np.triu_indices(len(times), 1)
    return float(np.median((values[second] - values[first]) / (times[second] - times[first])))


def _best_split(values: npt.NDArray[np.float64]) -> int:
    """Index where the second part begins, if both parts are to be near their own medians."""
    costs = [
        np.abs(values[:i] - np.median(values[:i])).sum()
        + np.abs(values[i:] - np.median(values[i:])).sum()
        for i in range(1, len(values))
    ]
    return 1 + int(np.argmin(costs))


def _holds(values: npt.NDArray[np.float64], explanation: npt.NDArray[np.float64]) -> bool:
    return bool(np.mean(np.abs(values - explanation) <= CLOSE_MS) >= HOLDS_FOR)
