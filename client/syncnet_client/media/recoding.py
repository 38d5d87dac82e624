"""Pictures through an encoder and back, as a script leaves them that keeps them in a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Interpolation

from syncnet_client.contract import FRAMES_PER_SECOND
from syncnet_client.media.sampling import TICK

__all__ = ["Coding", "JpegRecoder", "VideoRecoder"]

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Coding:
    """How pictures are encoded.

    Attributes:
        codec: FFmpeg's name.
        pixels: FFmpeg's name of the pixel format.
        options: of the encoder; what they do not name has FFmpeg's default.
    """

    codec: str
    pixels: str = "yuv420p"
    options: tuple[tuple[str, str], ...] = ()

    def prepared(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame upright, in the pixel format of the encoder, with both sides even."""
        if turns := round(frame.rotation / 90):
            pixels = np.rot90(frame.to_ndarray(format="rgb24"), turns)
            upright = np.ascontiguousarray(pixels, np.uint8)
            frame = av.VideoFrame.from_ndarray(upright, format="rgb24")
        return frame.reformat(format=self.pixels, interpolation=Interpolation.BICUBIC)

    def set_up(self, context: Any, frame: av.VideoFrame) -> None:
        """Prepare a codec context of PyAV for frames such as this one."""
        context.width, context.height = frame.width, frame.height
        context.pix_fmt = self.pixels
        context.time_base, context.framerate = TICK, FRAMES_PER_SECOND
        context.options = dict(self.options)
        context.thread_count = 1

    def encoder(self, frame: av.VideoFrame) -> Any:
        """An encoder for frames such as this one."""
        context = av.CodecContext.create(self.codec, "w")
        self.set_up(context, frame)
        return context


class JpegRecoder:
    """Each picture through a JPEG file, read by OpenCV as the scripts read it.

    Args:
        coding: of the files.
    """

    def __init__(self, coding: Coding) -> None:
        self._coding = coding
        self._encoder: Any = None
        self._count = 0

    def __call__(self, frame: av.VideoFrame) -> Image:
        """Return the picture: uint8 [height, width, 3], RGB."""
        prepared = self._coding.prepared(frame)
        size = (prepared.width, prepared.height)
        if self._encoder is None or (self._encoder.width, self._encoder.height) != size:
            self._encoder = self._coding.encoder(prepared)
        prepared.pts, prepared.time_base = self._count, TICK
        self._count += 1
        (packet,) = self._encoder.encode(prepared)
        bgr = cv2.imdecode(np.frombuffer(bytes(packet), np.uint8), cv2.IMREAD_COLOR)
        return np.ascontiguousarray(bgr[..., ::-1], np.uint8)


class VideoRecoder:
    """Pictures of one size through a video without reordering.

    Args:
        coding: of the video.
    """

    def __init__(self, coding: Coding) -> None:
        self._coding = coding
        self._encoder: Any = None
        self._decoder: Any = None
        self._count = 0

    def push(self, image: Image) -> Iterator[av.VideoFrame]:
        """Take a picture, uint8 [height, width, 3] in RGB; yield what has come out by now."""
        frame = self._coding.prepared(av.VideoFrame.from_ndarray(image, format="rgb24"))
        if self._encoder is None:
            self._encoder = self._coding.encoder(frame)
            self._decoder = av.CodecContext.create(self._encoder.codec.canonical_name, "r")
            self._decoder.thread_count = 1
        frame.pts, frame.time_base = self._count, TICK
        self._count += 1
        for packet in self._encoder.encode(frame):
            yield from self._decoder.decode(packet)

    def flush(self) -> Iterator[av.VideoFrame]:
        """Yield the rest."""
        if self._encoder is not None:
            for packet in self._encoder.encode(None):
                yield from self._decoder.decode(packet)
            yield from self._decoder.decode(None)
