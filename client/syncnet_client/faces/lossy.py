"""Crops as a script sees them that keeps the video of each face in a file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import av

from syncnet_client.faces.types import (
    CropEvent,
    CroppedFrame,
    Cropper,
    CropSummary,
    TrackEnd,
    TrackFrames,
)
from syncnet_client.media import Frame
from syncnet_client.media.recoding import Coding, JpegRecoder, VideoRecoder

__all__ = ["LossyCropper"]


class LossyCropper:
    """The crops of another cropper through a video for each track, and that through JPEG files.

    Args:
        cropper: finds the faces.
        crops: of the video.
        frames: of the files.
    """

    def __init__(self, cropper: Cropper, crops: Coding, frames: Coding) -> None:
        self._cropper = cropper
        self._crops, self._frames = crops, frames
        self._tracks: dict[int, _Track] = {}

    @property
    def summary(self) -> CropSummary:
        """What has been found so far."""
        return self._cropper.summary

    def push(self, frames: list[Frame]) -> list[CropEvent]:
        """Take consecutive frames and return the crops that are settled by now."""
        return list(self._recoded(self._cropper.push(frames)))

    def flush(self) -> list[CropEvent]:
        """Return the rest, at the end of the clip.

        Raises:
            NoFaceError: no track of the clip meets the rules.
        """
        return list(self._recoded(self._cropper.flush()))

    def _recoded(self, events: Iterable[CropEvent]) -> Iterator[CropEvent]:
        for event in events:
            if isinstance(event, TrackEnd):
                rest = self._tracks.pop(event.track).flush()
                if rest:
                    yield TrackFrames(event.track, rest)
                yield event
                continue
            if event.track not in self._tracks:
                self._tracks[event.track] = _Track(self._crops, self._frames)
            ready = self._tracks[event.track].push(event.frames)
            if ready:
                yield TrackFrames(event.track, ready)


class _Track:
    def __init__(self, crops: Coding, frames: Coding) -> None:
        self._video = VideoRecoder(crops)
        self._still = JpegRecoder(frames)
        self._inside: deque[CroppedFrame] = deque()

    def push(self, frames: list[CroppedFrame]) -> list[CroppedFrame]:
        ready = []
        for frame in frames:
            self._inside.append(frame)
            ready += self._take(self._video.push(frame.image))
        return ready

    def flush(self) -> list[CroppedFrame]:
        return self._take(self._video.flush())

    def _take(self, decoded: Iterable[av.VideoFrame]) -> list[CroppedFrame]:
        return [replace(self._inside.popleft(), image=self._still(frame)) for frame in decoded]
