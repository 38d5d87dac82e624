"""What the ingest hands on: frames and samples on one clock, and facts about their source."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from syncnet_client.closing import Closing
from syncnet_client.media.pictures import Picture

__all__ = ["Frame", "Media", "MediaBlock", "MediaSummary", "StreamInfo"]


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of the 25 fps sequence.

    Attributes:
        index: position in the sequence, from 0; it belongs to the samples
            ``640 * index .. 640 * (index + 1)``.
        time: time stamp in seconds, on the source's own clock, of the source frame that is shown.
        picture: what is shown, in the source's resolution. A source frame that is shown twice
            shares one.
    """

    index: int
    time: Fraction
    picture: Picture

    @property
    def image(self) -> npt.NDArray[np.uint8]:
        """All of the picture: uint8 [height, width, 3], RGB, upright. Do not write to it."""
        return self.picture.rgb()


@dataclass(frozen=True, eq=False)
class MediaBlock:
    """Consecutive frames and consecutive samples; each block carries on where the last one ended.

    As long as both streams last, a block holds 640 samples for each of its frames. Once one of
    them has ended, blocks hold what is left of the other.

    Attributes:
        frames: pictures at 25 a second.
        samples: int16 [n], mono at 16 kHz.
    """

    frames: list[Frame]
    samples: npt.NDArray[np.int16]


@dataclass(frozen=True)
class StreamInfo:
    """What a source says about itself when it is opened; None where it does not say.

    Attributes:
        source: what was opened, as given.
        container: FFmpeg's name of the container format.
        video_codec, audio_codec: FFmpeg's names.
        width, height: coded size in pixels, before any rotation.
        source_fps: average frame rate.
        sample_rate: of the audio stream, Hz.
        channels: of the audio stream.
        video_start, audio_start: time stamps of the streams' beginnings in seconds.
        duration: of the whole source in seconds.
        live: the source is read as it comes and its end is not known beforehand.
    """

    source: str
    container: str
    video_codec: str
    audio_codec: str
    width: int
    height: int
    source_fps: Fraction | None
    sample_rate: int
    channels: int
    video_start: Fraction | None
    audio_start: Fraction | None
    duration: Fraction | None
    live: bool


@dataclass(frozen=True)
class MediaSummary:
    """What became of a source, known once its last block has been read.

    Attributes:
        frames: frames handed on, at 25 a second.
        samples: samples handed on, at 16 kHz.
        start: time in seconds, on the source's clock, of frame 0 and sample 0.
        source_frames: video frames that were decoded.
        repeated_frames: how many of ``frames`` show the same source frame as the one before.
        unused_frames: source frames after ``start`` that were decoded and fall between two of
            ``frames``. Where no other frame needs them, such frames are not decoded.
        undecodable_frames: video packets that could not be decoded, and frames decoded with damage.
        undecodable_audio: audio packets that could not be decoded.
        audio_gaps: stretches of more than 10 ms without sound that were filled with silence.
        audio_gap_seconds: their total length.
        rotation: degrees by which the pictures were turned counter-clockwise to stand upright.
        warnings: what a person should know about the source, a sentence each.
    """

    frames: int
    samples: int
    start: Fraction
    source_frames: int
    repeated_frames: int = 0
    unused_frames: int = 0
    undecodable_frames: int = 0
    undecodable_audio: int = 0
    audio_gaps: int = 0
    audio_gap_seconds: float = 0.0
    rotation: int = 0
    warnings: tuple[str, ...] = ()


class Media(Closing):
    """A source: an iterator over its blocks. Files, live sources and arrays are made of it."""

    _summary: MediaSummary | None = None

    @property
    @abstractmethod
    def info(self) -> StreamInfo:
        """What the source says about itself."""

    @property
    def summary(self) -> MediaSummary:
        """What became of the source.

        Raises:
            RuntimeError: the last block has not been read yet.
        """
        if self._summary is None:
            raise RuntimeError("the summary of a source exists once its last block has been read")
        return self._summary

    def __iter__(self) -> Self:
        return self

    @abstractmethod
    def __next__(self) -> MediaBlock:
        """Return the next block."""

    @abstractmethod
    def close(self) -> None:
        """Stop reading and release everything; may be called at any time, and twice."""
