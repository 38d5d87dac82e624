"""How near crops and scores are to those of a detection in every frame, with the same filter.

The cropper looks for a face in every eighth frame and puts it in between for the others. Here the
same detector follows the face from frame to frame, and the same median over 13 frames is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from syncnet_client import ClipAnswer, NoFaceError, SyncNetClient
from syncnet_client.faces import (
    Box,
    DetectorName,
    Face,
    TrackFrames,
    YuNetDetector,
    make_cropper,
    yunet_file,
)
from syncnet_client.faces.crops import cut_out
from syncnet_client.faces.tracks import MEDIAN_REACH
from syncnet_client.media import Picture, open_media

MEDIAN_LIMIT, TAIL_LIMIT = 0.02, 0.05  # of the crop's side
TAIL = 0.95

Rows = npt.NDArray[np.float64]  # [T, 3]: centre across, centre down, side


@dataclass(frozen=True)
class Dense:
    """A clip that shows one face throughout, with a detection in every frame.

    Attributes:
        rows: where the crops are, filtered.
        crops: uint8 [T, 224, 224, 3], RGB.
        samples: int16 [N], 16 kHz.
    """

    rows: Rows
    crops: npt.NDArray[np.uint8]
    samples: npt.NDArray[np.int16]


def look_at_every_frame(path: Path) -> Dense:
    """Find the face in every frame with YuNet, and cut it out.

    Raises:
        ValueError: the clip begins without a face.
    """
    detector = YuNetDetector(yunet_file())
    face: Face | None = None
    seen: list[tuple[float, float, float]] = []
    with open_media(path) as media:
        for block in media:
            for frame in block.frames:
                face = _look(detector, frame.picture, face)
                if face is None:
                    raise ValueError(f"{path} shows no face at {float(frame.time):.2f} s")
                crop = face.crop
                seen.append((crop.centre, crop.top + crop.side / 2, crop.side))
    rows = _filtered(np.array(seen))
    crops, sound = [], []
    with open_media(path) as media:
        for block in media:
            for frame in block.frames:
                x, y, side = rows[frame.index]
                crops.append(cut_out(frame.picture, Box(x - side / 2, y - side / 2, side, side)))
            sound.append(block.samples)
    return Dense(rows, np.stack(crops), np.concatenate(sound))


def errors(path: Path, dense: Dense) -> dict[str, Any]:
    """Compare the crops of a clip.

    Returns:
        Median and 95th percentile of the errors of centre and side, in sides of the crop.
    """
    cropper = make_cropper("auto", detector="yunet")
    events = []
    with open_media(path) as media:
        for block in media:
            events += cropper.push(block.frames)
    events += cropper.flush()
    boxes = [
        (frame.index, frame.box)
        for event in events
        if isinstance(event, TrackFrames) and event.track == 0
        for frame in event.frames
    ]
    places = [index for index, _ in boxes]
    expected = dense.rows[places]
    actual = np.array([(b.x + b.width / 2, b.y + b.height / 2, b.width) for _, b in boxes])
    side = expected[:, 2]
    centres = np.hypot(*(actual - expected)[:, :2].T) / side
    sides = np.abs(actual[:, 2] - side) / side
    figures: dict[str, Any] = {"frames": len(boxes)}
    for name, error in (("centre", centres), ("side", sides)):
        figures[f"{name}_median"] = float(np.median(error))
        figures[f"{name}_p95"] = float(np.quantile(error, TAIL))
    medians, tails = (
        max(figures[f"{name}_{kind}"] for name in ("centre", "side")) for kind in ("median", "p95")
    )
    figures["within_limits"] = medians <= MEDIAN_LIMIT and tails <= TAIL_LIMIT
    return figures


def scores(path: Path, dense: Dense, client: SyncNetClient) -> dict[str, Any]:
    """Score a clip with the crops of every way.

    Returns:
        For each way its scores, and its largest change of a mean distance against a detection in
        every frame, as a share of that distance; None for a detector that finds no face.
    """
    every = client.score((dense.crops, dense.samples), name=path.name).answer
    return {
        "every_frame": _scores(every, every),
        "yunet": _scores(_answer(path, "yunet", client), every),
        "haar": _scores(_answer(path, "haar", client), every),
    }


def _answer(path: Path, detector: DetectorName, client: SyncNetClient) -> ClipAnswer | None:
    try:
        return client.score(path, detector=detector).answer
    except NoFaceError:
        return None


def _scores(answer: ClipAnswer | None, every: ClipAnswer) -> dict[str, Any] | None:
    if answer is None:
        return None
    change = np.abs(answer.mean_distances / every.mean_distances - 1)
    return {
        "offset_ms": answer.offset_ms,
        "estimate_ms": answer.estimate_ms,
        "confidence": answer.confidence,
        "min_distance": answer.min_distance,
        "agreement": answer.agreement,
        "mean_distance_change": float(change.max()),
    }


def _look(detector: YuNetDetector, picture: Picture, face: Face | None) -> Face | None:
    """The face of the frame before in this frame, or the largest one."""
    followed = None if face is None else detector.follow(picture, face, 1.0)
    found = [] if followed is not None else detector.search(picture)
    return followed or max(found, key=lambda other: other.box.width, default=face)


def _filtered(rows: Rows) -> Rows:
    """The median of each row and its neighbours."""
    return np.array(
        [
            np.median(rows[max(0, at - MEDIAN_REACH) : at + MEDIAN_REACH + 1], axis=0)
            for at in range(len(rows))
        ]
    )
