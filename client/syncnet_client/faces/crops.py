"""Cut a square out of a frame, as the published pipeline does."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from syncnet_client.contract import FRAME_SIZE
from syncnet_client.faces.geometry import Box

__all__ = ["cut_out", "fit"]

OUTSIDE = 110  # grey, beyond the frame's edges


def cut_out(image: npt.NDArray[np.uint8], box: Box) -> npt.NDArray[np.uint8]:
    """Return the part of a frame inside a box, as uint8 [224, 224, 3].

    Edges are rounded to whole pixels; what lies outside the frame is grey 110.
    """
    left, top = round(box.x), round(box.y)
    width, height = max(1, round(box.width)), max(1, round(box.height))
    rows, columns = image.shape[:2]
    inside = image[
        max(0, top) : max(0, min(rows, top + height)),
        max(0, left) : max(0, min(columns, left + width)),
    ]
    if inside.shape[:2] != (height, width):
        padded = np.full((height, width, 3), OUTSIDE, np.uint8)
        if inside.size:
            y, x = max(0, -top), max(0, -left)
            padded[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        inside = padded
    return fit(inside)


def fit(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return an image resized to uint8 [224, 224, 3]; one of that size is returned as it is."""
    if image.shape[:2] == (FRAME_SIZE, FRAME_SIZE):
        return np.ascontiguousarray(image)
    shrinks = min(image.shape[:2]) > FRAME_SIZE
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(image, (FRAME_SIZE, FRAME_SIZE), interpolation=method)
    return np.asarray(resized, dtype=np.uint8)
