"""Pictures that are converted only as far as they are looked at.

Most of a frame is never seen by the network: a face is cut out and scaled to 224x224. So a decoded
picture stays in the planes that the decoder wrote, and a part of it is cut out of the planes,
scaled, and only then converted to RGB.
"""

from __future__ import annotations

import copy
import math
from functools import cached_property
from typing import Any, Protocol

import av
import cv2
import numpy as np
import numpy.typing as npt

from syncnet_client.media.planes import Plane, planar_format

__all__ = ["ArrayPicture", "DecodedPicture", "Picture"]

Image = npt.NDArray[np.uint8]
Size = tuple[int, int]  # width, height

# Squarer than this needs no scaling: some encoders round the aspect ratio of their pixels.
SQUARE_TOLERANCE = 0.01


class Picture(Protocol):
    """One picture, upright and with square pixels."""

    @property
    def size(self) -> Size:
        """Width and height in pixels."""

    def rgb(self) -> Image:
        """Return all of it: uint8 [height, width, 3], RGB. Do not write to it."""

    def part(self, left: int, top: int, width: int, height: int, size: Size) -> Image:
        """Return a part of it in another size.

        Args:
            left: first column of the part, in pixels.
            top: its first row.
            width: of the part, which is not empty.
            height: of the part; all of it is inside the picture.
            size: width and height of what is returned.

        Returns:
            uint8 [height, width, 3], RGB.
        """

    def luma(self, step: int) -> Image:
        """Return every ``step``-th pixel of every ``step``-th row in grey.

        Only pictures of one source compare: black and white are the source's own.
        """

    def within(self, left: int, top: int, width: int, height: int) -> Picture:
        """Return it for someone who will ask for parts inside a part alone.

        What is returned may hold less memory. The arguments are those of ``part``.
        """


class ArrayPicture:
    """A picture in memory.

    Args:
        image: uint8 [height, width, 3], RGB.
    """

    def __init__(self, image: Image) -> None:
        self._image = image

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        return self._image.shape[1], self._image.shape[0]

    def rgb(self) -> Image:
        """Return the array itself."""
        return self._image

    def part(self, left: int, top: int, width: int, height: int, size: Size) -> Image:
        """Return a part of it in another size, as uint8 [height, width, 3]."""
        part = self._image[top : top + height, left : left + width]
        if (width, height) == size:
            return np.ascontiguousarray(part)
        shrinks = width > size[0] and height > size[1]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(part, size, interpolation=method), dtype=np.uint8)

    def luma(self, step: int) -> Image:
        """Return every ``step``-th pixel of every ``step``-th row in grey."""
        grey = cv2.cvtColor(self._image[::step, ::step], cv2.COLOR_RGB2GRAY)
        return np.asarray(grey, dtype=np.uint8)

    def within(self, left: int, top: int, width: int, height: int) -> Picture:  # noqa: ARG002
        """Return the picture itself, which is in memory anyway."""
        return self


class DecodedPicture:
    """A picture as it left the decoder.

    Args:
        frame: what the decoder gave.
        aspect: width of a pixel over its height.
    """

    def __init__(self, frame: av.VideoFrame, aspect: float) -> None:
        self._frame: av.VideoFrame | None = frame
        self._stored_size = frame.width, frame.height
        self._corner = 0, 0  # of the planes in the frame, in luma pixels
        self._turns = round(frame.rotation / 90)
        width = round(frame.width * aspect)
        square = abs(width - frame.width) <= SQUARE_TOLERANCE * frame.width
        self._width = frame.width if square else width
        self._format = planar_format(frame.format.name, frame.colorspace, frame.color_range)

    @property
    def size(self) -> Size:
        """Width and height in pixels."""
        height = self._stored_size[1]
        return (height, self._width) if self._turns % 2 else (self._width, height)

    def rgb(self) -> Image:
        """Return all of it, uint8 [height, width, 3]; converted by FFmpeg, and only once."""
        return self._rgb

    def part(self, left: int, top: int, width: int, height: int, size: Size) -> Image:
        """Return a part of it in another size, as uint8 [height, width, 3]."""
        if self._format is None or (width, height) == size == self.size:
            return ArrayPicture(self._rgb).part(left, top, width, height, size)
        x, y, across, down = self._stored(left, top, width, height)
        x, y = x - self._corner[0], y - self._corner[1]
        turned = size[::-1] if self._turns % 2 else size
        return _turn(self._format.part(self._planes, x, y, across, down, turned), self._turns)

    def luma(self, step: int) -> Image:
        """Return every ``step``-th pixel of every ``step``-th row in grey."""
        if self._format is None:
            return ArrayPicture(self._rgb).luma(step)
        return _turn(self._format.luma(self._planes, step), self._turns)

    def within(self, left: int, top: int, width: int, height: int) -> Picture:
        """Return a picture that holds the pixels of a part alone, and lets go of the frame."""
        if self._format is None:
            return self
        x, y, across, down = self._stored(left, top, width, height)
        right, bottom = x + across, y + down
        x, y = x - x % self._format.across, y - y % self._format.down
        part = copy.copy(self)
        part._planes = self._format.cut(self._planes, x, y, right, bottom)
        part._corner, part._frame = (x, y), None
        part.__dict__.pop("_rgb", None)  # all of it, where somebody has asked for that
        return part

    @cached_property
    def _planes(self) -> list[Plane]:
        assert self._format is not None
        assert self._frame is not None
        return self._format.planes(self._frame)

    @cached_property
    def _rgb(self) -> Image:
        assert self._frame is not None
        pixels = self._frame.reformat(width=self._width, format="rgb24").to_ndarray()
        return _turn(pixels, self._turns)

    def _stored(self, left: int, top: int, width: int, height: int) -> tuple[int, int, int, int]:
        """Return where a part of the upright picture lies in the planes."""
        across, (stored_width, down) = self._width, self._stored_size
        turns = self._turns % 4
        if turns == 1:
            left, top, width, height = across - top - height, left, height, width
        elif turns == 2:
            left, top = across - left - width, down - top - height
        elif turns == 3:
            left, top, width, height = top, down - left - width, height, width
        if across != stored_width:
            stretch = stored_width / across
            left, right = math.floor(left * stretch), math.ceil((left + width) * stretch)
            width = right - left
        return left, top, width, height


def _turn(image: npt.NDArray[Any], turns: int) -> Image:
    """Turn an image counter-clockwise by quarters."""
    return np.ascontiguousarray(np.rot90(image, turns) if turns else image, dtype=np.uint8)
