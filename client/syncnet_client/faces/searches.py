"""Decide in which frames the whole picture is searched for faces.

Without a face in sight that is every twelfth frame. Beside known faces a new one can only be where
the picture has changed: every 32 frames it is searched if it has, and every 128 frames in any case.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2

from syncnet_client.faces.geometry import Box
from syncnet_client.faces.thumbnails import THUMBNAIL, Thumbnail, thumbnail
from syncnet_client.media import Picture

__all__ = ["SearchPlan"]

# In looks, which are four frames apart.
ALONE = 3
BESIDE_FACES = 8
UNCHANGED = 4 * BESIDE_FACES
CHANGED = 8.0  # grey levels, of one pixel of a thumbnail
# What is this near a face, in its boxes, moves with it.
SURROUNDINGS = 2.2


class SearchPlan:
    """When to search the whole picture, within one scene."""

    def __init__(self) -> None:
        self._looks = 0
        self._last = 0
        self._searched: Thumbnail | None = None

    def due(self, picture: Picture, faces: Sequence[Box]) -> bool:
        """Whether to search a picture; to be asked at every look.

        Args:
            picture: the whole frame.
            faces: those that are known, with the boxes where they were last.
        """
        look = self._looks
        self._looks += 1
        if look % (BESIDE_FACES if faces else ALONE):
            return False
        current = thumbnail(picture)
        if faces and self._searched is not None and look - self._last < UNCHANGED:
            change = cv2.absdiff(current, self._searched)
            for face in faces:
                change[_around(face, picture.size)] = 0
            if change.max() < CHANGED:
                return False
        self._last = look
        self._searched = current
        return True


def _around(face: Box, size: tuple[int, int]) -> tuple[slice, slice]:
    """Return the pixels of a thumbnail that show a face and its surroundings."""
    reach = SURROUNDINGS * max(face.width, face.height) / 2
    column, row = (
        slice(
            max(0, int((middle - reach) / length * THUMBNAIL)),
            max(0, int((middle + reach) / length * THUMBNAIL) + 1),
        )
        for middle, length in (
            (face.x + face.width / 2, size[0]),
            (face.y + face.height / 2, size[1]),
        )
    )
    return row, column
