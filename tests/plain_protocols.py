"""What the published scripts do, written plainly and on its own, for clips that fit in memory.

It shares no code with the project. A detection is (left, top, right, bottom); frames are uint8
[T, height, width, 3] in RGB, samples int16 [N] at 16 kHz.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import reference
from scipy.interpolate import interp1d
from scipy.signal import medfilt

Detection = tuple[float, float, float, float]


@dataclass(frozen=True)
class PlainTrack:
    frames: list[int]
    crops: np.ndarray  # [n, 224, 224, 3]


def scenes(frames: np.ndarray) -> list[tuple[int, int]]:
    """First frame of each scene, and the one after its last."""
    cuts = [0]
    values = []
    for frame in frames:
        factor = 1 if frame.shape[1] < 256 else frame.shape[1] // 256
        size = (round(frame.shape[1] / factor), round(frame.shape[0] / factor))
        values.append(cv2.cvtColor(cv2.resize(frame, size)[..., ::-1], cv2.COLOR_BGR2HSV))
    for index in range(1, len(frames)):
        parts = [
            np.mean(np.abs(values[index][..., c].astype(int) - values[index - 1][..., c]))
            for c in range(3)
        ]
        if sum(parts) / 3 >= 27 and index - cuts[-1] >= 15:
            cuts.append(index)
    return list(zip(cuts, [*cuts[1:], len(frames)], strict=True))


def intersection_over_union(first: Detection, second: Detection) -> float:
    width = max(0, min(first[2], second[2]) - max(first[0], second[0]))
    height = max(0, min(first[3], second[3]) - max(first[1], second[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return width * height / (sum(areas) - width * height)


def link(
    detections: list[list[Detection]], first: int, end: int, *, low_overlap_ends: bool
) -> list[list[tuple[int, Detection]]]:
    """The tracks of one scene: one after the other takes what it can from what is left."""
    left = {index: list(detections[index]) for index in range(first, end)}
    tracks = []
    while any(left.values()):
        track: list[tuple[int, Detection]] = []
        over = False
        for index in range(first, end):
            for box in list(left[index]):
                if not track:
                    track.append((index, box))
                    left[index].remove(box)
                    break
                if over or index - track[-1][0] > 25:
                    break
                if intersection_over_union(box, track[-1][1]) > 0.5:
                    track.append((index, box))
                    left[index].remove(box)
                    break
                if low_overlap_ends:
                    over = True
        tracks.append(track)
    return tracks


def crop(frame: np.ndarray, x: float, y: float, s: float) -> np.ndarray:
    pad = int(s * 1.8)
    padded = np.pad(frame, ((pad, pad), (pad, pad), (0, 0)), constant_values=110)
    x, y = x + pad, y + pad
    face = padded[int(y - s) : int(y + s * 1.8), int(x - s * 1.4) : int(x + s * 1.4)]
    return cv2.resize(face, (224, 224))


def tracks(
    frames: np.ndarray,
    detections: list[list[Detection]],
    *,
    more_than: int,
    low_overlap_ends: bool = False,
) -> list[PlainTrack]:
    found = []
    for first, end in scenes(frames):
        if end - first < more_than:
            continue
        for track in link(detections, first, end, low_overlap_ends=low_overlap_ends):
            if len(track) <= more_than:
                continue
            numbers = [index for index, _ in track]
            every = np.arange(numbers[0], numbers[-1] + 1)
            boxes = np.stack(
                [interp1d(numbers, [box[side] for _, box in track])(every) for side in range(4)],
                axis=1,
            )
            widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
            if max(widths.mean(), heights.mean()) <= 100:
                continue
            sizes = medfilt(np.maximum(widths, heights) / 2, 13)
            across = medfilt((boxes[:, 0] + boxes[:, 2]) / 2, 13)
            down = medfilt((boxes[:, 1] + boxes[:, 3]) / 2, 13)
            crops = [
                crop(frames[index], x, y, s)
                for index, x, y, s in zip(every, across, down, sizes, strict=True)
            ]
            found.append(PlainTrack(list(map(int, every)), np.stack(crops)))
    return found


def score_tracks(
    weights, found: list[PlainTrack], samples: np.ndarray
) -> list[reference.Evaluation]:
    """Each track by itself, with the sound of its own time."""
    evaluations = []
    for track in found:
        start = round(track.frames[0] / 25 * 16000)
        end = round((track.frames[-1] + 1) / 25 * 16000)
        evaluations.append(reference.evaluate(weights, track.crops, samples[start:end], 15))
    return evaluations


def score_whole(weights, frames: np.ndarray, samples: np.ndarray) -> reference.Evaluation:
    """The whole of every frame."""
    whole = np.stack([cv2.resize(frame, (224, 224)) for frame in frames])
    return reference.evaluate(weights, whole, samples, 15)


def at_25(frames: np.ndarray, rate: int) -> np.ndarray:
    """Frames of another rate at 25 a second: for each tick the nearest one."""
    ticks = math.ceil(len(frames) / rate * 25 - 0.5)
    return np.stack([frames[round(k / 25 * rate)] for k in range(ticks)])
