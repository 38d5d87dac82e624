"""What face cropping takes in and hands on."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from syncnet_client.faces.geometry import Box
from syncnet_client.media import Frame

__all__ = [
    "CropEvent",
    "CropSummary",
    "CroppedFrame",
    "Cropper",
    "EndReason",
    "TrackEnd",
    "TrackFrames",
]

EndReason = Literal["end", "cut", "lost"]


@dataclass(frozen=True, eq=False)
class CroppedFrame:
    """One frame as the network sees it.

    Attributes:
        index, time: those of the source frame.
        image: uint8 [224, 224, 3], RGB.
        box: the part of the source frame that it shows.
        detected: the face was seen here; false where its position is guessed from frames before
            and after. Always true where no face was looked for.
    """

    index: int
    time: Fraction
    image: npt.NDArray[np.uint8]
    box: Box
    detected: bool


@dataclass(frozen=True, eq=False)
class TrackFrames:
    """The next frames of a track, in order and without holes; also across events."""

    track: int
    frames: list[CroppedFrame]


@dataclass(frozen=True)
class TrackEnd:
    """A track has no more frames: the clip ended, the scene was cut, or the face was lost."""

    track: int
    reason: EndReason


CropEvent = TrackFrames | TrackEnd


@dataclass(frozen=True)
class CropSummary:
    """What was found, after ``flush``.

    Attributes:
        frames: frames taken in.
        tracks: tracks handed on.
        ignored: regions that were seen for half a second or more, but resemble a face too faintly.
        cuts: scene cuts.
        dropped: numbers of tracks that were handed on, and turned out not to count.
        detector: what looked for faces; None where none were looked for.
        warnings: what a person should know, a sentence each.
    """

    frames: int
    tracks: int
    ignored: int = 0
    cuts: int = 0
    dropped: frozenset[int] = frozenset()
    detector: str | None = None
    warnings: tuple[str, ...] = ()


class Cropper(Protocol):
    """A streaming operator: frames in, face crops out, some frames later."""

    @property
    def summary(self) -> CropSummary:
        """What has been found so far."""

    def push(self, frames: list[Frame]) -> list[CropEvent]:
        """Take consecutive frames and return what is settled by now."""

    def flush(self) -> list[CropEvent]:
        """Return the rest, at the end of the clip.

        Raises:
            NoFaceError: a face was looked for and none was found in the whole clip.
        """
