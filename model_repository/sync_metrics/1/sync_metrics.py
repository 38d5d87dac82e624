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
