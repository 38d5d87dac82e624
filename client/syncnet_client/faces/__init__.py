"""Faces: find them, follow them, and cut the square that the network was trained on."""

from syncnet_client.faces.cropper import (
    CropMode,
    DetectorName,
    FaceCropper,
    FixedCropper,
    detector_maker,
    make_cropper,
)
from syncnet_client.faces.detectors import Detector, Face
from syncnet_client.faces.geometry import Box, Square
from syncnet_client.faces.haar import HaarDetector
from syncnet_client.faces.types import (
    CropEvent,
    CroppedFrame,
    Cropper,
    CropSummary,
    EndReason,
    TrackEnd,
    TrackFrames,
)
from syncnet_client.faces.yunet import YuNetDetector, fetch_yunet, yunet_file

__all__ = [
    "Box",
    "CropEvent",
    "CropMode",
    "CropSummary",
    "CroppedFrame",
    "Cropper",
    "Detector",
    "DetectorName",
    "EndReason",
    "Face",
    "FaceCropper",
    "FixedCropper",
    "HaarDetector",
    "Square",
    "TrackEnd",
    "TrackFrames",
    "YuNetDetector",
    "detector_maker",
    "fetch_yunet",
    "make_cropper",
    "yunet_file",
]
