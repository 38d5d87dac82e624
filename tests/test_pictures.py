"""Parts of decoded pictures: the pixels that converting the whole frame first would give."""

from __future__ import annotations

import gc
import weakref
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from media_recipes import Recipe, encode, rotate_mp4

from syncnet_client.faces.thumbnails import thumbnail
from syncnet_client.media import ArrayPicture, DecodedPicture, Picture, open_media
from syncnet_client.media.planes import planar_format

Image = npt.NDArray[np.uint8]

BT709, BT601, BT2020 = 1, 6, 9  # FFmpeg's numbers
LIMITED, FULL = 1, 2
PLANAR = ("yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuv420p10le", "yuv422p12le")
# Those that only FFmpeg can read here.
OTHER = ("nv12", "gbrp", "gray", "rgb24", "yuva420p", "yuv420p10be")
# Even and odd edges; larger than the network's pictures, about as large, and smaller.
PARTS = [
    (0, 0, 640, 480),
    (100, 40, 400, 400),
    (101, 37, 463, 441),
    (33, 51, 301, 301),
    (200, 101, 251, 250),
    (301, 203, 61, 63),
]


def scene(width: int = 640, height: int = 480) -> Image:
    """An image with soft shapes, hard edges, and colours like those of films."""
    random = np.random.default_rng(5)
    coarse = random.integers(0, 256, (height // 24, width // 24, 3), np.uint8)
    image = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    for _ in range(30):
        place = tuple(int(value) for value in random.integers(0, (width, height)))
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        cv2.circle(image, place, int(random.integers(5, 40)), colour, -1, cv2.LINE_AA)
    grey, soft = (
        np.float32(part) for part in (image.mean(axis=2), cv2.GaussianBlur(image, None, 6))
    )
    colour = 0.4 * (soft - soft.mean(axis=2, keepdims=True))
    return np.asarray((grey[..., None] + colour).clip(0, 255), np.uint8)


def frame_in(name: str, colorspace: int = BT601, color_range: int = LIMITED) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(scene(), format="rgb24").reformat(format=name)
    frame.colorspace, frame.color_range = colorspace, color_range
    return frame


def difference(picture: Picture, part: tuple[int, int, int, int], size: tuple[int, int]) -> float:
    """Mean difference in grey levels to converting everything first."""
    expected = ArrayPicture(picture.rgb()).part(*part, size)
    actual = picture.part(*part, size)
    assert actual.shape == expected.shape == (size[1], size[0], 3)
    assert actual.flags.c_contiguous
    # What holds this part alone shows the same.
    assert np.array_equal(picture.within(*part).part(*part, size), actual)
    return float(np.abs(actual.astype(int) - expected).mean())


@pytest.mark.parametrize("part", PARTS, ids=str)
@pytest.mark.parametrize("name", PLANAR)
def test_a_part_has_the_pixels_of_the_whole_frame(name: str, part: tuple[int, ...]) -> None:
    frame = frame_in(name)
    assert planar_format(name, BT601, LIMITED) is not None
    assert difference(DecodedPicture(frame, 1.0), part, (224, 224)) < 1


@pytest.mark.parametrize("color_range", [LIMITED, FULL])
@pytest.mark.parametrize("colorspace", [BT709, BT601, BT2020])
def test_colours_are_converted_as_ffmpeg_does(colorspace: int, color_range: int) -> None:
    picture = DecodedPicture(frame_in("yuv420p", colorspace, color_range), 1.0)
    assert difference(picture, (100, 40, 401, 401), (224, 224)) < 1


def test_colour_spaces_differ() -> None:
    one, other = (
        DecodedPicture(frame_in("yuv420p", colorspace), 1.0).part(100, 40, 400, 400, (224, 224))
        for colorspace in (BT709, BT601)
    )
    assert np.abs(one.astype(int) - other).mean() > 1.5


@pytest.mark.parametrize("name", OTHER)
def test_formats_without_three_planes_are_converted_by_ffmpeg(name: str) -> None:
    picture = DecodedPicture(frame_in(name), 1.0)
    assert planar_format(name, BT601, LIMITED) is None
    assert difference(picture, PARTS[2], (224, 224)) == 0
    assert picture.luma(8).shape == (60, 80)


def test_the_whole_picture_in_its_own_size_is_ffmpegs() -> None:
    picture = DecodedPicture(frame_in("yuv420p"), 1.0)
    assert np.array_equal(picture.part(0, 0, 640, 480, (640, 480)), picture.rgb())
    assert picture.rgb() is picture.rgb()


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_parts_of_turned_pictures_are_upright(tmp_path: Path, degrees: int) -> None:
    path = tmp_path / "clip.mp4"
    encode_scene(path)
    rotate_mp4(path, degrees)
    picture = first_picture(path)
    assert picture.size == ((640, 480) if degrees % 180 == 0 else (480, 640))
    assert picture.rgb().shape[:2] == picture.size[::-1]
    assert difference(picture, (31, 45, 401, 303), (200, 150)) < 1
    upright = thumbnail(ArrayPicture(picture.rgb()))
    assert np.corrcoef(thumbnail(picture).ravel(), upright.ravel())[0, 1] > 0.95


def test_parts_of_pictures_without_square_pixels_are_stretched(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    encode_scene(path, (("x264-params", "sar=3/2"),))
    picture = first_picture(path)
    assert picture.size == (960, 480)
    assert difference(picture, (150, 45, 401, 303), (200, 150)) < 2


def test_a_picture_within_a_part_lets_go_of_the_frame() -> None:
    picture = DecodedPicture(frame_in("yuv420p"), 1.0)
    inner = (151, 93, 224, 224)
    expected = picture.part(*inner, (224, 224))
    frame = weakref.ref(picture.rgb())
    part = picture.within(101, 37, 301, 401)
    del picture
    gc.collect()
    assert frame() is None
    assert part.size == (640, 480)
    assert np.array_equal(part.part(*inner, (224, 224)), expected)


def encode_scene(path: Path, options: tuple[tuple[str, str], ...] = ()) -> None:
    """Encode the scene once, beside a sound."""
    sound = encode(path.with_name("sound.mkv"), Recipe(seconds=Fraction(1, 2)))
    with av.open(str(sound)) as source, av.open(str(path), "w") as target:
        video = target.add_stream("libx264", rate=25, options=dict(options))
        video.width, video.height, video.pix_fmt = 640, 480, "yuv420p"
        audio = target.add_stream_from_template(source.streams.audio[0])
        target.mux(video.encode(av.VideoFrame.from_ndarray(scene(), format="rgb24")))
        target.mux(video.encode(None))
        for packet in source.demux(audio=0):
            if packet.size:
                packet.stream = audio
                target.mux(packet)


def first_picture(path: Path) -> Picture:
    with open_media(path) as media:
        return next(media).frames[0].picture
