"""One face through a scene: where it was seen, and where its crop is in every frame.

Faces are looked for in every fourth frame; in between, and while a face is lost for a moment,
positions are interpolated. As in the published pipeline the positions are then filtered with a
median over 13 frames, so that what the detector wavers does not shake the picture.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from syncnet_client.faces.detectors import Detector, Face
from syncnet_client.faces.geometry import Box, overlap

__all__ = ["HOLD_FRAMES", "LOOK_EVERY", "SceneTracker", "Track"]

LOOK_EVERY = 4  # frames
MEDIAN_REACH = 6  # frames to each side: a median over 13
# A face that is unseen for longer than this is lost, as in the published pipeline.
LOST_FRAMES = 25
# Up to so many frames at the edges of a scene get the position next to them.
HOLD_FRAMES = 12
# Whole frames are searched every so many looks.
SEARCH_LOOKS_ALONE = 3
SEARCH_LOOKS_BESIDE_TRACKS = 8
# A tentative track is confirmed when it was seen so often and clearly enough, and dropped when it
# was seen or missed so often before that.
CONFIRMING_HITS = 4
MOST_TENTATIVE_HITS = 8
MOST_TENTATIVE_MISSES = 2
SHORT_SCENE_HITS = 3
SAME_FACE = 0.3  # overlap of boxes

Rows = npt.NDArray[np.float64]


class Track:
    """A face in one scene: tentative at first, confirmed once it has a number, lost at last.

    Attributes:
        number: of the track in the clip; None while it is tentative.
        next_frame: first frame whose crop has not been taken.
        last_frame: frame of the last detection.
        end: last frame of the track; None while it goes on.
    """

    def __init__(self, start: int, frame: int, face: Face, score: float) -> None:
        self.number: int | None = None
        self.start = self.next_frame = start
        self.last_frame = frame
        self.face = face
        self.end: int | None = None
        self.hits = 1
        self.misses = 0  # since the last hit once confirmed, in all before
        self._score = score
        # Position and whether it was seen, for frames from _first on.
        self._rows = deque([_row(face)] * (frame - start + 1))
        self._seen = deque([False] * (frame - start) + [True])
        self._first = start

    @property
    def score(self) -> float:
        """Mean score of its detections."""
        return self._score / self.hits

    def hit(self, frame: int, face: Face, score: float) -> None:
        """Note that the face was seen at ``frame``, and fill the frames since it was last."""
        before, after = _row(self.face), _row(face)
        step = frame - self.last_frame
        for number in range(1, step + 1):
            self._rows.append(before + (after - before) * (number / step))
            self._seen.append(number == step or step <= LOOK_EVERY)
        self.face, self.last_frame = face, frame
        self.hits += 1
        self._score += score
        if self.number is not None:
            self.misses = 0

    def close(self, scene_end: int | None = None) -> None:
        """End the track at its last detection, or at the end of the scene if that is near."""
        self.end = self.last_frame
        if scene_end is not None and scene_end - self.last_frame <= HOLD_FRAMES:
            self.end = scene_end
            for _ in range(scene_end - self.last_frame):
                self._rows.append(self._rows[-1])
                self._seen.append(False)

    def settled(self) -> int:
        """Return the frame before which crops no longer change."""
        return self.last_frame - MEDIAN_REACH + 1 if self.end is None else self.end + 1

    def take(self) -> tuple[Box, bool]:
        """Return the crop of ``next_frame`` and whether the face was seen there, and step on."""
        at = self.next_frame - self._first
        window = list(self._rows)[max(0, at - MEDIAN_REACH) : at + MEDIAN_REACH + 1]
        centre, top, side = np.median(np.stack(window), axis=0)
        seen = self._seen[at]
        self.next_frame += 1
        while self._first < self.next_frame - MEDIAN_REACH:
            self._rows.popleft()
            self._seen.popleft()
            self._first += 1
        return Box(float(centre - side / 2), float(top), float(side), float(side)), seen


class SceneTracker:
    """The tracks of one scene after another.

    Attributes:
        tracks: those that go on.
        confirmed: number of tracks confirmed so far, in the whole clip.
        ignored: number of tracks that were seen long enough, but never clearly enough.
    """

    def __init__(self, detector: Detector) -> None:
        self.tracks: list[Track] = []
        self.confirmed = 0
        self.ignored = 0
        self._detector = detector
        self._looks = 0
        self._scene_start = 0

    def begin_scene(self, frame: int) -> None:
        """Begin anew at ``frame``; all tracks must have been closed."""
        self._scene_start = frame
        self._looks = 0

    def look(self, frame: int, image: npt.NDArray[np.uint8], oldest: int) -> list[Track]:
        """Look for faces and return the tracks that ended.

        Args:
            frame: index of the frame.
            image: the frame, uint8 [height, width, 3], RGB.
            oldest: index of the oldest frame that a new track can begin with.
        """
        every = SEARCH_LOOKS_BESIDE_TRACKS if self.tracks else SEARCH_LOOKS_ALONE
        found = self._detector.search(image) if self._looks % every == 0 else []
        self._looks += 1
        for track in self.tracks:
            reach = 1 + (frame - track.last_frame - LOOK_EVERY) / LOST_FRAMES
            face = self._detector.follow(image, track.face, reach)
            if face is None:
                face = next((new for new in found if _same(new, track.face)), None)
            if face is None:
                track.misses += 1
            else:
                track.hit(frame, face, self._score(image, face, track.number is None))
        for face in found:
            if not any(_same(face, track.face) for track in self.tracks):
                near = frame - self._scene_start <= HOLD_FRAMES and oldest <= self._scene_start
                start = self._scene_start if near else frame
                self.tracks.append(Track(start, frame, face, self._score(image, face, True)))
        return self._judge(frame)

    def end_scene(self, last_frame: int) -> list[Track]:
        """Close all tracks and return those that are confirmed."""
        for track in self.tracks:
            track.close(last_frame)
            throughout = track.start == self._scene_start and not track.misses
            often = track.hits >= SHORT_SCENE_HITS or throughout
            if track.number is None and often and track.score >= self._detector.sure:
                self._confirm(track)
            if track.number is None:
                self._ignore(track)
        ended = [track for track in self.tracks if track.number is not None]
        self.tracks = []
        return ended

    def _judge(self, frame: int) -> list[Track]:
        """Confirm, drop and end tracks."""
        ended: list[Track] = []
        kept: list[Track] = []
        for track in self.tracks:
            if track.number is None:
                if track.hits >= CONFIRMING_HITS and track.score >= self._detector.sure:
                    self._confirm(track)
                elif track.hits >= MOST_TENTATIVE_HITS or track.misses >= MOST_TENTATIVE_MISSES:
                    self._ignore(track)
                    continue
            lost = frame - track.last_frame > LOST_FRAMES
            doubled = any(_same(track.face, other.face) for other in kept)
            if not (lost or doubled):
                kept.append(track)
            elif track.number is not None:
                track.close()
                ended.append(track)
        self.tracks = kept
        return ended

    def _score(self, image: npt.NDArray[np.uint8], face: Face, tentative: bool) -> float:
        return face.score + (self._detector.second_opinion(image, face) if tentative else 0.0)

    def _ignore(self, track: Track) -> None:
        self.ignored += track.hits >= CONFIRMING_HITS

    def _confirm(self, track: Track) -> None:
        track.number = self.confirmed
        track.misses = 0
        self.confirmed += 1


def _row(face: Face) -> Rows:
    return np.array([face.crop.centre, face.crop.top, face.crop.side])


def _same(first: Face, second: Face) -> bool:
    return overlap(first.box, second.box) > SAME_FACE
