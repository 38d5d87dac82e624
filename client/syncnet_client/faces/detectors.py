"""What a detector of faces is to the rest of the package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from syncnet_client.faces.geometry import Box, Square
from syncnet_client.media import Picture

__all__ = ["Detector", "Face"]


@dataclass(frozen=True)
class Face:
    """A detection: the detector's own box, the crop that follows from it, and how sure it is."""

    box: Box
    crop: Square
    score: float


class Detector(Protocol):
    """Finds faces.

    Attributes:
        name: in results and on the command line.
        title: for people, as in "searched with OpenCV's Haar cascade".
        sure: the mean score from which a track is confirmed.
        advice: what to try where it finds no face, for the middle of a sentence.
    """

    name: str
    title: str
    sure: float
    advice: str

    def search(self, picture: Picture) -> list[Face]:
        """Return all faces in a frame."""

    def follow(self, picture: Picture, face: Face, reach: float) -> Face | None:
        """Return the face that ``face`` has become, or None.

        Args:
            picture: of another frame, a few frames away.
            face: the last detection of it.
            reach: how much further to look than for the next frames, from 1.
        """

    def second_opinion(self, picture: Picture, face: Face) -> float:
        """Return what to add to a detection's score, before its track is confirmed."""
