"""Find faces in a frame, and find a known face again near where it was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from syncnet_client.errors import UsageError
from syncnet_client.faces.geometry import (
    HAAR_MARGINS,
    YUNET_MARGINS,
    Box,
    Square,
    overlap,
)

__all__ = ["Detector", "Face", "HaarDetector", "YuNetDetector"]

Image = npt.NDArray[np.uint8]

# Whole frames are searched with their longer side at this many pixels.
SEARCH_PIXELS = 480
# A known face is looked for with its box at this many pixels: coarser images make Haar boxes up to
# a tenth smaller.
FOLLOW_PIXELS = 64
FOLLOW_MARGIN = 0.3  # of the box, to each side
FOLLOW_GROWTH = 1.33  # largest change of size, in either direction


@dataclass(frozen=True)
class Face:
    """A detection: the detector's own box, the crop that follows from it, and how sure it is."""

    box: Box
    crop: Square
    score: float


class Detector(Protocol):
    """Finds faces; every image is uint8 [height, width, 3], RGB."""

    name: str
    sure: float  # the mean score from which a track is confirmed

    def search(self, image: Image) -> list[Face]:
        """Return all faces in a frame."""

    def follow(self, image: Image, face: Face, reach: float) -> Face | None:
        """Return the face that ``face`` has become, or None.

        Args:
            image: a later frame.
            face: the last detection of it.
            reach: how much further to look than for the next frames, from 1.
        """

    def second_opinion(self, image: Image, face: Face) -> float:
        """Return what to add to a detection's score, before its track is confirmed."""


class HaarDetector:
    """OpenCV's cascade for frontal faces, which comes with OpenCV itself.

    The cascade is easily fooled by folds and hands, which get scores of up to 4, where faces that
    are tilted or blurred get as little. A second cascade, trained independently, tells them apart:
    it sees nine faces of ten again, and less than half of the rest.
    """

    name = "Haar cascade"
    sure = 5.5

    _SEARCH_NEIGHBOURS = 5
    _FOLLOW_NEIGHBOURS = 4
    _STEP = 1.1  # between the sizes that are tried
    _WINDOW = 24  # pixels, of the cascade
    _SECOND_NEIGHBOURS = 2
    _SECOND_SCORE = 3.0

    def __init__(self) -> None:
        folder = Path(cv2.__file__).parent / "data"
        self._cascade, self._second = (
            cv2.CascadeClassifier(str(folder / f"haarcascade_frontalface_{name}.xml"))
            for name in ("default", "alt2")
        )

    def search(self, image: Image) -> list[Face]:
        """Return all faces in a frame, from 1/16 of its longer side."""
        scale = min(1.0, SEARCH_PIXELS / max(image.shape[:2]))
        smallest = max(self._WINDOW, round(scale * max(image.shape[:2]) / 16))
        return self._detect(image, scale, 0, 0, self._SEARCH_NEIGHBOURS, smallest, max(image.shape))

    def follow(self, image: Image, face: Face, reach: float) -> Face | None:
        """Return the face that ``face`` has become, or None."""
        region = _region(image, face.box, reach)
        if region is None:
            return None
        part, left, top = region
        scale = FOLLOW_PIXELS / face.box.width
        growth = FOLLOW_GROWTH * reach
        found = self._detect(
            part,
            scale,
            left,
            top,
            self._FOLLOW_NEIGHBOURS,
            max(self._WINDOW, round(FOLLOW_PIXELS / growth)),
            round(FOLLOW_PIXELS * growth),
        )
        return max(found, key=lambda other: overlap(face.box, other.box), default=None)

    def second_opinion(self, image: Image, face: Face) -> float:
        """Return 3 if the second cascade sees the face too, else 0."""
        region = _region(image, face.box, 1.0)
        if region is None:
            return 0.0
        small = _grey(region[0], FOLLOW_PIXELS / face.box.width)
        smallest, largest = round(FOLLOW_PIXELS / 1.5), round(FOLLOW_PIXELS * 1.5)
        seen = self._second.detectMultiScale(
            small,
            scaleFactor=self._STEP,
            minNeighbors=self._SECOND_NEIGHBOURS,
            minSize=(smallest, smallest),
            maxSize=(largest, largest),
        )
        return self._SECOND_SCORE if len(seen) else 0.0

    def _detect(
        self,
        image: Image,
        scale: float,
        left: int,
        top: int,
        neighbours: int,
        smallest: int,
        largest: int,
    ) -> list[Face]:
        boxes, _, scores = self._cascade.detectMultiScale3(
            _grey(image, scale),
            scaleFactor=self._STEP,
            minNeighbors=neighbours,
            minSize=(smallest, smallest),
            maxSize=(largest, largest),
            outputRejectLevels=True,
        )
        faces = []
        for (x, y, width, height), score in zip(boxes, np.ravel(scores), strict=True):
            box = Box(left + x / scale, top + y / scale, width / scale, height / scale)
            faces.append(Face(box, HAAR_MARGINS.crop(box), float(score)))
        return faces


class YuNetDetector:
    """The YuNet network, for users who have its ONNX file.

    Args:
        path: the ONNX file.

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
            self._network = cv2.FaceDetectorYN.create(
                str(path),
                "",
                (SEARCH_PIXELS, SEARCH_PIXELS),
                self._SCORE,
                self._OVERLAP,
                self._MOST,
            )
        except cv2.error as error:
            raise UsageError(f"{path} is not an ONNX file of YuNet") from error

    def search(self, image: Image) -> list[Face]:
        """Return all faces in a frame."""
        return self._detect(image, min(1.0, SEARCH_PIXELS / max(image.shape[:2])), 0, 0)

    def follow(self, image: Image, face: Face, reach: float) -> Face | None:
        """Return the face that ``face`` has become, or None."""
        region = _region(image, face.box, reach)
        if region is None:
            return None
        part, left, top = region
        found = self._detect(part, FOLLOW_PIXELS / max(face.box.width, face.box.height), left, top)
        return max(found, key=lambda other: overlap(face.box, other.box), default=None)

    def second_opinion(self, image: Image, face: Face) -> float:  # noqa: ARG002
        """Return 0: the network's own score will do."""
        return 0.0

    def _detect(self, image: Image, scale: float, left: int, top: int) -> list[Face]:
        small = cv2.cvtColor(_resize(image, scale), cv2.COLOR_RGB2BGR)
        self._network.setInputSize((small.shape[1], small.shape[0]))
        _, rows = self._network.detect(small)
        faces = []
        for row in rows if rows is not None else ():
            x, y, width, height = (float(value) / scale for value in row[:4])
            box = Box(left + x, top + y, width, height)
            faces.append(Face(box, YUNET_MARGINS.crop(box), float(row[-1])))
        return faces


def _resize(image: Image, scale: float) -> Image:
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=method), dtype=np.uint8)


def _grey(image: Image, scale: float) -> Image:
    """Return a smaller image in grey, with all the contrast that there can be.

    The cascades reject windows of little contrast unseen, and with them faces in the dark.
    """
    grey = cv2.cvtColor(_resize(image, scale), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.normalize(grey, grey, 0, 255, cv2.NORM_MINMAX), dtype=np.uint8)


def _region(image: Image, box: Box, reach: float) -> tuple[Image, int, int] | None:
    """Return the part of an image around a box, with the position of its corner."""
    margin = FOLLOW_MARGIN * reach * max(box.width, box.height)
    left, top = max(0, int(box.x - margin)), max(0, int(box.y - margin))
    part = image[top : int(box.y + box.height + margin), left : int(box.x + box.width + margin)]
    return (part, left, top) if part.size else None
