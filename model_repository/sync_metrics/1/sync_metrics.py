"""From distances at every shift to offset and confidence, in numpy alone."""

from typing import NamedTuple

import numpy as np

MAX_WINDOWS = 2_160_000  # rows in a request, a day of video
MAX_SHIFTS = 501  # V at most 250 frames, 10 s


class SyncMetrics(NamedTuple):
    """What a set of video windows says about sync, as published (Chung & Zisserman, 2016)."""

    offset: int  # frames; positive: the audio is ahead of the video
    confidence: float  # median minus minimum of the mean distances (LSE-C)
    min_distance: float  # minimum of the mean distances (LSE-D)
    frame_confidence: np.ndarray  # float32 [K]


class Segment(NamedTuple):
    """What one of several equal segments of a clip's windows says about sync."""

    start: int  # index of its first window
    offset: int  # frames
    confidence: float


def segment_metrics(distances: np.ndarray, windows: int) -> list[Segment]:
    """Score a clip's video windows in segments; the last one reaches back to full length.

    Args:
        distances: float32 [K, 2 V + 1].
        windows: of a segment, 1 to K.

    Raises:
        ValueError: `windows` is out of range, or as of `sync_metrics`.
    """
    if not 1 <= windows <= len(distances):
        raise ValueError(
            f"request parameter segment_windows must be 1 to K = {len(distances)}, got {windows}"
        )
    last = len(distances) - windows
    segments = []
    for start in [*range(0, last, windows), last]:
        metrics = sync_metrics(distances[start : start + windows])
        segments.append(Segment(start, metrics.offset, metrics.confidence))
    return segments


def sync_metrics(distances: np.ndarray) -> SyncMetrics:
    """Score video windows from their distances to the audio at shifts -V to +V.

    ``offset = V - argmin(mean distance)``, ``confidence = median - min`` of the mean distances
    over the windows, and a window's own confidence is that median minus its distance at the best
    shift.

    Args:
        distances: float32 [K, 2 V + 1], K >= 1.

    Raises:
        ValueError: the shape is not that of distances, or a distance is not finite.
    """
    windows, shifts = distances.shape
    if windows < 1 or shifts % 2 == 0:
        raise ValueError(
            "DISTANCES must be [K, 2 V + 1] with K >= 1 video windows and an odd number of shifts, "
            f"got [{windows}, {shifts}]"
        )
    if windows > MAX_WINDOWS or shifts > MAX_SHIFTS:
        raise ValueError(
            f"DISTANCES must have at most {MAX_WINDOWS} windows and {MAX_SHIFTS} shifts, "
            f"got [{windows}, {shifts}]"
        )
    if not np.isfinite(distances).all():
        raise ValueError("DISTANCES must be finite, got NaN or infinity")
    mean = distances.mean(axis=0, dtype=np.float64)
    best = int(mean.argmin())
    median = np.median(mean)
    return SyncMetrics(
        offset=shifts // 2 - best,
        confidence=float(median - mean[best]),
        min_distance=float(mean[best]),
        frame_confidence=(median - distances[:, best]).astype(np.float32),
    )
