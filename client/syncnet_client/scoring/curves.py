"""How numbers from the server are shown: smoothed, and read between whole frames.

Nothing here scores: distances, offsets and confidences come from the server.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from syncnet_client.contract import FRAMES_PER_SECOND

__all__ = ["FRAME_MS", "MEDIAN_WINDOWS", "median_filter", "subframe_offset"]

FRAME_MS = 1000 // FRAMES_PER_SECOND  # 40
MEDIAN_WINDOWS = 9  # as published


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
