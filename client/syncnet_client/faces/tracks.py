"""One face through a scene: where it was seen, and where its crop is in every frame.

A confirmed face is looked for in every eighth frame, and in every fourth while it moves fast or
cannot be seen; in between, positions are interpolated. As in the published pipeline the positions
are then filtered with a median over 13 frames, so that what the detector wavers does not shake the
picture.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median

from syncnet_client.faces.detectors import Detector, Face
from syncnet_client.faces.geometry import Box, Square, overlap
from syncnet_client.faces.searches import SearchPlan
from syncnet_client.media import Frame

__all__ = ["HOLD_FRAMES", "LOOK_EVERY", "SceneTracker", "Track"]

LOOK_EVERY = 4  # frames
FOLLOW_EVERY = 2 * LOOK_EVERY  # frames, for confirmed faces
# A face that has moved by more than this between two looks is looked for half-way as well.
FAST = 0.08  # of the crop's side
MEDIAN_REACH = 6  # frames to each side: a median over 13
# A face that is unseen for longer than this is lost, as in the published pipeline.
LOST_FRAMES = 25
# Up to so many frames at the edges of a scene get the position next to them.
HOLD_FRAMES = 12
# A tentative track is confirmed when it was seen so often and clearly enough, and dropped when it
# was seen or missed so often before that.
CONFIRMING_HITS = 4
MOST_TENTATIVE_HITS = 8
MOST_TENTATIVE_MISSES = 2
SHORT_SCENE_HITS = 3
SAME_FACE = 0.3  # overlap of boxes


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
        self._rows = deque([face.crop] * (frame - start + 1))
        self._seen = deque([False] * (frame - start) + [True])
        self._first = start

    @property
    def score(self) -> float:
        """Mean score of its detections."""
        return self._score / self.hits

    def due(self, frame: int) -> bool:
        """Whether to look for the face at ``frame``."""
        return self.number is None or self.misses > 0 or frame - self.last_frame >= FOLLOW_EVERY

    def hit(self, frame: int, face: Face, score: float) -> None:
        """Note that the face was seen at ``frame``, and fill the frames since it was last."""
        before, after = self.face.crop, face.crop
        step = frame - self.last_frame
        for number in range(1, step + 1):
            share = number / step
            self._rows.append(
                Square(*(old + (new - old) * share for old, new in zip(before, after, strict=True)))
            )
            self._seen.append(number == step or step <= FOLLOW_EVERY)
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

    def extent(self, frame: int) -> Box:
        """Return a box that the crop of a frame will not leave.

        A median lies among the values that are known as soon as those are the most: for every
        frame up to the last detection, once the track is confirmed.
        """
        window = self._window(frame)
        centres, tops, sides = zip(*window, strict=True)
        left, side = min(centres) - max(sides) / 2, max(sides)
        return Box(left, min(tops), max(centres) + side / 2 - left, max(tops) + side - min(tops))

    def take(self) -> tuple[Box, bool]:
        """Return the crop of ``next_frame`` and whether the face was seen there, and step on."""
        window = self._window(self.next_frame)
        centre, top, side = (median(values) for values in zip(*window, strict=True))
        seen = self._seen[self.next_frame - self._first]
        self.next_frame += 1
        while self._first < self.next_frame - MEDIAN_REACH:
            self._rows.popleft()
            self._seen.popleft()
            self._first += 1
        return Box(centre - side / 2, top, side, side), seen

    def _window(self, frame: int) -> list[Square]:
        """The positions that are known of those that the crop of a frame is the median of."""
        at = frame - self._first
        return list(self._rows)[max(0, at - MEDIAN_REACH) : at + MEDIAN_REACH + 1]


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
        self._plan = SearchPlan()
        self._scene_start = 0

    def begin_scene(self, frame: int) -> None:
        """Begin anew at ``frame``; all tracks must have been closed."""
        self._scene_start = frame
        self._plan = SearchPlan()

    def look(self, frames: Sequence[Frame]) -> list[Track]:
        """Look for faces in the last of the frames and return the tracks that ended.

        To be called for every ``LOOK_EVERY``-th frame of a scene, its first one included.

        Args:
            frames: consecutive frames of the scene: all that a track may begin with or has not
                taken yet.
        """
        newest = frames[-1]
        search = self._plan.due(newest.picture, [track.face.box for track in self.tracks])
        found = self._detector.search(newest.picture) if search else []
        for track in self.tracks:
            if found or track.due(newest.index):
                self._follow(track, frames, found)
        for face in found:
            if not any(_same(face, track.face) for track in self.tracks):
                first = self._scene_start
                near = newest.index - first <= HOLD_FRAMES and frames[0].index <= first
                score = self._score(newest, face, True)
                start = first if near else newest.index
                self.tracks.append(Track(start, newest.index, face, score))
        return self._judge(newest.index)

    def _follow(self, track: Track, frames: Sequence[Frame], found: Sequence[Face]) -> None:
        """Look for the face of a track in the last of the frames."""
        newest = frames[-1]
        since = newest.index - track.last_frame
        reach = 1 + max(0, since - FOLLOW_EVERY) / LOST_FRAMES
        face = self._detector.follow(newest.picture, track.face, reach)
        if since == FOLLOW_EVERY and (face is None or _fast(track.face.crop, face.crop)):
            between = frames[-1 - LOOK_EVERY]
            seen = self._detector.follow(between.picture, track.face, reach)
            if seen is not None:
                track.hit(between.index, seen, seen.score)
                face = face or self._detector.follow(newest.picture, seen, reach)
        if face is None:
            face = next((new for new in found if _same(new, track.face)), None)
        if face is None:
            track.misses += 1
        else:
            track.hit(newest.index, face, self._score(newest, face, track.number is None))

    def end_scene(self, frames: Sequence[Frame]) -> list[Track]:
        """Close all tracks and return those that are confirmed.

        Args:
            frames: as of ``look``; the last one is the last of the scene.
        """
        last_frame = frames[-1].index
        for track in self.tracks:
            if 0 < last_frame - track.last_frame < FOLLOW_EVERY:
                self._follow(track, frames, [])
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

    def _score(self, frame: Frame, face: Face, tentative: bool) -> float:
        more = self._detector.second_opinion(frame.picture, face) if tentative else 0.0
        return face.score + more

    def _ignore(self, track: Track) -> None:
        self.ignored += track.hits >= CONFIRMING_HITS

    def _confirm(self, track: Track) -> None:
        track.number = self.confirmed
        track.misses = 0
        self.confirmed += 1


def _fast(before: Square, after: Square) -> bool:
    changes = after.centre - before.centre, after.top - before.top, after.side - before.side
    return max(abs(change) for change in changes) > FAST * after.side


def _same(first: Face, second: Face) -> bool:
    return overlap(first.box, second.box) > SAME_FACE
