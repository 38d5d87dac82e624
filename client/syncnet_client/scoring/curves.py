"""How numbers from the server are shown: smoothed, and read between whole frames.

Nothing here scores: distances, offsets and confidences come from the server.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "DECIMALS",
    "FULL_CONFIDENCE",
    "MEDIAN_WINDOWS",
    "mean_curve",
    "median_filter",
    "offset_in_words",
    "subframe_offset",
]

DECIMALS = 6  # of float32 values in JSON: more digits would be noise

# Bars and curves of confidence reach their full height here, so that noise looks like noise:
# people who speak in sync score 3 to 10 with the published weights.
FULL_CONFIDENCE = 8.0

MEDIAN_WINDOWS = 9  # as published


def mean_curve(distances: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Mean distance at every shift, float32 [2*vshift+1], of rows [K, 2*vshift+1]."""
    mean: npt.NDArray[np.float32] = distances.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def median_filter(
    values: npt.NDArray[np.float32], size: int = MEDIAN_WINDOWS
) -> npt.NDArray[np.float32]:
    """Running median of ``size`` values around each, zeros beyond both ends as published.

    Args:
        values: float32 [n].
        size: odd.
    """
    padded = np.pad(values, size // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)
    medians: npt.NDArray[np.float32] = np.median(windows, axis=1).astype(np.float32)
    return medians


def subframe_offset(mean_distances: npt.NDArray[np.floating[Any]]) -> float | None:
    """Offset in frames, read between the whole frames; None where there is no minimum to read.

    The lowest point of the parabola through the minimum of the curve and its two neighbours. At
    the edge of the curve a neighbour is missing, and a flat curve has no lowest point.

    Args:
        mean_distances: [2*vshift+1], mean distance at shifts -vshift..vshift.
    """
    best = int(np.argmin(mean_distances))
    if best in (0, len(mean_distances) - 1):
        return None
    before, here, after = (float(value) for value in mean_distances[best - 1 : best + 2])
    curvature = before - 2 * here + after
    if curvature <= 0:
        return None
    return len(mean_distances) // 2 - best - (before - after) / (2 * curvature)


def offset_in_words(offset_ms: float) -> str:
    """The meaning of an offset, as in "the audio is 120 ms ahead of the video"."""
    if offset_ms == 0:
        return "audio and video are in sync"
    direction = "ahead of" if offset_ms > 0 else "behind"
    return f"the audio is {abs(offset_ms):g} ms {direction} the video"
