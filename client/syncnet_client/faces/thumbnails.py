"""Frames at 16x16 grey pixels, to tell cheaply what has changed."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from syncnet_client.media import Picture

__all__ = ["THUMBNAIL", "Thumbnail", "thumbnail"]

Thumbnail = npt.NDArray[np.uint8]  # [16, 16]

THUMBNAIL = 16  # pixels, both sides
SUBSAMPLED = 64  # pixels, roughly: enough for a thumbnail, and cheap


def thumbnail(picture: Picture) -> Thumbnail:
    """Return a picture as uint8 [16, 16]; compare it within one source only."""
    luma = picture.luma(max(1, min(picture.size) // SUBSAMPLED))
    small = cv2.resize(luma, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)
