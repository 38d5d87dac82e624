"""OpenCV's cascade for frontal faces, which OpenCV 4 brings along and OpenCV 5 does not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from syncnet_client.errors import UsageError
from syncnet_client.faces.detectors import Face
from syncnet_client.faces.geometry import HAAR_MARGINS, overlap
from syncnet_client.faces.views import FOLLOW_PIXELS, View, near_view, whole_view
from syncnet_client.media import Picture

__all__ = ["HaarDetector"]

FOLLOW_GROWTH = 1.33  # largest change of size, in either direction


class HaarDetector:
    """OpenCV's cascade for frontal faces.

    The cascade is easily fooled by folds and hands, which get scores of up to 4, where faces that
    are tilted or blurred get as little. A second cascade, trained independently, tells them apart:
    it sees nine faces of ten again, and less than half of the rest.

    Raises:
        UsageError: this OpenCV has no cascades.
    """

    name = "haar"
    title = "OpenCV's Haar cascade"
    sure = 5.5
    advice = "install a better detector with syncnet-client fetch yunet, "

    _SEARCH_NEIGHBOURS = 5
    _FOLLOW_NEIGHBOURS = 4
    _STEP = 1.1  # between the sizes that are tried
    _WINDOW = 24  # pixels, of the cascade
    _SECOND_NEIGHBOURS = 2
    _SECOND_SCORE = 3.0

    def __init__(self) -> None:
        if not hasattr(cv2, "CascadeClassifier"):
            raise UsageError(
                f"OpenCV {cv2.__version__} has no Haar cascade to find faces with: install YuNet "
                "with syncnet-client fetch yunet, or give --crop"
            )
        folder = Path(cv2.__file__).parent / "data"
        self._cascade, self._second = (
            cv2.CascadeClassifier(str(folder / f"haarcascade_frontalface_{name}.xml"))
            for name in ("default", "alt2")
        )

    def search(self, picture: Picture) -> list[Face]:
        """Return all faces in a frame, from 1/16 of its longer side."""
        view = whole_view(picture)
        longer = max(view.image.shape)
        smallest = max(self._WINDOW, round(longer / 16))
        return self._detect(view, self._SEARCH_NEIGHBOURS, smallest, longer)

    def follow(self, picture: Picture, face: Face, reach: float) -> Face | None:
        """Return the face that ``face`` has become, or None."""
        view = near_view(picture, face.box, reach)
        if view is None:
            return None
        growth = FOLLOW_GROWTH * reach
        smallest = max(self._WINDOW, round(FOLLOW_PIXELS / growth))
        found = self._detect(view, self._FOLLOW_NEIGHBOURS, smallest, round(FOLLOW_PIXELS * growth))
        return max(found, key=lambda other: overlap(face.box, other.box), default=None)

    def second_opinion(self, picture: Picture, face: Face) -> float:
        """Return 3 if the second cascade sees the face too, else 0."""
        view = near_view(picture, face.box, 1.0)
        if view is None:
            return 0.0
        smallest, largest = round(FOLLOW_PIXELS / 1.5), round(FOLLOW_PIXELS * 1.5)
        seen = self._second.detectMultiScale(
            _grey(view.image),
            scaleFactor=self._STEP,
            minNeighbors=self._SECOND_NEIGHBOURS,
            minSize=(smallest, smallest),
            maxSize=(largest, largest),
        )
        return self._SECOND_SCORE if len(seen) else 0.0

    def _detect(self, view: View, neighbours: int, smallest: int, largest: int) -> list[Face]:
        places, _, scores = self._cascade.detectMultiScale3(
            _grey(view.image),
            scaleFactor=self._STEP,
            minNeighbors=neighbours,
            minSize=(smallest, smallest),
            maxSize=(largest, largest),
            outputRejectLevels=True,
        )
        faces = []
        for place, score in zip(places, np.ravel(scores), strict=True):
            box = view.box(*(float(value) for value in place))
            faces.append(Face(box, HAAR_MARGINS.crop(box), float(score)))
        return faces


def _grey(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return an image in grey, with all the contrast that there can be.

    The cascades reject windows of little contrast unseen, and with them faces in the dark.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.normalize(grey, grey, 0, 255, cv2.NORM_MINMAX), dtype=np.uint8)
