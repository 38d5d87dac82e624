"""The YuNet network, run by OpenCV."""

from __future__ import annotations

from pathlib import Path

import cv2

from syncnet_client.errors import UsageError
from syncnet_client.faces.detectors import Face
from syncnet_client.faces.geometry import YUNET_MARGINS, overlap
from syncnet_client.faces.views import FOLLOW_PIXELS, View, near_view, whole_view
from syncnet_client.media import Picture

__all__ = ["YuNetDetector"]


class YuNetDetector:
    """The YuNet network.

    Args:
        path: its ONNX file.

    Raises:
        UsageError: it is missing or OpenCV cannot load it.
    """

    name = "YuNet"
    sure = 0.7

    _SCORE = 0.6
    _OVERLAP = 0.3  # from which two boxes are one face
    _MOST = 50  # faces in a frame

    def __init__(self, path: str | Path) -> None:
        if not Path(path).is_file():
            raise UsageError(f"{path}: no such file; it should be the ONNX file of YuNet")
        try:
            # One for each size of image: a change of size takes as long as to detect.
            self._whole, self._near = (self._load(path) for _ in range(2))
        except cv2.error as error:
            raise UsageError(f"{path} is not an ONNX file of YuNet") from error

    def search(self, picture: Picture) -> list[Face]:
        """Return all faces in a frame."""
        return self._detect(self._whole, whole_view(picture))

    def follow(self, picture: Picture, face: Face, reach: float) -> Face | None:
        """Return the face that ``face`` has become, or None."""
        view = near_view(picture, face.box, reach)
        found = [] if view is None else self._detect(self._near, view)
        return max(found, key=lambda other: overlap(face.box, other.box), default=None)

    def second_opinion(self, picture: Picture, face: Face) -> float:  # noqa: ARG002
        """Return 0: the network's own score will do."""
        return 0.0

    def _load(self, path: str | Path) -> cv2.FaceDetectorYN:
        size = (FOLLOW_PIXELS, FOLLOW_PIXELS)  # until the first image sets it
        return cv2.FaceDetectorYN.create(
            str(path), "", size, self._SCORE, self._OVERLAP, self._MOST
        )

    def _detect(self, network: cv2.FaceDetectorYN, view: View) -> list[Face]:
        image = cv2.cvtColor(view.image, cv2.COLOR_RGB2BGR)
        network.setInputSize((image.shape[1], image.shape[0]))
        _, rows = network.detect(image)
        faces = []
        for row in rows if rows is not None else ():
            box = view.box(*(float(value) for value in row[:4]))
            faces.append(Face(box, YUNET_MARGINS.crop(box), float(row[-1])))
        return faces
