"""When the sounds of one reading of a text are heard in another reading of it.

Both readings become mel spectra with the colour of the voice taken out, and dynamic time warping
(Sakoe & Chiba 1978) finds the path that pairs them. Frames of both are centred alike, so the path
favours no direction in time.
"""

import numpy as np
from numpy.typing import NDArray

from syncnet_training.synthesis.compiled import compiled

__all__ = ["HOP_S", "align", "transfer"]

SAMPLE_RATE = 16000
HOP_S = 0.005
_HOP = 80
_FRAME = 400  # 25 ms
_BANDS = 24
_SLACK = 0.25  # of the length that the path may stray from the diagonal
_WARP_COST = 0.25  # of leaving the diagonal for a frame, in units of the mean distance


def align(
    reference: NDArray[np.float32], recording: NDArray[np.float32]
) -> tuple[NDArray[np.float64], float]:
    """Pair two readings of one text.

    Args:
        reference: float32 at 16 kHz, without long silence at either end.
        recording: the same.

    Returns:
        the time in `recording`, in seconds, of each 5 ms of `reference`; and the mean distance of
        paired frames (about 0.8 for one text, 0.95 for two).
    """
    left, right = _features(reference), _features(recording)
    rows, columns = _path(left, right, _WARP_COST)
    distance = float(np.mean(np.linalg.norm(left[rows] - right[columns], axis=1)))
    count = np.bincount(rows, minlength=len(left))
    times = np.bincount(rows, weights=columns, minlength=len(left)) / count * HOP_S
    # A frame is 25 ms wide, so steps of the path within one mean nothing.
    kernel = np.hanning(9)[1:-1]
    padded = np.pad(times, 3, mode="reflect", reflect_type="odd")
    smooth: NDArray[np.float64] = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    return smooth, distance


def transfer(times: NDArray[np.float64], path: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times in the reference (seconds) as times in the recording, along a path of `align`."""
    moved: NDArray[np.float64] = np.interp(times, np.arange(len(path)) * HOP_S, path)
    return moved


def _features(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log mel spectrum and its slope, each of unit norm per frame on average, [frames, 48]."""
    padded = np.pad(wave, (_FRAME // 2, _FRAME))
    count = len(wave) // _HOP + 1
    at = np.arange(count)[:, None] * _HOP + np.arange(_FRAME)
    frames = padded[at] * np.hanning(_FRAME)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2 @ _mel().T
    floor = np.percentile(power, 95) * 1e-4
    level = np.log(power + floor)
    level = (level - level.mean(0)) / (level.std(0) + 0.3)
    slope = np.zeros_like(level)
    slope[3:-3] = level[6:] - level[:-6]
    both = np.concatenate([level, 0.7 * slope], axis=1)
    scaled: NDArray[np.float32] = (both / np.sqrt(np.mean(np.sum(both**2, 1)))).astype(np.float32)
    return scaled


def _mel() -> NDArray[np.float64]:
    """Triangular filters from 100 to 7000 Hz on the mel scale, [24, 257]."""
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (100, 7000))
    corners = 700 * (10 ** (np.linspace(low, high, _BANDS + 2) / 2595) - 1)
    bins = np.linspace(0, SAMPLE_RATE / 2, 257)
    rise = (bins - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    fall = (corners[2:, None] - bins) / (corners[2:] - corners[1:-1])[:, None]
    filters: NDArray[np.float64] = np.maximum(np.minimum(rise, fall), 0)
    return filters


def _path(
    left: NDArray[np.float32], right: NDArray[np.float32], warp_cost: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the cheapest path from corner to corner."""
    distance = np.sqrt(
        np.maximum(np.sum(left**2, 1)[:, None] + np.sum(right**2, 1)[None] - 2 * left @ right.T, 0)
    )
    back = _accumulate(distance, warp_cost * float(distance.mean()), _SLACK)
    row, column = len(left) - 1, len(right) - 1
    rows, columns = [row], [column]
    while row or column:
        step = back[row, column]
        row -= step != 2
        column -= step != 1
        rows.append(row)
        columns.append(column)
    return np.array(rows[::-1]), np.array(columns[::-1])


@compiled
def _accumulate(distance: NDArray[np.float32], warp_cost: float, slack: float) -> NDArray[np.uint8]:
    """Where the cheapest path into each cell comes from: 0 diagonal, 1 above, 2 left."""
    height, width = distance.shape
    cost = np.full((height, width), np.inf)
    back = np.zeros((height, width), np.uint8)
    cost[0, 0] = distance[0, 0]
    for row in range(height):
        middle = row * width / height
        first = max(0, int(middle - slack * width) - 20)
        last = min(width, int(middle + slack * width) + 21)
        for column in range(first, last):
            if row == 0 and column == 0:
                continue
            here = distance[row, column]
            best, came = np.inf, 0
            if row > 0 and column > 0:
                best = cost[row - 1, column - 1] + 2 * here
            if row > 0 and cost[row - 1, column] + here + warp_cost < best:
                best, came = cost[row - 1, column] + here + warp_cost, 1
            if column > 0 and cost[row, column - 1] + here + warp_cost < best:
                best, came = cost[row, column - 1] + here + warp_cost, 2
            cost[row, column] = best
            back[row, column] = came
    return back
