"""Small faces, profiles, faces that cross or leave: drawn scenes with faces that a detector knows.

The stand-in for YuNet finds the faces that are drawn, in whatever size it is shown them, wavers as
the network does, and misses what the network misses: faces of less than 12 pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from syncnet_client.faces import (
    Box,
    CroppedFrame,
    FaceCropper,
    TrackEnd,
    TrackFrames,
    YuNetDetector,
    cropper,
    yunet_file,
)
from syncnet_client.faces.geometry import YUNET_MARGINS, overlap
from syncnet_client.media import ArrayPicture, Frame, Picture

Image = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 640, 360
LEAST_PIXELS = 12  # that the network needs of a face
WAVER = 0.01  # of a box, standard deviation


class Network:
    """Stands in for OpenCV's FaceDetectorYN: sees ellipses of the colours of `face`."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)

    @classmethod
    def create(cls, *settings: object) -> Network:  # noqa: ARG003
        return cls()

    def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802
        self._size = size

    def detect(self, image: Image) -> tuple[int, npt.NDArray[np.float32] | None]:
        assert image.shape[:2] == self._size[::-1]
        blue, green, red = (image[..., channel].astype(int) for channel in range(3))
        skin = ((red - blue > 60) & (red - green > 20)).astype(np.uint8)
        count, labels = cv2.connectedComponents(skin)
        rows = []
        for label in range(1, count):
            seen = cv2.moments((labels == label).astype(np.uint8), binaryImage=True)
            # Of an ellipse: its axes are four times the deviations.
            width, height = (4 * (seen[name] / seen["m00"]) ** 0.5 for name in ("mu20", "mu02"))
            if max(width, height) >= LEAST_PIXELS:
                x = seen["m10"] / seen["m00"] + 0.5 - width / 2
                y = seen["m01"] / seen["m00"] + 0.5 - height / 2
                waver = self._random.normal(0, WAVER * max(width, height), 4)
                box = np.array([x, y, width, height]) + waver
                rows.append([*box, *[0.0] * 10, 0.9])
        return 1, np.array(rows, np.float32) if rows else None


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file that is loaded as the stand-in for the network."""
    monkeypatch.setattr(cv2, "FaceDetectorYN", Network)
    path = tmp_path / "network.onnx"
    path.touch()
    return path


@pytest.fixture
def detector(network: Path) -> YuNetDetector:
    """YuNet with the stand-in for its network."""
    return YuNetDetector(network)


def face(x: float, y: float, height: float, *, turned: float = 0.0) -> Box:
    """A face around a point, in pixels; a profile is narrower."""
    width = height * (0.75 - 0.3 * abs(turned))
    return Box(x - width / 2, y - height / 2, width, height)


def room() -> Image:
    """What is behind the faces: soft, blue and green."""
    coarse = np.random.default_rng(1).integers(40, 140, (5, 8, 3), np.uint8)
    image = np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
    image[..., 0] = 40
    return image


def scene(count: int, faces: Callable[[int], Sequence[Box]]) -> list[Frame]:
    """Frames that show faces(index), the last one in front."""
    frames = []
    behind = room()
    for index in range(count):
        image = behind.copy()
        for box in faces(index):
            middle = (box.x + box.width / 2, box.y + box.height / 2)
            shape = (middle, (box.width, box.height), 0)
            cv2.ellipse(image, shape, (60, 50, 40), 5)  # hair
            cv2.ellipse(image, shape, (220, 150, 120), -1)
        frames.append(Frame(index, Fraction(index, 25), ArrayPicture(image)))
    return frames


def tracks_of(
    detector: YuNetDetector, frames: list[Frame]
) -> tuple[dict[int, list[CroppedFrame]], dict[int, str]]:
    """The frames of each track, and how it ended."""
    finder = FaceCropper(detector)
    tracks: dict[int, list[CroppedFrame]] = {}
    ends: dict[int, str] = {}
    blocks = [frames[first : first + 5] for first in range(0, len(frames), 5)]
    for events in [*map(finder.push, blocks), finder.flush()]:
        for event in events:
            if isinstance(event, TrackEnd):
                ends[event.track] = event.reason
            elif isinstance(event, TrackFrames):
                tracks.setdefault(event.track, []).extend(event.frames)
    assert ends.keys() == tracks.keys()
    return tracks, ends


def errors(
    track: Sequence[CroppedFrame], faces: Callable[[int], Box]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Errors of a crop's centre and side against the drawn face, in sides."""
    centres, sides = [], []
    for frame in track:
        true = YUNET_MARGINS.crop(faces(frame.index))
        x = frame.box.x + frame.box.width / 2 - true.centre
        y = frame.box.y + frame.box.height / 2 - true.top - true.side / 2
        centres.append(np.hypot(x, y) / true.side)
        sides.append(abs(frame.box.width - true.side) / true.side)
    return np.array(centres), np.array(sides)


def assert_within_limits(track: Sequence[CroppedFrame], faces: Callable[[int], Box]) -> None:
    """Within 2 % of the side in the median, and 5 % in 95 of 100 frames."""
    for error in errors(track, faces):
        assert np.median(error) < 0.02
        assert np.quantile(error, 0.95) < 0.05


def talking(index: int) -> Box:
    """A head that sways, nods and leans forward as those of speakers do."""
    seconds = index / 25
    return face(
        320 + 20 * np.sin(1.7 * seconds),
        170 + 8 * np.sin(2.9 * seconds),
        140 * (1 + 0.05 * np.sin(1.1 * seconds)),
    )


def test_crops_are_those_of_a_detection_in_every_frame(detector: YuNetDetector) -> None:
    tracks, ends = tracks_of(detector, scene(150, lambda index: [talking(index)]))
    assert ends == {0: "end"}
    assert [frame.index for frame in tracks[0]] == list(range(150))
    assert_within_limits(tracks[0], talking)


def test_a_small_face_is_found_and_followed(detector: YuNetDetector) -> None:
    def small(index: int) -> Box:
        return face(500 - 0.5 * index, 80, 58)

    tracks, ends = tracks_of(detector, scene(100, lambda index: [small(index)]))
    assert ends == {0: "end"}
    assert len(tracks[0]) == 100
    assert_within_limits(tracks[0], small)


def test_a_head_that_turns_to_a_profile_and_back_stays_one_track(detector: YuNetDetector) -> None:
    def turning(index: int) -> Box:
        return face(300, 180, 120, turned=np.sin(np.pi * index / 75))

    tracks, ends = tracks_of(detector, scene(150, lambda index: [turning(index)]))
    assert ends == {0: "end"}
    assert len(tracks[0]) == 150
    assert_within_limits(tracks[0], turning)


def test_two_faces_that_cross_are_never_mixed_up_for_longer_than_they_overlap(
    detector: YuNetDetector,
) -> None:
    def left(index: int) -> Box:
        return face(80 + 4 * index, 150, 110)

    def right(index: int) -> Box:
        return face(560 - 4 * index, 190, 80)

    frames = scene(120, lambda index: [left(index), right(index)])
    meeting = [i for i in range(120) if overlap(left(i), right(i)) > 0]
    tracks, _ = tracks_of(detector, frames)
    assert {track[0].index for track in tracks.values()} >= {0}
    for place in (left, right):
        before = [t for t in tracks.values() if is_at(t, meeting[0] - 8, place)]
        assert len(before) == 1
        after = [t for t in tracks.values() if is_at(t, meeting[-1] + 12, place)]
        assert len(after) == 1
    # Nowhere else is any crop between the two.
    for track in tracks.values():
        for frame in track:
            if meeting[0] - 8 <= frame.index <= meeting[-1] + 12:
                continue
            near = min(errors([frame], place)[0][0] for place in (left, right))
            assert near < 0.2


def is_at(track: Sequence[CroppedFrame], index: int, place: Callable[[int], Box]) -> bool:
    """Whether a track shows the face that is drawn at a place in a frame."""
    frames = [frame for frame in track if frame.index == index]
    return bool(frames) and errors(frames, place)[0][0] < 0.15


def test_a_face_that_leaves_and_comes_back_is_two_tracks(detector: YuNetDetector) -> None:
    def there(index: int) -> Box:  # noqa: ARG001
        return face(320, 180, 120)

    def shown(index: int) -> list[Box]:
        return [] if 60 <= index < 120 else [there(index)]

    tracks, ends = tracks_of(detector, scene(200, shown))
    assert ends == {0: "lost", 1: "end"}
    first, second = tracks[0], tracks[1]
    assert first[0].index == 0
    assert 52 <= first[-1].index < 60
    assert 120 <= second[0].index <= 132
    assert second[-1].index == 199
    for track in tracks.values():
        assert_within_limits(track, there)


class Forgetful(ArrayPicture):
    """Is black from then on where it was told that nobody will look."""

    def within(self, left: int, top: int, width: int, height: int) -> Picture:
        image = np.zeros_like(self.rgb())
        rows, columns = slice(top, top + height), slice(left, left + width)
        image[rows, columns] = self.rgb()[rows, columns]
        Forgetful.forgotten += 1 - width * height / (WIDTH * HEIGHT)
        return ArrayPicture(image)

    forgotten = 0.0  # pictures, in all


def test_what_is_let_go_of_large_frames_is_in_no_crop(
    network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def moving(index: int) -> Box:
        """Stands still, walks and leans forward."""
        return face(150 + 3 * max(0, index - 60), 180, 90 + 20 * np.sin(index / 15))

    def coming(index: int) -> list[Box]:
        """A second face for a while, and nobody at last."""
        faces = [moving(index)] if index < 150 else []
        return [*faces, face(520, 100 + index % 7, 70)] if 40 <= index < 110 else faces

    plain = scene(190, coming)
    expected, ends = tracks_of(YuNetDetector(network), plain)
    assert len(ends) > 1
    monkeypatch.setattr(cropper, "LARGE_PIXELS", 0)
    frames = [Frame(frame.index, frame.time, Forgetful(frame.image)) for frame in plain]
    tracks, _ = tracks_of(YuNetDetector(network), frames)
    assert Forgetful.forgotten > 20
    assert tracks.keys() == expected.keys()
    for number, track in expected.items():
        for before, after in zip(track, tracks[number], strict=True):
            assert before.box == after.box
            assert np.array_equal(before.image, after.image)


@pytest.mark.skipif(not yunet_file().is_file(), reason="needs YuNet: syncnet-client fetch yunet")
def test_the_real_network_sees_no_face_in_a_room() -> None:
    detector = YuNetDetector(yunet_file())
    assert detector.search(ArrayPicture(room())) == []
