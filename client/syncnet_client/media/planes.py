"""Parts of a decoded frame, scaled in the planes of its pixel format and converted at the end.

Colours come out as FFmpeg's own conversion of the whole frame gives them, to about half a grey
level on average: its matrix for a frame's colour space and range is read off a test picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["PlanarFormat", "Plane", "planar_format"]

Image = npt.NDArray[np.uint8]
Plane = npt.NDArray[Any]  # uint8 or uint16 [height, width]
Size = tuple[int, int]  # width, height

# Where a plane shrinks by more than this, bilinear scaling leaves pixels out. It goes to a multiple
# of the size then, and the mean of each 2x2 pixels after that: nearly what averaging over the exact
# area gives, in a quarter of its time.
BILINEAR_RATIO = 1.3
PROBE_BLOCKS = 16  # of one colour each, along a side of the test picture
# Pixels; many enough for a middle that no interpolation of chroma mixes with other colours.
PROBE_BLOCK = 16
MOST_SUBSAMPLED = 4


@dataclass(frozen=True, eq=False)
class PlanarFormat:
    """A pixel format with one plane for luma and two for chroma, in one colour space and range.

    Attributes:
        bits: of a sample.
        across, down: luma pixels to a chroma pixel.
        matrix: float32 [3, 4], from (luma, chroma, chroma, 1) at 8 bits to RGB.
    """

    bits: int
    across: int
    down: int
    matrix: npt.NDArray[np.float32]

    def planes(self, frame: av.VideoFrame) -> list[Plane]:
        """Return views of a frame's planes."""
        sample = np.dtype(np.uint8 if self.bits == 8 else np.uint16)
        return [
            np.frombuffer(memoryview(plane), sample).reshape(plane.height, -1)[:, : plane.width]
            for plane in frame.planes
        ]

    def cut(
        self, planes: Sequence[Plane], left: int, top: int, right: int, bottom: int
    ) -> list[Plane]:
        """Return copies of a part of the planes; its corner is that of a chroma pixel."""
        across, down = self.across, self.down
        luma, *chroma = planes
        parts = [luma[top:bottom, left:right]]
        parts += [
            plane[top // down : -(-bottom // down), left // across : -(-right // across)]
            for plane in chroma
        ]
        return [part.copy() for part in parts]

    def luma(self, planes: Sequence[Plane], step: int) -> Image:
        """Return every ``step``-th luma sample of every ``step``-th row, at 8 bits."""
        samples = planes[0][::step, ::step]
        if self.bits > 8:
            samples = samples >> (self.bits - 8)
        return np.ascontiguousarray(samples, dtype=np.uint8)

    def part(
        self, planes: Sequence[Plane], left: int, top: int, width: int, height: int, size: Size
    ) -> Image:
        """Return a part of a frame in another size.

        Args:
            planes: of a frame in this format.
            left: first column of the part, in luma pixels.
            top: its first row.
            width: of the part, which is not empty.
            height: of the part; all of it is inside the frame.
            size: width and height of what is returned.

        Returns:
            uint8 [height, width, 3], RGB.
        """
        luma, *chroma = planes
        scaled = [_scale(self._eight_bits(luma[top : top + height, left : left + width]), size)]
        scaled += [self._chroma(plane, left, top, width, height, size) for plane in chroma]
        return np.asarray(cv2.transform(cv2.merge(scaled), self.matrix), dtype=np.uint8)

    def _chroma(
        self, plane: Plane, left: int, top: int, width: int, height: int, size: Size
    ) -> Image:
        right, bottom = left + width, top + height
        first, last = left // self.across, -(-right // self.across)
        above, below = top // self.down, -(-bottom // self.down)
        part = self._eight_bits(plane[above:below, first:last])
        cut = any(edge % self.across for edge in (left, right))
        cut |= any(edge % self.down for edge in (top, bottom))
        if cut and width <= self.across * size[0]:
            # The edges cut chroma pixels in two, and that is more than half a pixel of the result.
            inner = max(1, round(width / self.across)), max(1, round(height / self.down))
            x = (left + width / 2) / self.across - first - 0.5
            y = (top + height / 2) / self.down - above - 0.5
            part = np.asarray(cv2.getRectSubPix(part, inner, (x, y)), np.uint8)
        return _scale(part, size)

    def _eight_bits(self, plane: Plane) -> Image:
        if self.bits == 8:
            return plane
        return np.asarray(cv2.convertScaleAbs(plane, alpha=0.5 ** (self.bits - 8)), np.uint8)


@lru_cache(maxsize=64)
def planar_format(name: str, colorspace: int, color_range: int) -> PlanarFormat | None:
    """Return how to read frames of a format, or None where only FFmpeg itself can.

    Args:
        name: FFmpeg's name of the pixel format.
        colorspace: FFmpeg's number for that of the frame.
        color_range: likewise.
    """
    side = PROBE_BLOCKS * PROBE_BLOCK
    pixels = av.VideoFormat(name, side, side)
    parts = pixels.components
    bits = {part.bits for part in parts}
    planar = [part.plane for part in parts] == [0, 1, 2] and len(bits) == 1
    if pixels.is_rgb or pixels.is_big_endian or not planar or min(bits) < 8 or max(bits) > 16:
        return None
    across, down = side // parts[1].width, side // parts[1].height
    if max(across, down) > MOST_SUBSAMPLED:
        return None
    form = PlanarFormat(bits.pop(), across, down, np.zeros((3, 4), np.float32))
    probe = av.VideoFrame(side, side, name)
    probe.colorspace, probe.color_range = colorspace, color_range
    # Colours in the middle, none of which saturates in any colour space.
    random = np.random.default_rng(0)
    colours = random.integers(96, 160, (3, PROBE_BLOCKS, PROBE_BLOCKS), np.uint8)
    for plane, colour in zip(form.planes(probe), colours, strict=True):
        repeats = np.ones([length // PROBE_BLOCKS for length in plane.shape], plane.dtype)
        plane[:] = np.kron(colour.astype(plane.dtype) << (form.bits - 8), repeats)
    middle = slice(PROBE_BLOCK // 2, None, PROBE_BLOCK)
    seen = probe.reformat(format="rgb24").to_ndarray()[middle, middle]
    samples = np.vstack([colours.reshape(3, -1), np.ones(PROBE_BLOCKS**2)]).T
    matrix, *_ = np.linalg.lstsq(samples, seen.reshape(-1, 3).astype(np.float64), rcond=None)
    return PlanarFormat(form.bits, across, down, matrix.T.astype(np.float32))


def _scale(plane: Image, size: Size) -> Image:
    """Scale a plane; about the mean over the area that each pixel of the result covers."""
    while all(
        length >= 4 * wanted and length % 2 == 0
        for length, wanted in zip(plane.shape[::-1], size, strict=True)
    ):
        plane = _resize(plane, (plane.shape[1] // 2, plane.shape[0] // 2), cv2.INTER_AREA)
    steps = []
    for length, wanted in zip(plane.shape[::-1], size, strict=True):
        step = 2 if length > BILINEAR_RATIO * wanted else 1
        while length > 2 * step * wanted:
            step *= 2
        steps.append(step)
    across, down = steps
    plane = _resize(plane, (across * size[0], down * size[1]), cv2.INTER_LINEAR)
    while (across, down) != (1, 1):
        across, down = max(1, across // 2), max(1, down // 2)
        plane = _resize(plane, (across * size[0], down * size[1]), cv2.INTER_AREA)
    return plane


def _resize(plane: Image, size: Size, method: int) -> Image:
    if plane.shape[::-1] == size:
        return plane
    return np.asarray(cv2.resize(plane, size, interpolation=method), np.uint8)
