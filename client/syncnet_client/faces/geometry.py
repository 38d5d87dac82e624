"""From a detector's box to the crop that SyncNet was trained on.

The published pipeline takes the box of the S3FD detector, with S its longer side: the crop is a
square of 1.4 S around the box's centre line, and begins S/2 above the box's centre. Other
detectors draw tighter or wider boxes, so each has margins of its own; they are all here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = [
    "HAAR_MARGINS",
    "S3FD_MARGINS",
    "YUNET_MARGINS",
    "Box",
    "CropMargins",
    "Square",
    "overlap",
]


class Box(NamedTuple):
    """A rectangle in pixels of the source frame; it may reach over the frame's edges."""

    x: float
    y: float
    width: float
    height: float


class Square(NamedTuple):
    """A square crop in pixels of the source frame: centre line, top edge and side."""

    centre: float
    top: float
    side: float


@dataclass(frozen=True)
class CropMargins:
    """The crop in units of the longer side of a detector's box.

    Attributes:
        side: of the crop.
        above: from the crop's top edge down to the box's centre.
    """

    side: float
    above: float

    def crop(self, box: Box) -> Square:
        """Return the crop that follows from a box."""
        size = max(box.width, box.height)
        middle = box.y + box.height / 2
        return Square(box.x + box.width / 2, middle - self.above * size, self.side * size)


# The box of OpenCV's frontal cascade reaches from the forehead to just below the lower lip.
# Measured on a published crop: the crop's side is 1.62 boxes, and it begins 0.03 boxes above.
HAAR_MARGINS = CropMargins(side=1.62, above=0.53)
S3FD_MARGINS = CropMargins(side=1.4, above=0.5)
# YuNet was trained on the same faces as S3FD and its box means the same.
YUNET_MARGINS = S3FD_MARGINS


def overlap(first: Box, second: Box) -> float:
    """Return the area two boxes share over the area they cover together, 0 to 1."""
    width = min(first.x + first.width, second.x + second.width) - max(first.x, second.x)
    height = min(first.y + first.height, second.y + second.height) - max(first.y, second.y)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (first.width * first.height + second.width * second.height - shared)
