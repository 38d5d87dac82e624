"""The YuNet network, run by OpenCV, and the file that holds it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import platformdirs

from syncnet_client.download import RemoteFile, download
from syncnet_client.errors import UsageError
from syncnet_client.faces.detectors import Face
from syncnet_client.faces.geometry import YUNET_MARGINS, overlap
from syncnet_client.faces.views import FOLLOW_PIXELS, View, near_view, whole_view
from syncnet_client.media import Picture

__all__ = ["YUNET", "YuNetDetector", "fetch_yunet", "yunet_file"]

# What OpenCV publishes under the MIT licence.
YUNET = RemoteFile(
    url="https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/"
    "face_detection_yunet_2023mar.onnx",
    size=232_589,
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    option="--yunet",
)
CACHE_VARIABLE = "SYNCNET_CACHE_DIR"


@contextmanager
def _errors_alone() -> Iterator[None]:
    """Keep OpenCV 5 from warning of a setting that nobody made; OpenCV 4 has nothing to say."""
    log: Any = getattr(cv2.utils, "logging", None)
    if log is None:
        yield
        return
    level = log.setLogLevel(log.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        log.setLogLevel(level)


def yunet_file() -> Path:
    """Return where the file of YuNet is or would be: in the user's cache folder.

    The environment variable ``SYNCNET_CACHE_DIR`` names another folder.
    """
    folder = os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("syncnet-triton")
    return Path(folder) / YUNET.name


def fetch_yunet() -> Path:
    """Download the file of YuNet into the cache folder, unless it is there.

    Returns:
        Its path.

    Raises:
        DownloadError: it cannot be fetched, or the file there is another one.
    """
    path = yunet_file()
    download(path, YUNET)
    return path


class YuNetDetector:
    """The YuNet network.

    Args:
        path: its ONNX file.

    Raises:
        UsageError: it is missing or OpenCV cannot load it.
    """

    name = "yunet"
    title = "YuNet"
    sure = 0.7
    advice = ""

    _SCORE = 0.6
    _OVERLAP = 0.3  # from which two boxes are one face
    _MOST = 50  # faces in a frame
    # It sees faces of 12 pixels, so half the size shows what is large enough to be read from.
    _SEARCH_SCALE = 0.5

    def __init__(self, path: str | Path) -> None:
        if not Path(path).is_file():
            raise UsageError(
                f"{path}: no such file; it should be the ONNX file of YuNet, which "
                "syncnet-client fetch yunet downloads"
            )
        try:
            # One for each size of image: a change of size takes as long as to detect.
            self._whole, self._near = (self._load(path) for _ in range(2))
        except cv2.error as error:
            raise UsageError(f"{path} is not an ONNX file of YuNet") from error

    def search(self, picture: Picture) -> list[Face]:
        """Return all faces in a frame."""
        return self._detect(self._whole, whole_view(picture, self._SEARCH_SCALE))

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
        with _errors_alone():
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
