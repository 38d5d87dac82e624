"""The face tracks of the published pipeline: detect in every frame, link, judge, crop.

Source: ``run_pipeline.py`` of syncnet_python (Chung & Zisserman, 2016), functions ``scene_detect``,
``track_shot`` and ``crop_video``. The rules of others who took that pipeline over differ in numbers
alone, which are the fields of ``TrackRules``.

A crop is settled six frames after its frame, or at the next detection. Whether a track counts is
known when it ends: its mean size decides, too. So tracks are handed on as soon as they have
detections enough, and those that turn out too small are named in the summary. Before that a track
keeps its crops, not its frames, so memory does not depend on the length of the clip.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from syncnet_client.contract import FRAME_SIZE
from syncnet_client.errors import MediaError, NoFaceError
from syncnet_client.faces.crops import OUTSIDE
from syncnet_client.faces.detectors import Detector, Face
from syncnet_client.faces.geometry import S3FD_MARGINS, Box, overlap
from syncnet_client.faces.types import (
    CropEvent,
    CroppedFrame,
    CropSummary,
    EndReason,
    TrackEnd,
    TrackFrames,
)
from syncnet_client.media import Frame

__all__ = ["PublishedCropper", "TrackRules", "WholeFrameCropper"]

Image = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.float64]

CUT_DIFFERENCE = 27.0  # mean difference of hue, saturation and value, of 255
LEAST_SCENE_FRAMES = 15  # from one cut to the next
CUT_WIDTH = 256  # pixels, to which a frame is scaled before


@dataclass(frozen=True, kw_only=True)
class TrackRules:
    """What makes detections a track, and what is cut out of its frames.

    A scene needs as many frames as a track needs detections, so it has no rule of its own.

    Attributes:
        overlap_above: intersection over union with the last box from which a detection goes on
            with a track.
        most_frames_between: largest step from one detection of a track to the next, in frames.
        low_overlap_ends: a track ends with the first detection that overlaps less, in place of
            going on with the next that overlaps enough.
        detections_above: a track has more detections than this.
        side_above: its boxes are longer than this in the mean, in pixels, in width or height.
        median_frames: of the running median over centre and size of the boxes.
        crop_scale: margin around the box, in units of its longer side.
    """

    overlap_above: float = 0.5
    most_frames_between: int = 25
    low_overlap_ends: bool = False
    detections_above: int = 100
    side_above: float = 100.0
    median_frames: int = 13
    crop_scale: float = 0.4


def published_box(face: Face) -> Box:
    """Return the box that S3FD would draw, as far as another detector's margins tell.

    Args:
        face: with the crop that follows from the detector's own box.
    """
    side = face.crop.side / S3FD_MARGINS.side
    scale = side / max(face.box.width, face.box.height)
    width, height = face.box.width * scale, face.box.height * scale
    middle = face.crop.top + S3FD_MARGINS.above * side
    return Box(face.crop.centre - width / 2, middle - height / 2, width, height)


def published_crop(image: Image, x: float, y: float, s: float, scale: float) -> tuple[Image, Box]:
    """Cut a face out of a frame.

    Args:
        image: uint8 [height, width, 3].
        x: centre of the box, across.
        y: centre of the box, down.
        s: half its longer side.
        scale: margin around it.

    Returns:
        uint8 [224, 224, 3], grey 110 outside of the frame, and what part of the frame it is.
    """
    top, bottom = int(np.floor(y - s)), int(np.floor(y + s * (1 + 2 * scale)))
    left, right = int(np.floor(x - s * (1 + scale))), int(np.floor(x + s * (1 + scale)))
    bottom, right = max(bottom, top + 1), max(right, left + 1)
    inside = image[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    if inside.shape[:2] != (bottom - top, right - left):
        padded = np.full((bottom - top, right - left, 3), OUTSIDE, np.uint8)
        above, before = max(0, -top), max(0, -left)
        padded[above : above + inside.shape[0], before : before + inside.shape[1]] = inside
        inside = padded
    box = Box(left, top, right - left, bottom - top)
    return np.asarray(cv2.resize(inside, (FRAME_SIZE, FRAME_SIZE)), np.uint8), box


class WholeFrameCropper:
    """The whole of every frame, scaled as OpenCV does unless told otherwise: one track.

    Args:
        must_fit: frames of any other size than 224x224 are an error.
    """

    def __init__(self, *, must_fit: bool) -> None:
        self._must_fit = must_fit
        self._count = 0

    @property
    def summary(self) -> CropSummary:
        """What has been cropped so far."""
        return CropSummary(frames=self._count, tracks=1 if self._count else 0)

    def push(self, frames: list[Frame]) -> list[CropEvent]:
        """Take consecutive frames and return their crops.

        Raises:
            MediaError: the frames have another size than they must have.
        """
        self._count += len(frames)
        return [TrackFrames(0, [self._crop(frame) for frame in frames])] if frames else []

    def flush(self) -> list[CropEvent]:
        """End the track."""
        return [TrackEnd(0, "end")] if self._count else []

    def _crop(self, frame: Frame) -> CroppedFrame:
        image = frame.image
        height, width = image.shape[:2]
        if (height, width) != (FRAME_SIZE, FRAME_SIZE):
            if self._must_fit:
                raise MediaError(
                    f"the frames have {width}x{height} pixels: this protocol takes face crops of "
                    f"{FRAME_SIZE}x{FRAME_SIZE} and nothing else"
                )
            image = np.asarray(cv2.resize(image, (FRAME_SIZE, FRAME_SIZE)), np.uint8)
        return CroppedFrame(frame.index, frame.time, image, Box(0, 0, width, height), True)


class ContentCuts:
    """Tell whether a scene begins with a frame.

    Source: ``ContentDetector`` of PySceneDetect 0.6 with its defaults: the mean difference of hue,
    saturation and value between two frames is 27 or more, and 15 frames have passed since the last
    cut or the beginning.
    """

    def __init__(self) -> None:
        self._last: npt.NDArray[np.int16] | None = None
        self._since_cut = 0

    def push(self, image: Image) -> bool:
        """Take the next frame, uint8 [height, width, 3] in RGB."""
        height, width = image.shape[:2]
        shrink = max(1, width // CUT_WIDTH)
        small = cv2.resize(image, (round(width / shrink), max(1, round(height / shrink))))
        colours = cv2.cvtColor(small, cv2.COLOR_RGB2HSV).astype(np.int16)
        last, self._last = self._last, colours
        if last is None:
            return False
        self._since_cut += 1
        alike = last.shape == colours.shape and np.abs(colours - last).mean() < CUT_DIFFERENCE
        if bool(alike) or self._since_cut < LEAST_SCENE_FRAMES:
            return False
        self._since_cut = 0
        return True


class _Track:
    """A face that is followed: boxes in every frame from its first to its last detection."""

    def __init__(self, frame: int, box: Box, rules: TrackRules) -> None:
        self.number: int | None = None  # once it has detections enough
        self.next_frame = frame  # the first whose crop has not been cut out
        self.last_frame = frame
        self.last_box = box
        self.waiting: list[CroppedFrame] = []  # crops, while it has no number
        self.detections = 1
        self.ended = False
        self._rules = rules
        self._first = frame
        corner = _corners(box)
        self._sides = corner[2:] - corner[:2]  # sums over the frames
        self._rows = deque([_centre_and_size(corner)])  # of frames from _rows_from on
        self._seen = deque([True])
        self._rows_from = frame

    def add(self, frame: int, box: Box) -> None:
        """Note a detection, and fill the frames since the last one."""
        before, after = _corners(self.last_box), _corners(box)
        step = frame - self.last_frame
        for number in range(1, step + 1):
            corners = before + (after - before) * (number / step)
            self._sides += corners[2:] - corners[:2]
            self._rows.append(_centre_and_size(corners))
            self._seen.append(number == step)
        self.last_frame, self.last_box = frame, box
        self.detections += 1

    @property
    def large_enough(self) -> bool:
        """Whether its boxes are, in the mean over its frames."""
        return bool(max(self._sides) / (self.last_frame - self._first + 1) > self._rules.side_above)

    @property
    def settled(self) -> int:
        """The frame before which crops no longer change."""
        reach = self._rules.median_frames // 2
        return self.last_frame + 1 if self.ended else self.last_frame + 1 - reach

    def take(self) -> tuple[Rows, bool]:
        """Return centre and half size in the next frame, and whether it was seen; step on."""
        reach = self._rules.median_frames // 2
        rows = np.zeros((2 * reach + 1, 3))  # beyond both ends of the track, as scipy's medfilt
        for place, frame in enumerate(range(self.next_frame - reach, self.next_frame + reach + 1)):
            if self._rows_from <= frame <= self.last_frame:
                rows[place] = self._rows[frame - self._rows_from]
        seen = self._seen[self.next_frame - self._rows_from]
        self.next_frame += 1
        while self._rows_from < self.next_frame - reach:
            self._rows.popleft()
            self._seen.popleft()
            self._rows_from += 1
        return np.median(rows, axis=0), seen


class PublishedCropper:
    """The faces of a clip by the rules of a published pipeline, each a track.

    Args:
        detector: what finds faces; every frame is searched.
        rules: what makes its detections a track.
    """

    def __init__(self, detector: Detector, rules: TrackRules) -> None:
        self._detector = detector
        self._rules = rules
        self._cuts = ContentCuts()
        self._cut_count = 0
        self._tracks: list[_Track] = []  # in the order in which they may choose
        self._numbers = 0
        self._dropped: set[int] = set()
        self._frames: deque[Frame] = deque()  # those that tracks still need
        self._shape: tuple[int, ...] | None = None
        self._count = 0
        self._detections = 0

    @property
    def summary(self) -> CropSummary:
        """What has been found so far."""
        return CropSummary(
            frames=self._count,
            tracks=self._numbers - len(self._dropped),
            cuts=self._cut_count,
            detector=self._detector.name,
            dropped=frozenset(self._dropped),
        )

    def push(self, frames: list[Frame]) -> list[CropEvent]:
        """Take consecutive frames and return the crops that are settled by now."""
        events: list[CropEvent] = []
        for frame in frames:
            events += self._advance(frame)
        return events

    def flush(self) -> list[CropEvent]:
        """Return the rest, at the end of the clip.

        Raises:
            NoFaceError: no track of the clip meets the rules.
        """
        events = self._end(self._tracks, "end")
        self._frames.clear()
        if self._count and self._numbers == len(self._dropped):
            rules = self._rules
            raise NoFaceError(
                f"no face meets the rules of this protocol: more than {rules.detections_above} "
                f"detections in a row and more than {rules.side_above:g} pixels wide or high in "
                f"the mean; {self._detector.title} found {self._detections} in "
                f"{self._count} frames"
            )
        return events

    def _advance(self, frame: Frame) -> list[CropEvent]:
        events: list[CropEvent] = []
        image = frame.image
        cut = self._cuts.push(image)
        if cut or (self._shape is not None and image.shape != self._shape):
            self._cut_count += 1
            events += self._end(self._tracks, "cut")
        self._shape = image.shape
        self._count += 1
        self._frames.append(frame)
        boxes = [published_box(face) for face in self._detector.search(frame.picture)]
        self._detections += len(boxes)
        late = frame.index - self._rules.most_frames_between
        events += self._end([track for track in self._tracks if track.last_frame < late], "lost")
        events += self._link(frame.index, boxes)
        for track in self._tracks:
            events += self._cut_out(track)
        needed = min((track.next_frame for track in self._tracks), default=frame.index + 1)
        while self._frames and self._frames[0].index < needed:
            self._frames.popleft()
        return events

    def _link(self, frame: int, boxes: list[Box]) -> list[CropEvent]:
        """Let the tracks, the oldest first, take what goes on with them; begin new ones."""
        events: list[CropEvent] = []
        for track in list(self._tracks):
            for box in boxes:
                if overlap(box, track.last_box) > self._rules.overlap_above:
                    track.add(frame, box)
                    boxes.remove(box)
                    break
                if self._rules.low_overlap_ends:
                    events += self._end([track], "lost")
                    break
        self._tracks += [_Track(frame, box, self._rules) for box in boxes]
        return events

    def _end(self, tracks: list[_Track], reason: EndReason) -> list[CropEvent]:
        events: list[CropEvent] = []
        for track in list(tracks):
            track.ended = True
            events += self._cut_out(track)
            self._tracks.remove(track)
            if track.number is not None:
                events.append(TrackEnd(track.number, reason))
                if not track.large_enough:
                    self._dropped.add(track.number)
        return events

    def _cut_out(self, track: _Track) -> list[CropEvent]:
        """Crop what is settled of a track, and hand it on once it has detections enough."""
        oldest = self._frames[0].index if self._frames else 0
        while track.next_frame < track.settled:
            frame = self._frames[track.next_frame - oldest]
            (x, y, s), seen = track.take()
            image, box = published_crop(frame.image, x, y, s, self._rules.crop_scale)
            track.waiting.append(CroppedFrame(frame.index, frame.time, image, box, seen))
        if track.number is None and track.detections > self._rules.detections_above:
            track.number = self._numbers
            self._numbers += 1
        if track.number is None or not track.waiting:
            return []
        crops, track.waiting = track.waiting, []
        return [TrackFrames(track.number, crops)]


def _corners(box: Box) -> Rows:
    return np.array([box.x, box.y, box.x + box.width, box.y + box.height])


def _centre_and_size(corners: Rows) -> Rows:
    """Centre and half the longer side of a box: x, y, s."""
    left, top, right, bottom = corners
    return np.array([(left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top) / 2])
