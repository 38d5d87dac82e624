"""From distances at every shift to offset and confidence, and to how sure they are; numpy alone.

How sure: the rows of distances are drawn again with replacement, in blocks because neighbouring
windows share frames (circular block bootstrap: Künsch, 1989; Politis & Romano, 1992). An answer
that stands comes out of most draws; one that rests on chance changes from draw to draw.
"""

import zlib
from typing import NamedTuple

import numpy as np

MAX_WINDOWS = 2_160_000  # rows in a request, a day of video
MAX_SHIFTS = 501  # V at most 250 frames, 10 s

DRAWS = 500
BLOCK = 6  # windows: one shares frames with the four after it
# Share of the rows in a draw. Neighbouring rows are alike, as their windows share frames. Blocks
# lose that at their ends, so draws of all rows would vary less than clips do.
DRAWN = 0.9
FEWEST_BLOCKS = 2  # with one block every draw is the clip itself
CLOSE = 1  # frames: offsets no further apart are the same
# A track counts for the clip by its windows times the odds that a draw agrees. They lie around 1
# where a face does not speak; this bounds them to 50 where all draws agree.
ODDS_FLOOR = 0.02
INTERVAL = (0.025, 0.975)  # quantiles: 95 %


class SyncMetrics(NamedTuple):
    """What a set of video windows says about sync.

    Offset, confidence and minimum distance are as published (Chung & Zisserman, 2016).
    """

    offset: int  # frames; positive: the audio is ahead of the video
    confidence: float  # median minus minimum of the mean distances
    min_distance: float  # minimum of the mean distances
    frame_confidence: np.ndarray  # float32 [K]
    agreement: float  # 0 to 1: share of draws that give the offset to within one frame
    offset_interval: tuple[float, float]  # frames, 95 %, read between whole frames
    mean_distances: np.ndarray  # float64 [2 V + 1], what the first three are read from
    track_weights: np.ndarray  # float64 [T], sum 1: how much each track says, by number


class Segment(NamedTuple):
    """What one of several equal segments of a clip's windows says about sync."""

    start: int  # index of its first window
    offset: int  # frames
    confidence: float
    agreement: float


def sync_metrics(
    distances: np.ndarray, tracks: np.ndarray | None = None, *, resample: bool = True
) -> SyncMetrics:
    """Score video windows from their distances to the audio at shifts -V to +V.

    ``offset = V - argmin(mean distance)``, ``confidence = median - min`` of the mean distances
    over the windows, and a window's own confidence is that median minus its distance at the best
    shift.

    ``agreement`` is the share of draws whose lowest mean distance lies within one frame of the
    offset and below all others. With fewer than 12 windows, or shifts that are all alike, there
    is nothing to draw: it is 0, and the interval is the whole range. The draws depend on the
    distances alone, so every replica gives the same bits.

    With several tracks the mean distances are those of the tracks, weighted by their windows and
    by how firmly each agrees with itself, so that a face that listens does not hide one that
    speaks. Tracks are then drawn again, too, with these weights: faces that contradict each
    other do not agree. A window's own confidence is that of its track.

    Args:
        distances: float32 [K, 2 V + 1], K >= 1, in the order of time within each track.
        tracks: int [K], number of the face that each window shows; None for one face.
        resample: False leaves out what is drawn: `agreement` and `offset_interval` are then as
            for too few windows. Several tracks need it.

    Raises:
        ValueError: the shape is not that of distances, a distance is not finite, or `tracks` does
            not fit.
    """
    _check(distances, tracks, resample)
    if tracks is None:
        owners = np.zeros(len(distances), np.intp)
    else:
        owners = np.unique(tracks, return_inverse=True)[1].reshape(-1)
    faces = [_Face(distances[owners == face], resample) for face in range(owners.max() + 1)]
    weights = _weights(faces)
    mean = sum(weight * face.mean for weight, face in zip(weights, faces, strict=True))
    best = int(mean.argmin())
    drawn = _draw_faces(faces, weights, zlib.crc32(np.ascontiguousarray(distances)))
    reach = len(mean) // 2
    return SyncMetrics(
        offset=reach - best,
        confidence=float(np.median(mean) - mean[best]),
        min_distance=float(mean[best]),
        frame_confidence=_frame_confidence(distances, owners, faces),
        agreement=_agreement(drawn, best),
        offset_interval=(float(-reach), float(reach)) if drawn is None else _interval(drawn),
        mean_distances=mean,
        track_weights=weights,
    )


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
        segments.append(Segment(start, metrics.offset, metrics.confidence, metrics.agreement))
    return segments


class _Face:
    """The windows of one track: their mean distances, and those of the draws."""

    def __init__(self, rows: np.ndarray, resample: bool) -> None:
        self.windows = len(rows)
        self.mean = rows.mean(axis=0, dtype=np.float64)
        self.drawn = _draw_blocks(rows) if resample else None
        self.agreement = _agreement(self.drawn, int(self.mean.argmin()))


def _check(distances: np.ndarray, tracks: np.ndarray | None, resample: bool) -> None:
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
    if tracks is not None and tracks.shape != (windows,):
        raise ValueError(
            f"TRACKS must be [K], one number for each of the {windows} rows of DISTANCES, "
            f"got {list(tracks.shape)}"
        )
    if tracks is not None and not resample:
        raise ValueError("TRACKS needs the request parameter scope to be clip or track")


def _draw_blocks(rows: np.ndarray) -> np.ndarray | None:
    """Mean distances of `DRAWS` sets of blocks of the rows, float64 [DRAWS, 2 V + 1].

    None where there are too few windows to draw from, or all shifts are alike. Blocks go on at the
    first row after the last one, so that every row is drawn as often.
    """
    windows = len(rows)
    if windows < FEWEST_BLOCKS * BLOCK or (rows == rows[:, :1]).all():
        return None
    # The best length of blocks grows with the cube root of what there is (Hall, Horowitz & Jing,
    # 1995), so long clips are drawn in steps of several windows.
    step = max(1, round(windows ** (1 / 3)) // BLOCK)
    steps = np.add.reduceat(rows, np.arange(0, windows, step), axis=0, dtype=np.float64)
    count = len(steps)
    sums = np.zeros((count + BLOCK, rows.shape[1]))
    np.cumsum(np.concatenate([steps, steps[: BLOCK - 1]]), axis=0, out=sums[1:])
    sums = sums[BLOCK:] - sums[:count]  # of the block that begins at each step
    blocks = round(DRAWN * count / BLOCK)
    bits = np.random.PCG64(zlib.crc32(np.ascontiguousarray(rows)))
    drawn = np.empty((DRAWS, rows.shape[1]))
    # A few draws at a time, so that what is gathered stays in the processor's cache.
    together = max(1, 20_000 // blocks)
    for first in range(0, DRAWS, together):
        part = drawn[first : first + together]
        starts = (_random(bits, len(part) * blocks) * count).astype(np.intp)
        part[:] = sums[starts.reshape(len(part), blocks)].sum(axis=1)
    return drawn / (blocks * BLOCK * step)


def _weights(faces: list[_Face]) -> np.ndarray:
    """How much each face says about the clip, float64 [T], sum 1."""
    weights = np.array(
        [face.windows * face.agreement / (1 - face.agreement + ODDS_FLOOR) for face in faces]
    )
    if not weights.any():
        weights = np.array([float(face.windows) for face in faces])
    weights /= weights.sum()
    return weights


def _draw_faces(faces: list[_Face], weights: np.ndarray, seed: int) -> np.ndarray | None:
    """Mean distances of the draws over faces and their blocks, float64 [DRAWS, 2 V + 1].

    Each draw takes as many faces as there are, with replacement, by their weights. None where no
    face has enough windows.
    """
    able = [index for index, face in enumerate(faces) if face.drawn is not None]
    if not able:
        return None
    if len(faces) == 1:
        return faces[0].drawn
    edges = np.cumsum(weights[able] / weights[able].sum())
    random = _random(np.random.PCG64(seed), DRAWS * len(able))
    chosen = np.searchsorted(edges[:-1], random, side="right")
    counts = (chosen.reshape(DRAWS, -1, 1) == np.arange(len(able))).sum(axis=1)  # [DRAWS, faces]
    total = sum(counts[:, [place]] * faces[index].drawn for place, index in enumerate(able))
    return total / len(able)


def _agreement(drawn: np.ndarray | None, best: int) -> float:
    if drawn is None:
        return 0.0
    far = np.abs(np.arange(drawn.shape[1]) - best) > CLOSE
    if not far.any():
        return 0.0
    return float((drawn[:, ~far].min(axis=1) < drawn[:, far].min(axis=1)).mean())


def _interval(drawn: np.ndarray) -> tuple[float, float]:
    """What 95 % of the draws say the offset is: the lowest points of parabolas, in frames."""
    last = drawn.shape[1] - 1
    best = drawn.argmin(axis=1)
    draws = np.arange(len(drawn))
    here = drawn[draws, best]
    before = drawn[draws, np.maximum(best - 1, 0)]
    after = drawn[draws, np.minimum(best + 1, last)]
    curvature = before - 2 * here + after
    inside = (best > 0) & (best < last) & (curvature > 0)
    between = np.where(inside, (before - after) / (2 * np.where(inside, curvature, 1)), 0)
    low, high = np.quantile(last // 2 - best - between, INTERVAL)
    return float(low), float(high)


def _frame_confidence(distances: np.ndarray, owners: np.ndarray, faces: list[_Face]) -> np.ndarray:
    medians = np.array([np.median(face.mean) for face in faces])
    best = np.array([face.mean.argmin() for face in faces])
    own = distances[np.arange(len(distances)), best[owners]]
    return (medians[owners] - own).astype(np.float32)


def _random(bits: np.random.PCG64, count: int) -> np.ndarray:
    """Numbers in [0, 1), float64 [count]; numpy promises the bits of this generator forever."""
    return (bits.random_raw(count) >> np.uint64(11)) * 2.0**-53
