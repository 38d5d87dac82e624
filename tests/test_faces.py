"""Face cropping: with a detector that sees red squares, and with OpenCV's on a drawn face."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from syncnet_client.errors import NoFaceError, UsageError
from syncnet_client.faces import (
    Box,
    CropEvent,
    CroppedFrame,
    Cropper,
    FaceCropper,
    HaarDetector,
    TrackEnd,
    YuNetDetector,
    make_cropper,
)
from syncnet_client.faces.crops import cut_out
from syncnet_client.faces.cuts import CutDetector
from syncnet_client.faces.detectors import Face
from syncnet_client.faces.geometry import Square, overlap
from syncnet_client.media import ArrayPicture, Frame, Picture

Image = npt.NDArray[np.uint8]
Place = tuple[int, int, int]  # left, top, side

WIDTH, HEIGHT = 320, 240


def frame_of(index: int, image: Image) -> Frame:
    return Frame(index, Fraction(index, 25), ArrayPicture(image))


class RedSquares:
    """Sees every red square exactly, unless it is told to be blind; scores are its own."""

    name = "red"
    title = "a red square finder"
    sure = 1.0
    advice = ""

    def __init__(self, *, score: float = 1.0, shake: float = 0.0) -> None:
        self.blind = False
        self.score = score
        self._shake = shake
        self._random = np.random.default_rng(0)

    def search(self, picture: Picture) -> list[Face]:
        if self.blind:
            return []
        image = picture.rgb()
        red = ((image[..., 0] > 200) & (image[..., 1] < 60)).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(red)
        faces = []
        for left, top, width, height, _ in stats[1:]:
            x, y = self._random.normal((left, top), self._shake)
            box = Box(float(x), float(y), float(width), float(height))
            faces.append(Face(box, Square(box.x + width / 2, box.y, 2.0 * width), self.score))
        return faces

    def follow(self, picture: Picture, face: Face, reach: float) -> Face | None:  # noqa: ARG002
        found = self.search(picture)
        near = [other for other in found if overlap(face.box, other.box) > 0.2]
        return max(near, key=lambda other: overlap(face.box, other.box), default=None)

    def second_opinion(self, picture: Picture, face: Face) -> float:  # noqa: ARG002
        return 0.0


def backdrop(seed: int = 0) -> Image:
    """A still scene without anything red."""
    rough = np.random.default_rng(seed).integers(0, 150, (6, 8, 3), np.uint8)
    image = cv2.resize(rough, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    image[..., 0] = 0
    return np.asarray(image)


def clip(
    count: int,
    places: Callable[[int], Sequence[Place]],
    *,
    scene: Callable[[int], int] | None = None,
) -> list[Frame]:
    """Frames with red squares at places(index)."""
    frames = []
    for index in range(count):
        image = backdrop(scene(index) if scene else 0)
        for left, top, side in places(index):
            image[top : top + side, left : left + side] = (255, 0, 0)
        frames.append(frame_of(index, image))
    return frames


class Result:
    """All that a cropper hands on, by track."""

    def __init__(self) -> None:
        self.tracks: dict[int, list[CroppedFrame]] = {}
        self.ends: dict[int, str] = {}

    def take(self, events: list[CropEvent]) -> None:
        for event in events:
            if isinstance(event, TrackEnd):
                self.ends[event.track] = event.reason
            else:
                assert event.track not in self.ends
                assert event.frames
                self.tracks.setdefault(event.track, []).extend(event.frames)

    def range(self, track: int) -> tuple[int, int]:
        indices = [frame.index for frame in self.tracks[track]]
        assert indices == list(range(indices[0], indices[-1] + 1))
        return indices[0], indices[-1]

    def boxes(self, track: int) -> npt.NDArray[np.float64]:
        return np.array([frame.box for frame in self.tracks[track]])


def run(cropper: Cropper, frames: list[Frame], block: int = 5) -> Result:
    result = Result()
    for first in range(0, len(frames), block):
        result.take(cropper.push(frames[first : first + block]))
    result.take(cropper.flush())
    assert result.ends.keys() == result.tracks.keys()
    return result


def still(index: int) -> list[Place]:  # noqa: ARG001
    return [(100, 80, 60)]


# Croppers that look for no face.


def test_clip_of_224_is_left_alone() -> None:
    images = np.random.default_rng(0).integers(0, 256, (10, 224, 224, 3), np.uint8)
    frames = [frame_of(index, image) for index, image in enumerate(images)]
    result = run(make_cropper("auto"), frames)
    assert result.range(0) == (0, 9)
    assert result.ends == {0: "end"}
    for frame, image in zip(result.tracks[0], images, strict=True):
        assert np.shares_memory(frame.image, image)
        assert frame.box == (0, 0, 224, 224)
        assert frame.detected


def test_clip_of_224_needs_no_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "CascadeClassifier")
    image = np.zeros((224, 224, 3), np.uint8)
    result = run(make_cropper("auto"), [frame_of(0, image)])
    assert result.range(0) == (0, 0)


def test_none_resizes_the_whole_frame() -> None:
    frames = clip(3, still)
    result = run(make_cropper("none"), frames)
    expected = cv2.resize(frames[0].image, (224, 224), interpolation=cv2.INTER_AREA)
    assert np.array_equal(result.tracks[0][0].image, expected)
    assert result.tracks[0][0].box == (0, 0, WIDTH, HEIGHT)


def test_given_box_is_taken_as_it_is() -> None:
    frames = clip(3, still)
    result = run(make_cropper((90, 10, 224, 224)), frames)
    for frame, source in zip(result.tracks[0], frames, strict=True):
        assert np.array_equal(frame.image, source.image[10:234, 90:314])
    assert result.ends == {0: "end"}


def test_given_box_must_be_inside_the_picture() -> None:
    with pytest.raises(UsageError, match="100,100,300,100 is not inside the picture of 320x240"):
        make_cropper((100, 100, 300, 100)).push(clip(1, still))
    with pytest.raises(UsageError, match="positive size"):
        make_cropper((0, 0, 0, 10))


def test_no_frames_are_no_tracks() -> None:
    assert make_cropper("none").flush() == []
    assert make_cropper("auto").flush() == []


def test_crop_is_grey_outside_the_frame() -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    crop = cut_out(ArrayPicture(image), Box(-100.2, 200.4, 224, 224))
    assert np.array_equal(crop[:100, 100:], image[200:300, :124])
    assert (crop[100:] == 110).all()
    assert (crop[:, :100] == 110).all()
    assert (cut_out(ArrayPicture(image), Box(400, 400, 50, 50)) == 110).all()


# Tracks, with a detector that is exact.


@pytest.mark.parametrize("count", [1, 2, 7, 50, 101])
def test_still_face_gives_every_frame(count: int) -> None:
    result = run(FaceCropper(RedSquares()), clip(count, still))
    assert result.range(0) == (0, count - 1)
    assert result.ends == {0: "end"}
    assert all(box == (70, 80, 120, 120) for box in map(tuple, result.boxes(0)))
    assert all(frame.image.shape == (224, 224, 3) for frame in result.tracks[0])


def test_time_stamps_are_those_of_the_source() -> None:
    result = run(FaceCropper(RedSquares()), clip(20, still))
    assert [frame.time for frame in result.tracks[0]] == [Fraction(n, 25) for n in range(20)]


def test_moving_face_is_followed_between_detections() -> None:
    frames = clip(100, lambda index: [(20 + 2 * index, 80, 60)])
    result = run(FaceCropper(RedSquares()), frames)
    left = result.boxes(0)[:, 0]
    middle = np.arange(12, 88)
    assert left[middle] == pytest.approx(20 + 2 * middle - 30)


@pytest.mark.parametrize("block", [1, 3, 100])
def test_size_of_blocks_makes_no_difference(block: int) -> None:
    frames = clip(60, lambda index: [(20 + 2 * index, 80, 60)])
    expected, result = (run(FaceCropper(RedSquares()), frames, size) for size in (5, block))
    assert np.array_equal(result.boxes(0), expected.boxes(0))
    for frame, other in zip(result.tracks[0], expected.tracks[0], strict=True):
        assert np.array_equal(frame.image, other.image)


def test_what_the_detector_wavers_does_not_shake_the_crop() -> None:
    # A third more than real detectors.
    result = run(FaceCropper(RedSquares(shake=2.0)), clip(200, still))
    boxes = result.boxes(0)
    assert np.abs(np.diff(boxes[:, 0])).mean() < 0.3
    assert boxes[:, 0] == pytest.approx(70, abs=5)


def hidden(frames: list[Frame], first: int, last: int) -> list[Frame]:
    """The same frames, with nothing to see in first..last."""
    blank = [frame_of(index, backdrop()) for index in range(first, last + 1)]
    return frames[:first] + blank + frames[last + 1 :]


def test_short_gap_is_interpolated_and_marked() -> None:
    frames = clip(100, lambda index: [(20 + index, 80, 60)])
    result = run(FaceCropper(RedSquares()), hidden(frames, 41, 55))
    assert result.range(0) == (0, 99)
    assert [frame.index for frame in result.tracks[0] if not frame.detected][:1] == [41]
    assert sum(not frame.detected for frame in result.tracks[0][:90]) == 15
    assert result.boxes(0)[20:80, 0] == pytest.approx(20 + np.arange(20, 80) - 30)


def test_face_out_of_sight_for_long_is_lost_and_found_as_another_track() -> None:
    result = run(FaceCropper(RedSquares()), hidden(clip(140, still), 41, 90))
    assert result.range(0) == (0, 40)
    assert result.range(1)[1] == 139
    assert 91 <= result.range(1)[0] <= 104
    assert result.ends == {0: "lost", 1: "end"}


def test_face_that_is_noticed_late_counts_from_the_beginning() -> None:
    result = run(FaceCropper(RedSquares()), hidden(clip(50, still), 0, 8))
    assert result.range(0) == (0, 49)
    assert [frame.detected for frame in result.tracks[0][:13]] == [False] * 12 + [True]


def test_scene_cut_ends_the_track_exactly_there() -> None:
    frames = clip(90, still, scene=lambda index: int(index >= 37))
    cropper = FaceCropper(RedSquares())
    result = run(cropper, frames)
    assert result.range(0) == (0, 36)
    assert result.range(1) == (37, 89)
    assert result.ends == {0: "cut", 1: "end"}
    assert cropper.summary.cuts == 1
    assert cropper.summary.tracks == 2


def test_change_of_resolution_is_a_cut() -> None:
    frames = clip(60, still)
    for index in range(30, 60):
        image = cv2.resize(frames[index].image, None, fx=2, fy=2)
        frames[index] = frame_of(index, np.asarray(image, np.uint8))
    result = run(FaceCropper(RedSquares()), frames)
    assert (result.range(0), result.range(1)) == ((0, 29), (30, 59))
    assert result.boxes(1)[10, 2] == pytest.approx(240, abs=4)


def test_several_faces_are_several_tracks() -> None:
    frames = clip(80, lambda index: [(20 + index, 80, 60), (220, 40, 50)][: 1 + (index >= 25)])
    result = run(FaceCropper(RedSquares()), frames)
    assert result.range(0) == (0, 79)
    assert result.range(1) == (32, 79)
    assert result.boxes(1)[-1] == pytest.approx([195, 40, 100, 100])


def test_faces_that_become_one_leave_one_track() -> None:
    frames = clip(120, lambda index: [(40, 80, 60), (max(40, 200 - 4 * index), 80, 60)])
    result = run(FaceCropper(RedSquares()), frames)
    assert sorted(result.ends.values()) == ["end", "lost"]


def test_brief_sight_of_something_is_no_face() -> None:
    frames = clip(80, lambda index: [(100, 80, 60)] if 24 <= index < 30 else [])
    with pytest.raises(NoFaceError, match=r"80 frames from 0:00.000 to 0:03.160 .* red square"):
        run(FaceCropper(RedSquares()), frames)


def test_faint_resemblance_is_left_out_and_told() -> None:
    detector = RedSquares(score=0.5)
    cropper = FaceCropper(detector)
    with pytest.raises(NoFaceError):
        run(cropper, clip(60, still))
    assert cropper.summary.ignored >= 1
    assert "too faint" in cropper.summary.warnings[0]


@pytest.mark.parametrize("face", [True, False])
def test_memory_does_not_grow_with_the_clip(face: bool) -> None:
    detector = RedSquares()
    detector.blind = not face
    cropper = FaceCropper(detector)
    image = clip(1, still)[0].image
    longest = 0
    for index in range(600):
        cropper.push([frame_of(index, image)])
        longest = max(longest, len(cropper._frames))
    assert longest <= 20


# Scene cuts.


def cuts_of(images: list[Image]) -> list[int]:
    detector = CutDetector()
    found = [index - 1 for index, image in enumerate(images) if detector.push(ArrayPicture(image))]
    return found + [len(images) - 1] * detector.finish()


def test_cut_is_found_at_its_frame() -> None:
    assert cuts_of([backdrop(0)] * 5 + [backdrop(1)] * 5) == [5]
    assert cuts_of([backdrop(0)] * 5 + [backdrop(1)]) == [5]


def test_flash_change_of_light_and_movement_are_no_cuts() -> None:
    scene = backdrop(0)
    assert cuts_of([scene] * 4 + [np.full_like(scene, 255)] + [scene] * 4) == []
    assert cuts_of([scene] * 4 + [np.asarray(np.minimum(scene + 60, 255), np.uint8)] * 4) == []
    assert cuts_of([np.roll(scene, 6 * index, axis=1) for index in range(10)]) == []


def test_cut_to_an_empty_picture_is_a_cut() -> None:
    assert cuts_of([backdrop(0)] * 4 + [np.full_like(backdrop(0), 255)] * 4) == [4]


# OpenCV's detectors.


def drawn_face(width: int) -> Image:
    """A face that OpenCV's cascades know, its cheeks so many pixels apart, on a square ground."""
    canvas = np.full((400, 400), 150, np.uint8)
    cv2.ellipse(canvas, (200, 150), (125, 120), 0, 180, 360, 50, -1)  # hair
    cv2.ellipse(canvas, (200, 210), (105, 140), 0, 0, 360, 205, -1)
    cv2.ellipse(canvas, (200, 105), (105, 45), 0, 180, 360, 60, -1)
    for x in (155, 245):
        cv2.ellipse(canvas, (x, 185), (34, 24), 0, 0, 360, 150, -1)  # shadow round the eye
        cv2.ellipse(canvas, (x, 160), (32, 8), 0, 180, 360, 70, -1)
        cv2.ellipse(canvas, (x, 188), (22, 11), 0, 0, 360, 235, -1)
        cv2.circle(canvas, (x, 188), 10, 40, -1)
    cv2.line(canvas, (200, 180), (200, 240), 225, 18)
    cv2.ellipse(canvas, (200, 248), (26, 10), 0, 0, 180, 140, -1)
    cv2.ellipse(canvas, (200, 290), (42, 14), 0, 0, 360, 110, -1)  # lips
    cv2.line(canvas, (160, 290), (240, 290), 60, 4)
    size = round(400 * width / 210)
    canvas = cv2.resize(cv2.GaussianBlur(canvas, None, 5), (size, size))
    return np.repeat(np.asarray(canvas, np.uint8)[..., None], 3, axis=2)


def portrait(width: int, left: int, top: int, light: float = 1.0) -> Image:
    """A drawn face in a picture of 480x360."""
    image = np.full((360, 480, 3), 150, np.uint8)
    face = drawn_face(width)
    image[top : top + len(face), left : left + len(face)] = face
    return np.asarray(image * light, np.uint8)


@pytest.mark.parametrize(("width", "light"), [(60, 1.0), (120, 1.0), (170, 1.0), (120, 0.2)])
def test_haar_cascade_finds_the_published_crop(width: int, light: float) -> None:
    frames = [frame_of(index, portrait(width, 40 + index, 20, light)) for index in range(40)]
    result = run(make_cropper("auto"), frames)
    assert result.range(0) == (0, 39)
    assert list(result.tracks) == [0]
    boxes = result.boxes(0)
    # In units of the face: centred, about 2.3 wide, with the mouth in the middle of the lower half.
    scale = width / 210
    centre = 40 + np.arange(40) + 200 * scale
    assert boxes[:, 0] + boxes[:, 2] / 2 == pytest.approx(centre, abs=0.06 * width)
    assert boxes[:, 2] == pytest.approx(2.3 * width, rel=0.08)
    mouth = (20 + 290 * scale - boxes[:, 1]) / boxes[:, 3]
    assert ((mouth > 0.4) & (mouth < 0.75)).all()


def test_haar_crop_follows_from_its_box() -> None:
    face = HaarDetector().search(ArrayPicture(portrait(120, 60, 40)))[0]
    size = max(face.box.width, face.box.height)
    assert size == pytest.approx(face.box.width, rel=0.01)
    assert face.crop.side == pytest.approx(1.62 * size)
    assert face.crop.centre == pytest.approx(face.box.x + face.box.width / 2)
    assert face.crop.top == pytest.approx(face.box.y + face.box.height / 2 - 0.53 * size)


def test_haar_cascade_sees_no_face_in_a_backdrop() -> None:
    with pytest.raises(NoFaceError, match="with OpenCV's Haar cascade; "):
        run(make_cropper("auto"), clip(20, still))


def test_yunet_has_the_published_geometry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Network:
        """Sees one face at a fixed place, in 480ths of the image's width."""

        def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802
            self.size = size

        def detect(self, image: Image) -> tuple[int, Image | None]:
            assert image.shape[:2] == self.size[::-1]
            row = np.zeros((1, 15), np.float32)
            row[0, [0, 1, 2, 3]] = np.array([100, 50, 40, 60]) * image.shape[1] / 480
            row[0, 14] = 0.9
            return 1, row

    class Factory:
        @staticmethod
        def create(*args: object) -> Network:  # noqa: ARG004
            return Network()

    monkeypatch.setattr(cv2, "FaceDetectorYN", Factory)
    path = tmp_path / "yunet.onnx"
    path.touch()
    face = YuNetDetector(path).search(ArrayPicture(np.zeros((720, 960, 3), np.uint8)))[0]
    assert face.box == pytest.approx((200, 100, 80, 120), rel=0.002)
    # 1.4 times the longer side, centred, from half of it above the middle.
    assert face.crop.centre == pytest.approx(240)
    assert face.crop.top == pytest.approx(100, rel=0.002)
    assert face.crop.side == pytest.approx(168, rel=0.002)


def test_yunet_needs_its_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        make_cropper("auto", yunet=tmp_path / "missing.onnx")
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"not a network")
    with pytest.raises(UsageError, match="not an ONNX file of YuNet"):
        make_cropper("auto", yunet=wrong)
