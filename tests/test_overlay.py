"""The overlay: the clip's own sound, its frames at their times, and what is drawn on them."""

from __future__ import annotations

import errno
import os
import resource
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from unittest.mock import Mock

import av
import numpy as np
import pytest
from flash import CODECS, FLASH, FPS, SIZE, measure_flash_clip, write_flash_clip
from results import result_of

from syncnet_client.errors import MediaError, UsageError
from syncnet_client.media.remux import shift_audio
from syncnet_client.render.overlay import LEAST_WIDTH, ORANGE, write_overlay

FRAMES = 60


def audio(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(path) as container:
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(audio=0)
            if packet.size
        ]


def pictures(path: Path) -> list[tuple[float, np.ndarray]]:
    with av.open(path) as container:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode()
                if isinstance(frame, av.VideoFrame)]  # fmt: skip


def share_of(color: tuple[int, int, int], image: np.ndarray) -> float:
    """Share of the pixels that have nearly this colour."""
    return float((np.abs(image.astype(int) - color).max(axis=-1) < 40).mean())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flash_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=FRAMES)


def test_the_sound_is_the_clips_own_and_every_frame_has_its_time(
    clip: Path, tmp_path: Path
) -> None:
    output = tmp_path / "overlay.mp4"
    write_overlay(clip, result_of(str(clip), windows=FRAMES - 5), output)

    assert audio(output) == audio(clip)
    shown = pictures(output)
    assert [time for time, _ in shown] == pytest.approx([k / FPS for k in range(FRAMES)])
    scale = LEAST_WIDTH / SIZE
    assert shown[0][1].shape[1] == LEAST_WIDTH
    light = [image[: round(SIZE * scale)].mean() for _, image in shown]
    assert int(np.argmax(light)) == FLASH
    assert measure_flash_clip(output, "again").offset_frames == 0
    assert list(tmp_path.iterdir()) == [output]


def test_what_is_drawn(clip: Path, tmp_path: Path) -> None:
    """The box (x 4, y 2, 48 wide) is on the frames of its track and on no other."""
    result = result_of(str(clip), windows=20)
    result = replace(result, tracks=(replace(result.speaker, first_frame=10),))
    output = tmp_path / "overlay.mkv"
    write_overlay(clip, result, output)

    scale = LEAST_WIDTH / SIZE
    left, top, bottom = round(4 * scale), round(2 * scale), round(50 * scale)
    for index, (_, image) in enumerate(pictures(output)):
        edge = image[top:bottom, left - 1 : left + 2]
        if 10 <= index < 35:
            assert share_of(ORANGE, edge) > 0.3
        else:
            assert share_of(ORANGE, edge) < 0.05
        below = image[round(SIZE * scale) :]
        assert 0 < share_of((255, 255, 255), below) < 0.1


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("late", [Fraction(1, 5), Fraction(-1, 5)])
def test_the_streams_of_a_clip_that_begin_apart_stay_apart(
    tmp_path: Path, suffix: str, late: Fraction
) -> None:
    source = write_flash_clip(tmp_path / f"source{suffix}")
    clip, output = tmp_path / "clip.mkv", tmp_path / "overlay.mkv"
    shift_audio(source, clip, late)
    write_overlay(clip, measure_flash_clip(clip, "clip"), output)
    assert measure_flash_clip(output, "overlay").offset_frames == -5 * (1 if late > 0 else -1)


def test_a_large_upright_picture_becomes_smaller(tmp_path: Path) -> None:
    """A frame of 2560x400, as an extreme shape."""
    clip, output = tmp_path / "wide.mkv", tmp_path / "overlay.mkv"
    with av.open(clip, "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width, stream.height = 2560, 400
        sound = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for _ in range(10):
            image = np.full((400, 2560, 3), 90, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
            tone = av.AudioFrame.from_ndarray(np.full((1, 640), 999, np.int16), "s16", "mono")
            tone.sample_rate = 16_000
            container.mux(sound.encode(tone))
        container.mux(stream.encode(None))
    write_overlay(clip, result_of("wide", windows=4), output)
    assert pictures(output)[0][1].shape[1] == 1280


def test_overlays_that_cannot_be_written(clip: Path, tmp_path: Path) -> None:
    result = result_of("clip", windows=FRAMES - 5)
    with pytest.raises(UsageError, match=r"suffixes \.mp4, \.mov, \.mkv"):
        write_overlay(clip, result, tmp_path / "overlay.avi")
    with pytest.raises(UsageError, match="there is no folder"):
        write_overlay(clip, result, tmp_path / "nowhere" / "overlay.mp4")
    with pytest.raises(MediaError, match="no such file"):
        write_overlay(tmp_path / "missing.mp4", result, tmp_path / "overlay.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_file_that_may_not_grow_gets_a_hint_that_fits(
    clip: Path, tmp_path: Path, suffix: str
) -> None:
    """With a limit on the size of files, writing fails as on a full disk, with another number."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(MediaError) as caught:
            write_overlay(clip, result_of(str(clip), windows=FRAMES - 5), tmp_path / f"o{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value).endswith("File too large (it is beyond what a file may hold)")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_gets_a_hint_that_fits(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = av.error.OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "o.mkv")
    monkeypatch.setattr("syncnet_client.render.overlay._write", Mock(side_effect=full))
    with pytest.raises(MediaError, match=r"left on device \(free some, or name a file on another"):
        write_overlay(clip, result_of(str(clip), windows=FRAMES - 5), tmp_path / "o.mkv")
