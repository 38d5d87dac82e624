"""Frames in, 224x224 face crops out, with a finite look-ahead.

A crop is settled about fifteen frames after its frame: six that the median needs, and the next
detection. Where a face is lost it takes up to 25 frames more. So memory does not depend on the
length of the clip. Of large frames that wait for the median alone, only the surroundings of the
faces are held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from math import ceil, floor
from pathlib import Path
from typing import Literal

from syncnet_client.contract import FRAME_SIZE
from syncnet_client.errors import NoFaceError, UsageError
from syncnet_client.faces.crops import cut_out, fit
from syncnet_client.faces.cuts import CutDetector
from syncnet_client.faces.detectors import Detector
from syncnet_client.faces.geometry import Box
from syncnet_client.faces.haar import HaarDetector
from syncnet_client.faces.tracks import HOLD_FRAMES, LOOK_EVERY, SceneTracker, Track
from syncnet_client.faces.types import (
    CropEvent,
    CroppedFrame,
    Cropper,
    CropSummary,
    EndReason,
    TrackEnd,
    TrackFrames,
)
from syncnet_client.faces.yunet import YuNetDetector, yunet_file
from syncnet_client.media import Frame
from syncnet_client.media.time_jumps import clock_text

__all__ = [
    "AutoCropper",
    "CropMode",
    "DetectorName",
    "FaceCropper",
    "FixedCropper",
    "detector_maker",
    "make_cropper",
]

LARGE_PIXELS = 1_000_000  # below, copying costs more than the memory is worth

CropMode = Literal["auto", "none"] | tuple[int, int, int, int]
DetectorName = Literal["haar", "yunet"]


def make_cropper(
    mode: CropMode = "auto",
    *,
    detector: Detector | DetectorName | None = None,
    yunet: str | Path | None = None,
) -> Cropper:
    """Make the cropper for one clip.

    Args:
        mode: "auto" finds faces; a clip of 224x224 is taken for cropped and left alone.
            "none" resizes the whole frame. (x, y, width, height) in pixels is cut out as it is.
        detector: what finds faces; by default YuNet if its file is here, else OpenCV's Haar
            cascade.
        yunet: path of YuNet's ONNX file; by default the one that ``fetch_yunet`` downloads.

    Raises:
        UsageError: the mode or the detector is not one of those, or its file is missing.
    """
    if mode == "none":
        return FixedCropper(None)
    if mode == "auto":
        return AutoCropper(detector_maker(detector, yunet))
    if isinstance(mode, str) or len(mode) != 4 or min(mode[2:]) < 1:
        raise UsageError(f"crop must be auto, none or X,Y,W,H with a positive size, not {mode}")
    return FixedCropper(Box(*mode))


def detector_maker(
    detector: Detector | DetectorName | None, yunet: str | Path | None
) -> Callable[[], Detector]:
    """Return a function that makes the detector when a clip needs it; check the choice now."""
    if detector is None:
        detector = "yunet" if yunet is not None or yunet_file().is_file() else "haar"
    if yunet is not None and detector != "yunet":
        raise UsageError("a file of YuNet was given, but the detector is another one")
    if not isinstance(detector, str):
        made = detector
    elif detector == "haar":
        return HaarDetector
    elif detector != "yunet":
        raise UsageError(f"the detector must be haar or yunet, not {detector}")
    elif yunet is None:
        if not yunet_file().is_file():
            raise UsageError("YuNet is not installed: run syncnet-client fetch yunet")
        return partial(YuNetDetector, yunet_file())
    else:
        made = YuNetDetector(yunet)
    return lambda: made


class FixedCropper:
    """The same part of every frame: one track, no look-ahead.

    Args:
        box: what to cut out; None for the whole frame.
    """

    def __init__(self, box: Box | None) -> None:
        self._box = box
        self._count = 0

    @property
    def summary(self) -> CropSummary:
        """What has been cropped so far."""
        return CropSummary(frames=self._count, tracks=1 if self._count else 0)

    def push(self, frames: list[Frame]) -> list[CropEvent]:
        """Take consecutive frames and return their crops.

        Raises:
            UsageError: the box reaches out of the picture.
        """
        if not frames:
            return []
        self._count += len(frames)
        return [TrackFrames(0, [self._crop(frame) for frame in frames])]

    def flush(self) -> list[CropEvent]:
        """End the track."""
        return [TrackEnd(0, "end")] if self._count else []

    def _crop(self, frame: Frame) -> CroppedFrame:
        width, height = frame.picture.size
        box = self._box
        if box is None:
            image = fit(frame.picture)
            return CroppedFrame(frame.index, frame.time, image, Box(0, 0, width, height), True)
        if box.x < 0 or box.y < 0 or box.x + box.width > width or box.y + box.height > height:
            text = ",".join(str(round(value)) for value in box)
            raise UsageError(f"crop {text} is not inside the picture of {width}x{height} pixels")
        return CroppedFrame(frame.index, frame.time, cut_out(frame.picture, box), box, True)


class AutoCropper:
    """Leaves a clip of 224x224 alone and finds the faces of any other; the first frame decides.

    Args:
        make_detector: makes what finds faces; called only if there are any to be found.
    """

    def __init__(self, make_detector: Callable[[], Detector]) -> None:
        self._make_detector = make_detector
        self._cropper: Cropper | None = None

    @property
    def summary(self) -> CropSummary:
        """What has been found so far."""
        return CropSummary(0, 0) if self._cropper is None else self._cropper.summary

    def push(self, frames: list[Frame]) -> list[CropEvent]:
        """Take consecutive frames and return the crops that are settled by now."""
        if self._cropper is None and frames:
            self._cropper = self._choose(frames[0])
        return [] if self._cropper is None else self._cropper.push(frames)

    def flush(self) -> list[CropEvent]:
        """Return the rest, at the end of the clip.

        Raises:
            NoFaceError: a face was looked for and none was found in the whole clip.
        """
        return [] if self._cropper is None else self._cropper.flush()

    def _choose(self, first: Frame) -> Cropper:
        if first.picture.size == (FRAME_SIZE, FRAME_SIZE):
            return FixedCropper(None)
        return FaceCropper(self._make_detector())


class FaceCropper:
    """The faces of a clip, each a track that ends with its scene.

    Args:
        detector: what finds faces.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._tracker = SceneTracker(detector)
        self._cuts = CutDetector()
        self._cut_count = 0
        self._scene_start = 0
        self._count = 0
        self._pending: Frame | None = None  # not known yet whether a scene begins with it
        self._frames: deque[Frame] = deque()  # those that tracks still need
        self._reduced = -1  # newest frame of which only parts are held
        self._first: Frame | None = None

    @property
    def summary(self) -> CropSummary:
        """What has been found so far."""
        ignored = self._tracker.ignored
        regions = "1 region" if ignored == 1 else f"{ignored} regions"
        warning = f"left out as too faint to be a face: {regions}"
        return CropSummary(
            frames=self._count,
            tracks=self._tracker.confirmed,
            ignored=ignored,
            cuts=self._cut_count,
            detector=self._detector.name,
            warnings=(warning,) if ignored else (),
        )

    def push(self, frames: list[Frame]) -> list[CropEvent]:
        """Take consecutive frames and return the crops that are settled by now."""
        if self._first is None and frames:
            self._first = frames[0]
        events: list[CropEvent] = []
        for frame in frames:
            self._count += 1
            cut = self._cuts.push(frame.picture)
            events += self._advance(cut)
            self._pending = frame
        return events

    def flush(self) -> list[CropEvent]:
        """Return the rest, at the end of the clip.

        Raises:
            NoFaceError: no face was found in the whole clip.
        """
        last = self._pending
        events = self._advance(self._cuts.finish())
        self._pending = None
        events += self._end_scene("end")
        if not self._tracker.confirmed and self._first is not None and last is not None:
            raise NoFaceError(
                f"no face was found: {self._count} frames from {clock_text(self._first.time)} to "
                f"{clock_text(last.time)} were searched with {self._detector.title}; "
                f"{self._detector.advice}give the face's place with --crop X,Y,W,H, or --crop none "
                "if it fills the frame"
            )
        return events

    def _advance(self, cut: bool) -> list[CropEvent]:
        """Take in the pending frame, now that it is known whether a scene begins with it."""
        frame = self._pending
        if frame is None:
            return []
        events: list[CropEvent] = []
        if not self._frames or cut or frame.picture.size != self._frames[-1].picture.size:
            if self._frames:
                self._cut_count += 1
                events += self._end_scene("cut")
            self._scene_start = frame.index
            self._tracker.begin_scene(frame.index)
        self._frames.append(frame)
        if (frame.index - self._scene_start) % LOOK_EVERY == 0:
            ended = self._tracker.look(self._frames)
            for track in ended:
                events += self._collect(track, "lost")
            for track in self._tracker.tracks:
                if track.number is not None:
                    events += self._collect(track)
        self._forget(frame.index)
        self._reduce(frame)
        return events

    def _end_scene(self, reason: EndReason) -> list[CropEvent]:
        events: list[CropEvent] = []
        if self._frames:
            for track in self._tracker.end_scene(self._frames):
                events += self._collect(track, reason)
            self._frames.clear()
        return events

    def _collect(self, track: Track, end: EndReason | None = None) -> list[CropEvent]:
        """Cut out what is settled of a track."""
        assert track.number is not None
        crops = []
        oldest = self._frames[0].index
        while track.next_frame < track.settled():
            frame = self._frames[track.next_frame - oldest]
            box, detected = track.take()
            image = cut_out(frame.picture, box)
            crops.append(CroppedFrame(frame.index, frame.time, image, box, detected))
        events: list[CropEvent] = [TrackFrames(track.number, crops)] if crops else []
        if end is not None:
            events.append(TrackEnd(track.number, end))
        return events

    def _reduce(self, newest: Frame) -> None:
        """Let go of what no crop can show, of the frames up to a detection of every face."""
        width, height = newest.picture.size
        tracks = self._tracker.tracks
        # A face that is first seen near the beginning of a scene gets crops from there on.
        if width * height < LARGE_PIXELS or newest.index - self._scene_start <= HOLD_FRAMES:
            return
        if not tracks or any(t.number is None or t.last_frame < newest.index for t in tracks):
            return
        for place, frame in enumerate(self._frames):
            if frame.index <= self._reduced:
                continue
            boxes = [t.extent(frame.index) for t in tracks if t.next_frame <= frame.index]
            # A pixel more on each side, as edges are rounded.
            left = max(0, floor(min(box.x for box in boxes)) - 1)
            top = max(0, floor(min(box.y for box in boxes)) - 1)
            right = min(width, ceil(max(box.x + box.width for box in boxes)) + 1)
            bottom = min(height, ceil(max(box.y + box.height for box in boxes)) + 1)
            if left < right and top < bottom:
                part = frame.picture.within(left, top, right - left, bottom - top)
                self._frames[place] = Frame(frame.index, frame.time, part)
        self._reduced = newest.index

    def _forget(self, newest: int) -> None:
        """Let go of frames that no track can need any more."""
        needed = min((track.next_frame for track in self._tracker.tracks), default=newest)
        if newest - self._scene_start <= HOLD_FRAMES:
            needed = min(needed, self._scene_start)
        while len(self._frames) > 1 and self._frames[0].index < needed:
            self._frames.popleft()
