"""From a clean rendering to what a crop of a video found somewhere looks like.

Resolution, focus, colour, sensor noise, codec, titles, and the crop's own resampling; a camera is
drawn once for each clip and treats all its frames alike.
"""

import io
from collections.abc import Sequence
from typing import cast

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]

FRAME_SIZE = 224
# Frames a second of films, television, web cameras and chats.
_OTHER_RATES = (15, 20, 24000 / 1001, 24, 30000 / 1001, 30, 30, 50)
# Codecs and their settings from best to worst: JPEG quality, constant rate factor, quantiser scale.
_QUALITY = {"none": (0, 0), "jpeg": (95, 30), "h264": (19, 41), "mpeg4": (3, 20)}
_CODECS = (0.12, 0.2, 0.54, 0.14)
_HARD_CODECS = (0.0, 0.1, 0.7, 0.2)


class Camera:
    """A random camera, codec and crop."""

    def __init__(self, rng: np.random.Generator, *, hard: bool = False) -> None:
        """Draw a camera.

        Args:
            rng: decides about everything.
            hard: a small face in a video of low bit rate, as old films and chats have it.
        """
        self.rate = 25.0
        if rng.random() < (0.6 if hard else 0.35):
            self.rate = float(rng.choice(_OTHER_RATES))
        # The side, in pixels, that the crop had in the video it was cut from.
        small = rng.random() < (0.8 if hard else 0.45)
        self.source_size = 2 * int(rng.uniform(40, 80) if small else rng.uniform(80, 144))
        gamma = float(np.exp(rng.normal(0, 0.18)))
        contrast = float(np.exp(rng.normal(0.0, 0.15)))
        lift = float(rng.normal(0, 0.03))
        cast = np.exp(rng.normal(0, 0.07, 3))
        ramp = np.arange(256) / 255.0
        curve = np.clip((ramp**gamma - 0.45) * contrast + 0.45 + lift, 0, 1)
        table = np.clip(curve[:, None] * cast, 0, 1)
        self._table = (table * 255 + 0.5).astype(np.uint8).reshape(1, 256, 3)
        colourless = rng.random() < 0.06
        self._saturation = 0.0 if colourless else float(np.clip(rng.normal(0.9, 0.2), 0.2, 1.4))
        self._blur = float(rng.uniform(0.3, 1.3)) if rng.random() < 0.4 else 0.0
        self._sharpen = float(rng.uniform(0.2, 1.0)) if rng.random() < 0.25 else 0.0
        self._noise = float(rng.exponential(2.5)) if rng.random() < 0.7 else 0.0
        self.codec = str(rng.choice(list(_QUALITY), p=_HARD_CODECS if hard else _CODECS))
        best, worst = _QUALITY[self.codec]
        share = rng.uniform(0.4 if hard else 0.0, 1.0)
        self.quality = round(best + share * (worst - best))
        self._title = self._random_title(rng) if rng.random() < 0.12 else None
        self._upscale = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA]))
        # Rows at the bottom or columns at a side that lie outside the video: filled with grey.
        self._missing = (0, 0, 0)  # bottom, left, right
        if rng.random() < 0.2:
            self._missing = (int(rng.integers(5, 60)), 0, 0)
        elif rng.random() < 0.06:
            left, right = rng.permutation([0, int(rng.integers(5, 45))])
            self._missing = (0, int(left), int(right))

    def _random_title(self, rng: np.random.Generator) -> tuple[str, tuple[int, int], float, int]:
        """Text laid over the picture, as subtitles and logos are: text, place, size, grey level."""
        letters = "".join(chr(c) for c in rng.integers(65, 91, int(rng.integers(3, 16))))
        height = float(rng.choice([0.08, 0.9])) + rng.uniform(-0.04, 0.06)
        place = (int(rng.uniform(-0.1, 0.6) * self.source_size), int(height * self.source_size))
        size = self.source_size / FRAME_SIZE * rng.uniform(0.4, 0.9)
        return letters, place, float(size), int(rng.integers(150, 256))

    def expose(self, picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """One rendered frame (display values, any size) as the sensor delivers it."""
        size = self.source_size
        out = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
        if self._blur:
            out = cv2.GaussianBlur(out, (0, 0), self._blur * size / FRAME_SIZE + 0.15)
        if self._saturation != 1.0:
            s = self._saturation
            grey = np.array([0.299, 0.587, 0.114])
            mix = s * np.eye(3) + (1 - s) * np.tile(grey, (3, 1))
            out = cv2.transform(out, mix)
        out = cv2.LUT(out, self._table)
        if self._sharpen:
            soft = cv2.GaussianBlur(out, (0, 0), 1.2)
            out = cv2.addWeighted(out, 1 + self._sharpen, soft, -self._sharpen, 0)
        if self._noise:
            grain = np.empty((size, size, 3), np.int16)
            cv2.setRNGSeed(int(rng.integers(2**31)))
            cv2.randn(grain, np.zeros(3), np.full(3, self._noise))
            out = cv2.add(out, grain, dtype=cv2.CV_8U)
        if self._title:
            text, place, scale, level = self._title
            cv2.putText(
                out, text, place, cv2.FONT_HERSHEY_DUPLEX, scale, (level,) * 3, 1, cv2.LINE_AA
            )
        return np.ascontiguousarray(out)

    def deliver(self, exposed: Sequence[NDArray[np.uint8]]) -> Frames:
        """All frames of a clip after codec and crop: uint8 [T, 224, 224, 3]."""
        frames = list(exposed)
        if self.codec in ("h264", "mpeg4"):
            frames = _through_video(frames, self.codec, self.quality)
        elif self.codec == "jpeg":
            frames = [_through_jpeg(f, self.quality) for f in frames]
        out = np.empty((len(frames), FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
        for picture, frame in zip(out, frames, strict=True):
            cv2.resize(frame, (FRAME_SIZE, FRAME_SIZE), picture, interpolation=self._upscale)
        bottom, left, right = self._missing
        out[:, FRAME_SIZE - bottom :] = 110
        out[:, :, :left] = 110
        out[:, :, FRAME_SIZE - right :] = 110
        return out


def _through_jpeg(frame: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Encode and decode with JPEG; OpenCV's codec takes and gives BGR."""
    _, data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    return np.ascontiguousarray(picture, np.uint8)


def _through_video(
    frames: Sequence[NDArray[np.uint8]], codec: str, quality: int
) -> list[NDArray[np.uint8]]:
    """Encode and decode with H.264 at a constant rate factor, or MPEG-4 at a quantiser scale."""
    # Slower presets do not give the same bytes each time, even in one thread.
    options = {"crf": str(quality), "preset": "superfast"}
    if codec == "mpeg4":
        options = {"qmin": str(quality), "qmax": str(quality), "g": "250"}
    buffer = io.BytesIO()
    size = frames[0].shape[0]
    with av.open(buffer, "w", format="matroska") as container:
        encoder = "libx264" if codec == "h264" else "mpeg4"
        options["threads"] = "1"
        stream = cast(av.VideoStream, container.add_stream(encoder, rate=25, options=options))
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer, "r") as recorded:
        recorded.streams.video[0].thread_type = "NONE"
        return [
            np.asarray(f.to_ndarray(format="rgb24"), np.uint8) for f in recorded.decode(video=0)
        ]
