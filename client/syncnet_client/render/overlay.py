"""A copy of a clip with what was measured drawn over it: faces, confidence, sound.

The picture is that of the scored 25 fps sequence, every frame at its own time stamp; the sound is
the clip's own, its packets copied. Below the picture, one second to each side of the frame shown,
run the waveform and the confidence of the speaker.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from syncnet_client.contract import FRAMES_PER_SECOND, SAMPLES_PER_FRAME, WINDOW_FRAMES
from syncnet_client.errors import MediaError, UsageError
from syncnet_client.files import located, replacing
from syncnet_client.media import open_media
from syncnet_client.media.limits import ANY_METADATA
from syncnet_client.scoring.curves import FULL_CONFIDENCE
from syncnet_client.scoring.result import SyncResult, TrackResult

__all__ = ["OVERLAY_SUFFIXES", "check_overlay", "write_overlay"]

OVERLAY_SUFFIXES = (".mp4", ".mov", ".mkv")

LONGEST_SIDE = 1280  # pixels of the picture; larger clips are made smaller
LEAST_WIDTH = 360  # pixels; text would not fit into less
AROUND = FRAMES_PER_SECOND  # frames shown to each side of the present one
PEAKS_PER_FRAME = 4  # 10 ms each
FULL_SCALE = 32_768
CLOCK = Fraction(1, 90_000)  # s, divides the frame times of all usual rates
FULL = "free some, or name a file on another disk"
HINTS = {errno.ENOSPC: FULL, errno.EDQUOT: FULL, errno.EFBIG: "it is beyond what a file may hold"}
ENCODER = {"crf": "20", "preset": "veryfast"}

RGB = tuple[int, int, int]
WHITE: RGB = (255, 255, 255)
GREY: RGB = (150, 150, 150)
DARK: RGB = (24, 24, 24)
ORANGE: RGB = (230, 159, 0)  # these two from the Okabe-Ito palette
SKY: RGB = (86, 180, 233)

Image = npt.NDArray[np.uint8]


def check_overlay(path: Path) -> None:
    """Find out before any work whether an overlay can be written to ``path``.

    Raises:
        UsageError: the suffix is unknown, or the folder does not exist.
    """
    if path.suffix.lower() not in OVERLAY_SUFFIXES:
        suffixes = ", ".join(OVERLAY_SUFFIXES)
        raise UsageError(f"cannot write {path}: use one of the suffixes {suffixes}")
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {path.parent}")


def write_overlay(clip: str | Path, result: SyncResult, path: Path) -> None:
    """Write the clip with its result drawn over it; ``path`` is replaced if it exists.

    Args:
        clip: the file that was scored; it is read again.
        result: its result.
        path: MP4, MOV or MKV.

    Raises:
        UsageError: the suffix is unknown, or the folder does not exist.
        MediaError: the clip cannot be read, its audio codec does not fit the container, or the
            disk is full.
    """
    check_overlay(path)
    try:
        with replacing(path) as temporary:
            _write(str(clip), result, temporary)
    except (av.FFmpegError, ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        hint = HINTS.get(getattr(error, "errno", None) or 0, "MKV takes every audio codec")
        raise MediaError(f"cannot write the overlay {path}: {reason} ({hint})") from error


def _write(clip: str, result: SyncResult, path: Path) -> None:
    with ExitStack() as stack:
        media = stack.enter_context(open_media(clip))
        sound = stack.enter_context(av.open(located(clip), **ANY_METADATA))
        writer = stack.enter_context(av.open(located(path), "w"))
        heard = sound.streams.best("audio")
        assert heard is not None  # open_media has found one
        audio = writer.add_stream_from_template(heard, opaque=True)
        video = writer.add_stream("libx264", rate=FRAMES_PER_SECOND, options=ENCODER)
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = CLOCK
        packets = _Packets(sound.demux(heard))

        origin: Fraction | None = None
        for time, image in _drawn(media, result):
            if origin is None:
                origin = time
                video.height, video.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.time_base, frame.pts = CLOCK, round((time - origin) / CLOCK)
            writer.mux(video.encode(frame))
            packets.copy(writer, audio, origin, until=time)
        writer.mux(video.encode(None))
        packets.copy(writer, audio, origin or Fraction(0), until=None)


class _Packets:
    """The clip's audio, handed over in step with the picture so that the file interleaves them."""

    def __init__(self, packets: Iterator[Any]) -> None:
        self._packets = (packet for packet in packets if packet.size)
        self._next = next(self._packets, None)

    def copy(self, writer: Any, stream: Any, origin: Fraction, *, until: Fraction | None) -> None:
        """Write packets up to a time in the source, or all; ``origin`` becomes zero."""
        while (packet := self._next) is not None:
            began = (packet.dts or packet.pts or 0) * packet.time_base
            if until is not None and began > until:
                return
            ticks = round(origin / packet.time_base)
            if packet.pts is not None:
                packet.pts -= ticks
            if packet.dts is not None:
                packet.dts -= ticks
            packet.stream = stream
            writer.mux_one(packet)
            self._next = next(self._packets, None)


def _drawn(media: Any, result: SyncResult) -> Iterator[tuple[Fraction, Image]]:
    """Time stamp and finished picture of each source frame, one second behind the ingest."""
    painter: _Painter | None = None
    waiting: deque[tuple[int, Fraction, Image]] = deque()
    peaks: list[npt.NDArray[np.float32]] = []
    rest = np.zeros(0, np.int16)
    shown = Fraction(-1)

    def finished(newest: int) -> Iterator[tuple[Fraction, Image]]:
        while waiting and waiting[0][0] + AROUND <= newest:
            index, time, image = waiting.popleft()
            assert painter is not None
            yield time, painter.paint(index, image, peaks)

    for block in media:
        rest = np.concatenate([rest, block.samples])
        whole = len(rest) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME
        peaks.extend(_peaks(rest[:whole]))
        rest = rest[whole:]
        for frame in block.frames:
            if painter is None:
                painter = _Painter(result, *frame.image.shape[:2])
            if frame.time > shown:  # a slow source repeats frames
                shown = frame.time
                waiting.append((frame.index, frame.time, painter.scaled(frame.image)))
        yield from finished(len(peaks))
    yield from finished(len(peaks) + AROUND + (waiting[-1][0] if waiting else 0))


def _peaks(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    """Height of the waveform in each 10 ms, 0 to 1: [frames, 4]."""
    parts = samples.reshape(-1, PEAKS_PER_FRAME, SAMPLES_PER_FRAME // PEAKS_PER_FRAME)
    loudest = np.abs(parts.astype(np.float32)).max(axis=2) / FULL_SCALE
    # On a linear scale, speech at a usual level would be a thin line.
    heights: npt.NDArray[np.float32] = np.sqrt(loudest).astype(np.float32)
    return heights


class _Painter:
    """Draws on pictures of one size.

    Args:
        result: what to draw.
        height, width: of the source's pictures, in pixels.
    """

    def __init__(self, result: SyncResult, height: int, width: int) -> None:
        scale = min(1.0, LONGEST_SIDE / max(height, width))
        self._scale = max(scale, LEAST_WIDTH / width)
        # H.264 with 4:2:0 wants even sizes.
        self._width = round(width * self._scale / 2) * 2
        self._height = round(height * self._scale / 2) * 2
        self._unit = max(1.0, min(self._width, self._height) / 480)
        self._strip = round(48 * self._unit / 2) * 2
        self._result = result
        self._curves = [track.frame_confidence_median for track in result.tracks]
        confidence = self._curves[0]
        self._low = min(0.0, float(confidence.min()))
        self._high = max(FULL_CONFIDENCE, float(confidence.max()))

    def scaled(self, image: Image) -> Image:
        """The picture in the size of the overlay."""
        size = (self._width, self._height)
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)

    def paint(self, index: int, image: Image, peaks: list[npt.NDArray[np.float32]]) -> Image:
        """The picture with everything drawn on it and below it."""
        below = np.full((3 * self._strip, self._width, 3), DARK, np.uint8)
        canvas: Image = np.concatenate([image, below])
        for number, track in reversed(list(enumerate(self._result.tracks))):
            color = GREY if number else ORANGE
            self._face(canvas, track, index, self._confidence(number, index), color)
        self._headline(canvas, index)
        self._waveform(canvas, index, peaks)
        self._curve(canvas, index)
        middle = self._width // 2
        cv2.line(canvas, (middle, self._top(1)), (middle, self._top(3)), WHITE, self._thick(1))
        return canvas

    def _face(
        self, canvas: Image, track: TrackResult, index: int, confidence: float | None, color: RGB
    ) -> None:
        place = index - track.first_frame
        if not 0 <= place < len(track.boxes):
            return
        x, y, width, height = (round(float(v) * self._scale) for v in track.boxes[place])
        cv2.rectangle(canvas[: self._height], (x, y), (x + width, y + height), color,
                      self._thick(2))  # fmt: skip
        if confidence is not None:
            # Inside the box's top edge, and inside the picture where the box is not.
            corner = max(x, 0) + self._thick(6), max(y, 0) + self._thick(18)
            self._text(canvas, f"{confidence:.1f}", corner, color)

    def _headline(self, canvas: Image, index: int) -> None:
        result = self._result
        now = self._confidence(0, index)
        running = "-" if now is None else f"{now:.1f}"
        text = f"confidence {running} now, {result.confidence:.1f} in all, "
        text += f"agreement {result.agreement:.0%}"
        baseline = self._height + round(self._strip * 0.42)
        self._text(canvas, text, (self._thick(6), baseline), ORANGE)
        self._text(canvas, result.meaning, (self._thick(6), self._top(1) - self._thick(5)), WHITE)

    def _waveform(self, canvas: Image, index: int, peaks: list[npt.NDArray[np.float32]]) -> None:
        middle = (self._top(1) + self._top(2)) // 2
        for frame in range(max(0, index - AROUND), min(len(peaks), index + AROUND + 1)):
            for part, peak in enumerate(peaks[frame]):
                x = self._column(frame + part / PEAKS_PER_FRAME - index)
                half = round(float(peak) * (self._strip / 2 - 2))
                cv2.line(canvas, (x, middle - half), (x, middle + half), SKY, self._thick(1))

    def _curve(self, canvas: Image, index: int) -> None:
        points = []
        for frame in range(index - AROUND, index + AROUND + 1):
            value = self._confidence(0, frame)
            if value is not None:
                level = (value - self._low) / max(self._high - self._low, 1e-6)
                y = self._top(3) - 3 - round(level * (self._strip - 6))
                points.append((self._column(frame + 0.5 - index), y))
        if points:
            line = np.array(points, np.int32)
            cv2.polylines(canvas, [line], False, ORANGE, self._thick(2), cv2.LINE_AA)

    def _top(self, strip: int) -> int:
        return self._height + strip * self._strip

    def _column(self, frames_from_now: float) -> int:
        return round(self._width * (0.5 + (frames_from_now - 0.5) / (2 * AROUND)))

    def _thick(self, pixels: int) -> int:
        return max(1, round(pixels * self._unit))

    def _text(self, canvas: Image, text: str, corner: tuple[int, int], color: RGB) -> None:
        font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.5 * self._unit
        (width, _), _ = cv2.getTextSize(text, font, size, self._thick(1))
        size *= min(1.0, (self._width - corner[0]) / max(width, 1))  # long lines get smaller
        cv2.putText(canvas, text, corner, font, size, DARK, self._thick(3), cv2.LINE_AA)
        cv2.putText(canvas, text, corner, font, size, color, self._thick(1), cv2.LINE_AA)

    def _confidence(self, number: int, index: int) -> float | None:
        """Smoothed confidence of the window of a track whose middle frame this is."""
        window = index - self._result.tracks[number].first_frame - WINDOW_FRAMES // 2
        return (
            float(self._curves[number][window]) if 0 <= window < len(self._curves[number]) else None
        )
