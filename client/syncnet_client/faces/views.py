"""Small pictures of a frame for detectors, which know the way back to the frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from syncnet_client.faces.geometry import Box
from syncnet_client.media import Picture

__all__ = ["FOLLOW_PIXELS", "View", "near_view", "whole_view"]

# Whole frames are searched with so many pixels: 480 x 270 of a wide picture.
SEARCH_AREA = 480 * 270
# A known face is looked for with its box at so many pixels: coarser images make Haar boxes up to a
# tenth smaller.
FOLLOW_PIXELS = 64
# Side of the region that is looked at, in boxes: 96 pixels, which networks need not pad.
FOLLOW_REGION = 1.5


@dataclass(frozen=True, eq=False)
class View:
    """A part of a frame in another size.

    Attributes:
        image: uint8 [height, width, 3], RGB.
        left, top: the corner of the part, in pixels of the frame.
        across, down: pixels of ``image`` to a pixel of the frame.
    """

    image: npt.NDArray[np.uint8]
    left: int
    top: int
    across: float
    down: float

    def box(self, x: float, y: float, width: float, height: float) -> Box:
        """Return the box in the frame that is at this place in ``image``."""
        return Box(
            self.left + x / self.across,
            self.top + y / self.down,
            width / self.across,
            height / self.down,
        )


def whole_view(picture: Picture, most: float = 1.0) -> View:
    """Return a picture as small as whole frames are searched.

    Args:
        picture: of the frame.
        most: pixels of the view to a pixel of the frame, along a side, where it is small.
    """
    width, height = picture.size
    return _view(picture, 0, 0, width, height, min(most, (SEARCH_AREA / (width * height)) ** 0.5))


def near_view(picture: Picture, box: Box, reach: float) -> View | None:
    """Return the surroundings of a box, with the box at ``FOLLOW_PIXELS``.

    Args:
        picture: of the frame.
        box: in pixels of the frame.
        reach: how much further to look than for the next frames, from 1.

    Returns:
        None if all of it is outside the frame.
    """
    size = max(box.width, box.height)
    side = int(FOLLOW_REGION * reach * size)
    columns, rows = picture.size
    left = round(box.x + box.width / 2 - side / 2)
    top = round(box.y + box.height / 2 - side / 2)
    right, bottom = min(columns, left + side), min(rows, top + side)
    left, top = max(0, left), max(0, top)
    if left >= right or top >= bottom:
        return None
    return _view(picture, left, top, right - left, bottom - top, FOLLOW_PIXELS / size)


def _view(picture: Picture, left: int, top: int, width: int, height: int, scale: float) -> View:
    size = max(1, int(width * scale)), max(1, int(height * scale))
    image = picture.part(left, top, width, height, size)
    return View(image, left, top, size[0] / width, size[1] / height)
