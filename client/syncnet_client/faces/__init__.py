"""Faces: find them, follow them, and cut the square that the network was trained on."""

from syncnet_client.faces.cropper import CropMode, FaceCropper, FixedCropper, make_cropper
from syncnet_client.faces.detectors import Detector, HaarDetector, YuNetDetector
from syncnet_client.faces.geometry import Box
from syncnet_client.faces.types import (
    CropEvent,
    CroppedFrame,
    Cropper,
    CropSummary,
    EndReason,
    TrackEnd,
    TrackFrames,
)

__all__ = [
    "Box",
    "CropEvent",
    "CropMode",
    "CropSummary",
    "CroppedFrame",
    "Cropper",
    "Detector",
    "EndReason",
    "FaceCropper",
    "FixedCropper",
    "HaarDetector",
    "TrackEnd",
    "TrackFrames",
    "YuNetDetector",
    "make_cropper",
]
