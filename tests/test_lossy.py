"""The scripts' files in between, against the commands of the scripts where FFmpeg is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import plain_protocols as plain
import pytest
import reference
from protocol_clips import (
    Detection,
    ScriptedDetector,
    moving_box,
    pictures,
    speech,
    write_lossless,
)
from torch import Tensor

from syncnet_client import SyncNetClient, UsageError
from syncnet_client.faces import TrackFrames
from syncnet_client.faces.published import PublishedCropper
from syncnet_client.media import PairedMedia
from syncnet_client.media.conversion import (
    Decision,
    FFmpegClock,
    repeat_and_drop,
    skip_and_drop,
)
from syncnet_client.media.lossy import open_lossy
from syncnet_client.scoring.options import ScoreOptions
from syncnet_client.scoring.protocols import PROTOCOLS, with_losses
from syncnet_server import Server

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="the program ffmpeg is not installed"
)
TOLERANCE = 0.01


@dataclass(frozen=True)
class Script:
    """How a script keeps what it reads, and how close another release's encoder comes to it."""

    suffix: str
    fourcc: str
    sound: str
    grey_levels: float
    sound_share: float


SCRIPTS = {
    "syncnet": Script(".avi", "XVID", "copy", 2, 0.01),
    "latentsync": Script(".mp4", "mp4v", "aac", 6, 0.2),
}


def write_clip(folder: Path, frames: np.ndarray, samples: np.ndarray, rate: int) -> Path:
    """In 4:2:0, as nearly all clips are."""
    return write_lossless(folder / "clip.mkv", frames, samples, rate, pixels="yuv420p")


def ffmpeg(*arguments: object) -> None:
    command = ["ffmpeg", "-nostdin", "-y", "-loglevel", "error", *map(str, arguments)]
    subprocess.run(command, check=True, timeout=120)


def stills(clip: Path, folder: Path, *quality: object) -> np.ndarray:
    """What OpenCV reads of the JPEG files that ffmpeg makes of a clip, in RGB."""
    folder.mkdir()
    ffmpeg("-i", clip, *quality, "-threads", 1, "-f", "image2", folder / "%06d.jpg")
    return np.stack([cv2.imread(str(file))[..., ::-1] for file in sorted(folder.iterdir())])


def heard(clip: Path, wav: Path, *options: object) -> np.ndarray:
    ffmpeg("-i", clip, *options, "-ac", 1, "-vn", "-acodec", "pcm_s16le", "-ar", 16000, wav)
    with av.open(str(wav)) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def read(media: PairedMedia) -> tuple[np.ndarray, np.ndarray]:
    with media:
        blocks = list(media)
    frames = [frame for block in blocks for frame in block.frames]
    assert [frame.index for frame in frames] == list(range(len(frames)))
    return (
        np.stack([frame.image for frame in frames]),
        np.concatenate([block.samples for block in blocks]),
    )


def numbered(count: int, size: int = 64) -> np.ndarray:
    """Pictures that show their number in stripes of black and white."""
    frames = np.zeros((count, size, size, 3), np.uint8)
    for bit in range(8):
        stripe = np.flatnonzero(np.arange(count) >> bit & 1)
        frames[stripe, :, bit * size // 8 : (bit + 1) * size // 8] = 255
    return frames


def numbers(frames: np.ndarray) -> list[int]:
    size = frames.shape[1]
    stripes = frames[:, size // 4 : -size // 4].mean(axis=(1, 3)).reshape(len(frames), 8, -1)
    return [int(value) for value in (stripes[..., 2:-2].mean(axis=2) > 128) @ (1 << np.arange(8))]


@pytest.mark.parametrize(
    ("rule", "rate", "expected"),
    [
        # As FFmpeg 5.1 writes them.
        (skip_and_drop, 30, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 17]),
        (repeat_and_drop, 30, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16]),
        (repeat_and_drop, 15, [0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 6, 6, 7, 7, 8, 9]),
        (repeat_and_drop, 25, list(range(16))),
    ],
)
def test_frames_that_ffmpeg_repeats_and_drops(
    rule: Callable[[int, Fraction, Fraction], Decision], rate: int, expected: Sequence[int]
) -> None:
    clock: FFmpegClock[int] = FFmpegClock(Fraction(25), Fraction(5), rule)
    duration = Fraction(1, rate)
    shown = [
        sampled
        for number in range(40)
        for sampled in clock.push(5 + number * duration, duration, number)
    ]
    assert [sampled.item for sampled in shown][:16] == list(expected)
    assert [sampled.tick for sampled in shown] == list(range(len(shown)))


def test_places_stay_empty_in_avi() -> None:
    clock: FFmpegClock[int] = FFmpegClock(Fraction(25), Fraction(0), skip_and_drop)
    ticks = [
        sampled.tick
        for number in range(5)
        for sampled in clock.push(Fraction(number, 10), Fraction(1, 10), number)
    ]
    assert ticks == [0, 3, 5, 8, 10]


@needs_ffmpeg
@pytest.mark.parametrize("protocol", SCRIPTS)
@pytest.mark.parametrize("rate", [24, 25, 30])
def test_a_clip_is_converted_with_the_time_that_this_moves(
    tmp_path: Path, protocol: str, rate: int
) -> None:
    clip = write_clip(tmp_path, numbered(60), speech(40_000), rate)
    how = SCRIPTS[protocol]
    converted = tmp_path / f"video{how.suffix}"
    ffmpeg("-i", clip, "-qscale:v", 2, "-async", 1, "-r", 25, converted)
    expected = stills(converted, tmp_path / "frames", "-qscale:v", 2)
    sound = heard(converted, tmp_path / "audio.wav")
    frames, samples = read(open_lossy(clip, PROTOCOLS[protocol].losses))
    assert numbers(frames) == numbers(expected)
    assert np.abs(frames.astype(int) - expected).mean() < how.grey_levels
    assert len(samples) == len(sound)
    assert np.std(samples.astype(float) - sound) < how.sound_share * np.std(sound)


def crops_of_script(
    frames: np.ndarray, script: list[list[Detection]], folder: Path, how: Script
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The only track, and its pictures and sound as its script gives them to the network."""
    (track,) = plain.tracks(frames, script, more_than=50)
    video, wav = folder / f"t{how.suffix}", folder / "cut.wav"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*how.fourcc), 25, (224, 224))
    for crop in track.crops:
        writer.write(np.ascontiguousarray(crop[..., ::-1]))
    writer.release()
    first, end = track.frames[0] / 25, (track.frames[-1] + 1) / 25
    ffmpeg("-i", folder / "audio.wav", "-ss", f"{first:.3f}", "-to", f"{end:.3f}", wav)
    joined = folder / f"crop{how.suffix}"
    ffmpeg("-i", video, "-i", wav, "-c:v", "copy", "-c:a", how.sound, joined)
    recoded = stills(joined, folder / "crops")
    return track.crops, recoded, heard(joined, folder / "track.wav", "-async", 1)


@needs_ffmpeg
@pytest.mark.parametrize("protocol", SCRIPTS)
def test_a_face_reaches_the_network_as_from_the_script(
    tmp_path: Path, protocol: str, narrow_weights: dict[str, Tensor]
) -> None:
    """Distances to 1 %; the crops before their files are further off."""
    how, losses = SCRIPTS[protocol], PROTOCOLS[protocol].losses
    source, sound = pictures(90, 240, 320, 4), speech(3 * 16000, seed=4)
    clip = write_clip(tmp_path, source, sound, 30)
    converted = tmp_path / f"video{how.suffix}"
    ffmpeg("-i", clip, "-qscale:v", 2, "-async", 1, "-r", 25, converted)
    frames = stills(converted, tmp_path / "frames", "-qscale:v", 2)
    heard(converted, tmp_path / "audio.wav")
    script = [[moving_box(index, 150, 110, 120)] for index in range(5, 70)]
    script = [[] for _ in range(5)] + script + [[] for _ in range(len(frames) - 70)]
    before, after, sound = crops_of_script(frames, script, tmp_path, how)
    expected = reference.evaluate(narrow_weights, after, sound, 15)
    lossless = reference.evaluate(narrow_weights, before, sound, 15)
    assert lossless.min_distance != pytest.approx(expected.min_distance, rel=TOLERANCE)

    rules = PROTOCOLS["latentsync"].tracks
    assert rules is not None
    cropper = with_losses(PublishedCropper(ScriptedDetector(script), rules), losses)
    crops, heard_here, first = [], [], 0
    with open_lossy(clip, losses) as media:
        events = []
        for block in media:
            heard_here.append(block.samples)
            events += cropper.push(block.frames)
        events += cropper.flush()
    for event in events:
        if isinstance(event, TrackFrames):
            first = first or event.frames[0].index
            crops += [frame.image for frame in event.frames]
    assert (first, len(crops)) == (5, 65)
    track = np.concatenate(heard_here)[5 * 640 : 70 * 640]
    ours = reference.evaluate(narrow_weights, np.stack(crops), track, 15)

    assert ours.offset == expected.offset
    means = [each.distances.mean(axis=0) for each in (ours, expected)]
    np.testing.assert_allclose(*means, rtol=TOLERANCE)
    assert ours.min_distance == pytest.approx(expected.min_distance, rel=TOLERANCE)
    assert ours.confidence == pytest.approx(
        expected.confidence, abs=TOLERANCE * expected.min_distance
    )


def test_another_sound_is_read_as_it_is_and_no_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    clip = write_clip(tmp_path, numbered(30), speech(1000), 25)
    sound = speech(30 * 640, seed=2)
    other = write_lossless(tmp_path / "other.mkv", numbered(2), sound, 25)
    media = open_lossy(clip, PROTOCOLS["mocha"].losses, audio=other)
    assert list(temporary.iterdir())
    frames, samples = read(media)
    np.testing.assert_array_equal(samples, sound)
    assert numbers(frames) == list(range(30))
    assert not list(temporary.iterdir())


@needs_ffmpeg
@pytest.mark.server
def test_the_whole_frame_through_jpeg_files(
    tmp_path: Path, server: Server, narrow_weights: dict[str, Tensor]
) -> None:
    clip = write_clip(tmp_path, pictures(40, 160, 320, 6), speech(30_000), 30)
    frames = stills(clip, tmp_path / "frames")
    samples = heard(clip, tmp_path / "audio.wav", "-async", 1)
    expected = plain.score_whole(narrow_weights, frames, samples)
    with SyncNetClient(server.grpc_url) as client:
        result = client.score(clip, protocol="wav2lip-lrs", lossy=True)
    assert result.to_dict()["lossy"] is True
    assert (result.frames, result.audio_samples) == (len(frames), len(samples))
    (track,) = result.tracks
    np.testing.assert_allclose(
        track.mean_distances, expected.distances.mean(axis=0), rtol=TOLERANCE
    )
    assert track.min_distance == pytest.approx(expected.min_distance, rel=TOLERANCE)


def test_lossy_is_for_files_under_a_protocol() -> None:
    with pytest.raises(UsageError, match="lossy is for a protocol: name one with protocol"):
        ScoreOptions(lossy=True)
    with pytest.raises(UsageError, match="begins with the first frame: leave out audio_clock"):
        ScoreOptions(protocol="mocha", lossy=True, audio="a.wav", audio_clock="file")
    arrays = (pictures(20, 224, 224, 1), speech(20 * 640))
    with SyncNetClient() as client, pytest.raises(UsageError, match="lossy is for clips that are"):
        client.score(arrays, protocol="wav2lip-lrs", lossy=True)
