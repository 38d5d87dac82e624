"""Notice scene cuts.

Two frames belong to different scenes when thumbnails of them differ both in brightness, on
average, and in pattern (their correlation): a change of exposure keeps the pattern, a person who
moves in front of a still background changes little on average. One frame that differs from both
its neighbours, which are alike, is a flash and no cut.
"""

from __future__ import annotations

import cv2
import numpy as np

from syncnet_client.faces.thumbnails import Thumbnail, thumbnail
from syncnet_client.media import Picture

__all__ = ["CutDetector"]

LEAST_DIFFERENCE = 12.0  # mean absolute difference, of 255
MOST_ALIKE = 0.7  # correlation
FLAT = 2.0  # standard deviation below which an image has no pattern


class CutDetector:
    """Tell for each frame, one frame later, whether a new scene begins with it."""

    def __init__(self) -> None:
        self._scene: Thumbnail | None = None  # last frame that is no flash
        self._pending: Thumbnail | None = None

    def push(self, picture: Picture) -> bool:
        """Take a frame and tell whether the one *before* it is the first of a scene."""
        following = thumbnail(picture)
        cut = self._settle(following)
        self._pending = following
        return cut

    def finish(self) -> bool:
        """Tell whether the last frame is the first of a scene."""
        return self._settle(self._pending)

    def _settle(self, following: Thumbnail | None) -> bool:
        pending, scene = self._pending, self._scene
        if pending is None or following is None:
            return False
        if scene is None or not _differ(scene, pending):
            self._scene = pending
            return False
        if not _differ(scene, following):
            return False  # a flash
        self._scene = pending
        return True


def _differ(first: Thumbnail, second: Thumbnail) -> bool:
    if cv2.norm(first, second, cv2.NORM_L1) < LEAST_DIFFERENCE * first.size:
        return False
    patterns = [image.ravel().astype(np.float32) for image in (first, second)]
    if min(pattern.std() for pattern in patterns) < FLAT:
        return True
    return bool(np.corrcoef(patterns)[0, 1] < MOST_ALIKE)
