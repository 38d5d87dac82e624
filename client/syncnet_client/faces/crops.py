"""Cut a square out of a picture, as the published pipeline does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from syncnet_client.contract import FRAME_SIZE
from syncnet_client.faces.geometry import Box
from syncnet_client.media import Picture

__all__ = ["cut_out", "fit"]

OUTSIDE = 110  # grey, beyond the frame's edges


def cut_out(picture: Picture, box: Box) -> npt.NDArray[np.uint8]:
    """Return the part of a picture inside a box, as uint8 [224, 224, 3], RGB.

    Edges are rounded to whole pixels; what lies outside the picture is grey 110.
    """
    left, top = round(box.x), round(box.y)
    width, height = max(1, round(box.width)), max(1, round(box.height))
    columns, rows = picture.size
    first, last = max(0, left), min(columns, left + width)
    above, below = max(0, top), min(rows, top + height)
    if (first, above, last, below) == (left, top, left + width, top + height):
        return picture.part(left, top, width, height, (FRAME_SIZE, FRAME_SIZE))
    crop = np.full((FRAME_SIZE, FRAME_SIZE, 3), OUTSIDE, np.uint8)
    x, right = (round((edge - left) * FRAME_SIZE / width) for edge in (first, last))
    y, bottom = (round((edge - top) * FRAME_SIZE / height) for edge in (above, below))
    if right > x and bottom > y:
        size = (right - x, bottom - y)
        crop[y:bottom, x:right] = picture.part(first, above, last - first, below - above, size)
    return crop


def fit(picture: Picture) -> npt.NDArray[np.uint8]:
    """Return a whole picture as uint8 [224, 224, 3], RGB; one of that size as it is."""
    return picture.part(0, 0, *picture.size, (FRAME_SIZE, FRAME_SIZE))
