"""Score protocols against a plain statement of what the published scripts do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import plain_protocols as plain
import pytest
import torch
from commandline import run
from conftest import copy_model_repository
from protocol_clips import (
    Detection,
    ScriptedDetector,
    moving_box,
    pictures,
    speech,
    write_lossless,
)
from torch import Tensor

from syncnet_client import GrpcTransport, MediaError, NoFaceError, SyncNetClient, UsageError
from syncnet_client.faces.published import ContentCuts, PublishedCropper
from syncnet_client.media import ArrayMedia, Media, open_media, open_paired
from syncnet_client.scoring.clip import score_media
from syncnet_client.scoring.options import ScoreOptions
from syncnet_client.scoring.protocols import PROTOCOLS
from syncnet_client.scoring.result import SyncResult
from syncnet_export.building import build
from syncnet_export.network import random_checkpoint
from syncnet_server import Server

# Distances of the random network are near 370, of a trained one near 10.
TOLERANCE = 1e-4  # of the distance


def two_scenes() -> tuple[np.ndarray, np.ndarray, list[list[Detection]]]:
    """Two scenes and all that decides about tracks.

    Scene 1, frames 0 to 129: a face with 101 detections and holes of 1, 2 and 24 frames; one with
    99; one that is too small. Scene 2, frames 130 to 259: a face at the place of the first, before
    which something else is found in frame 195. The sound ends with frame 250.
    """
    frames = np.concatenate([pictures(130, 240, 320, 1), 255 - pictures(130, 240, 320, 2)])
    script: list[list[Detection]] = [[] for _ in range(260)]
    script[195].append((250.0, 20.0, 290.0, 60.0))
    holes = {20, 31, 32, *range(80, 104)}
    first = [index for index in range(128) if index not in holes]
    assert len(first) == 101
    for index in first:
        script[index].append(moving_box(index, 90, 110, 112))
    for index in range(10, 109):
        script[index].append(moving_box(index, 235, 120, 108))
    for index in range(5, 125):
        script[index].append(moving_box(index, 160, 215, 40))
    for index in range(130, 260):
        script[index].append(moving_box(index, 92, 112, 114))
    return frames, speech(250 * 640 + 77, seed=3), script


@pytest.fixture(scope="module")
def transport(server: Server) -> Iterator[GrpcTransport]:
    made = GrpcTransport(server.grpc_url)
    yield made
    made.close()


def score(
    media: Media, script: list[list[Detection]], protocol: str, transport: GrpcTransport
) -> SyncResult:
    options = ScoreOptions(protocol=protocol, chunk=37)
    rules = options.rules
    assert rules is not None
    assert rules.tracks is not None
    cropper = PublishedCropper(ScriptedDetector(script), rules.tracks)
    with media:
        return score_media(media, cropper, transport, options, name="clip")


def assert_same(track, expected) -> None:
    tolerance = TOLERANCE * expected.distances.max()
    np.testing.assert_allclose(track.distances, expected.distances, rtol=0, atol=tolerance)
    assert track.offset_frames == expected.offset
    assert track.confidence == pytest.approx(expected.confidence, abs=tolerance)
    assert track.min_distance == pytest.approx(expected.min_distance, abs=tolerance)


RULES = {
    "syncnet": {"more_than": 100},
    "wav2lip-real": {"more_than": 100},
    "latentsync": {"more_than": 50},
    "mocha": {"more_than": 50, "low_overlap_ends": True},
}
TRACKS = {"syncnet": 2, "wav2lip-real": 2, "latentsync": 3, "mocha": 3}


def check_faces(protocol: str, transport: GrpcTransport, weights: dict[str, Tensor]) -> None:
    frames, samples, script = two_scenes()
    found = plain.tracks(frames, script, **RULES[protocol])
    expected = plain.score_tracks(weights, found, samples)
    result = score(ArrayMedia(frames, samples), script, protocol, transport)

    assert len(result.tracks) == len(found) == TRACKS[protocol]
    assert result.detector == "script"
    by_start = sorted(result.tracks, key=lambda track: (track.first_frame, track.windows))
    order = sorted(
        range(len(found)), key=lambda i: (found[i].frames[0], len(expected[i].distances))
    )
    for track, i in zip(by_start, order, strict=True):
        assert track.first_frame == found[i].frames[0]
        assert len(track.boxes) == len(found[i].frames)
        assert_same(track, expected[i])

    lse = result.lse
    assert lse is not None
    distances = [each.min_distance for each in expected]
    confidences = [each.confidence for each in expected]
    surest = int(np.argmax(confidences))
    wanted = {
        "syncnet": (distances[surest], confidences[surest], expected[surest].offset),
        "wav2lip-real": (distances[surest], confidences[surest], expected[surest].offset),
        "latentsync": (
            fmean(distances),
            fmean(confidences),
            int(fmean(each.offset for each in expected)),
        ),
        "mocha": (min(distances), max(confidences), expected[surest].offset),
    }[protocol]
    tolerance = TOLERANCE * max(distances)
    assert lse.lse_d == pytest.approx(wanted[0], abs=tolerance)
    assert lse.lse_c == pytest.approx(wanted[1], abs=tolerance)
    assert lse.offset_frames == wanted[2]


@pytest.mark.server
@pytest.mark.parametrize("protocol", RULES)
def test_faces(protocol: str, transport: GrpcTransport, narrow_weights: dict[str, Tensor]):
    check_faces(protocol, transport, narrow_weights)


@pytest.fixture(scope="module")
def full_size(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Address of a server with a random network of the published width, and its weights."""
    folder = tmp_path_factory.mktemp("full")
    weights = random_checkpoint(seed=4, width=1)
    torch.save(weights, folder / "full.model")
    repository = copy_model_repository(folder)
    build(folder / "full.model", model_repository=repository, version=1, replace=True)
    with Server(repository) as server:
        yield server.grpc_url, weights


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("protocol", RULES)
def test_faces_at_full_size(protocol: str, full_size: tuple[str, dict[str, Tensor]]) -> None:
    url, weights = full_size
    transport = GrpcTransport(url)
    check_faces(protocol, transport, weights)
    transport.close()


@pytest.mark.server
def test_faces_of_a_clip_at_30_frames_a_second(
    tmp_path: Path, transport: GrpcTransport, narrow_weights: dict[str, Tensor]
):
    frames, samples = pictures(150, 240, 320, 5), speech(7 * 16000, seed=5)
    clip = write_lossless(tmp_path / "clip.mkv", frames, samples, 30)
    sampled = plain.at_25(frames, 30)
    assert len(sampled) == 125
    script = [[moving_box(index, 150, 110, 110)] for index in range(125)]
    found = plain.tracks(sampled, script, more_than=100)
    (expected,) = plain.score_tracks(narrow_weights, found, samples)
    result = score(open_media(clip), script, "syncnet", transport)
    (track,) = result.tracks
    assert_same(track, expected)


WHOLE_FRAMES = {
    "larger, 30 fps, longer sound": ("wav2lip-lrs", (320, 256), 30, 60 * 640 + 5),
    "24 fps, shorter sound": ("wav2lip-lrs", (160, 320), 24, 40 * 640 + 5),
    "crops, 30 fps": ("syncnet-demo", (224, 224), 30, 60 * 640),
    "crops": ("syncnet-demo", (224, 224), 25, 41 * 640 + 9),
}


def check_whole_frames(case: str, folder: Path, url: str, weights: dict[str, Tensor]) -> None:
    protocol, size, rate, sound = WHOLE_FRAMES[case]
    frames, samples = pictures(50, *size, seed=rate), speech(sound, seed=rate)
    clip = write_lossless(folder / "clip.mkv", frames, samples, rate)
    expected = plain.score_whole(weights, frames, samples)
    with SyncNetClient(url) as client:
        result = client.score(clip, protocol=protocol, chunk=13)
    (track,) = result.tracks
    assert_same(track, expected)
    assert (result.frames, result.audio_samples) == (50, sound)
    assert result.detector is None
    printed = result.to_dict()
    assert printed["protocol"] == protocol
    assert printed["lossy"] is False
    assert printed["lse_d"] == pytest.approx(expected.min_distance, rel=1e-4)
    assert printed["lse_c"] == pytest.approx(expected.confidence, abs=1e-4 * expected.min_distance)


@pytest.mark.server
@pytest.mark.parametrize("case", WHOLE_FRAMES)
def test_whole_frames(
    case: str, tmp_path: Path, server: Server, narrow_weights: dict[str, Tensor]
) -> None:
    check_whole_frames(case, tmp_path, server.grpc_url, narrow_weights)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", WHOLE_FRAMES)
def test_whole_frames_at_full_size(
    case: str, tmp_path: Path, full_size: tuple[str, dict[str, Tensor]]
) -> None:
    check_whole_frames(case, tmp_path, *full_size)


@pytest.mark.server
def test_a_folder_under_wav2lip_lrs_is_summed_up_in_the_mean_over_its_clips(
    tmp_path: Path, server: Server, narrow_weights: dict[str, Tensor]
) -> None:
    clips, results = tmp_path / "clips", tmp_path / "results.jsonl"
    clips.mkdir()
    expected = []
    for number, rate in enumerate((24, 25, 30)):
        frames, samples = pictures(20, 128, 160, seed=number), speech(20 * 640, seed=number)
        write_lossless(clips / f"{number}.mkv", frames, samples, rate)
        expected.append(plain.score_whole(narrow_weights, frames, samples))
    done = run(
        "score", clips, "--protocol", "wav2lip-lrs", "--output", results, "--url", server.grpc_url
    )
    assert done.returncode == 0, done.stderr
    (summary,) = json.loads(run("summarize", results, "--format", "json").stdout)["sets"]
    tolerance = TOLERANCE * max(each.min_distance for each in expected)
    for column, values in (
        ("lse_d", [each.min_distance for each in expected]),
        ("lse_c", [each.confidence for each in expected]),
    ):
        assert summary["means"][column]["value"] == pytest.approx(fmean(values), abs=tolerance)
    assert (summary["clips"], summary["scored"]) == (3, 3)


@pytest.mark.server
def test_the_demo_takes_face_crops_alone(tmp_path: Path, server: Server):
    clip = write_lossless(tmp_path / "clip.mkv", pictures(30, 240, 320, 1), speech(30 * 640), 25)
    with (
        SyncNetClient(server.grpc_url) as client,
        pytest.raises(MediaError, match="320x240 pixels: this protocol takes face crops of 224"),
    ):
        client.score(clip, protocol="syncnet-demo")


@pytest.mark.server
def test_no_track_meets_the_rules(transport: GrpcTransport):
    frames, samples, script = two_scenes()
    short = [each if index < 100 else [] for index, each in enumerate(script)]
    with pytest.raises(NoFaceError, match=r"clip: no face meets the rules.*more than 100 detect"):
        score(ArrayMedia(frames, samples), short, "syncnet", transport)
    small = [[moving_box(index, 100, 100, 90)] for index in range(260)]
    with pytest.raises(NoFaceError, match=r"more than 100 pixels.*the script found 260"):
        score(ArrayMedia(frames, samples), small, "syncnet", transport)


def test_scenes():
    frames, _, _ = two_scenes()
    flashes = frames.copy()
    flashes[100] = 255 - flashes[100]
    flashes[8] = 255 - flashes[8]
    for clip in (frames, flashes):
        cuts = ContentCuts()
        found = [index for index, frame in enumerate(clip) if cuts.push(frame)]
        assert found == [first for first, _ in plain.scenes(clip)][1:]
        assert 130 in found or 100 in found


def test_a_protocol_decides_what_is_searched_and_cropped():
    for name, protocol in PROTOCOLS.items():
        assert ScoreOptions(protocol=name).vshift == protocol.vshift == 15
        # What options say of themselves can be given again.
        options = ScoreOptions(protocol=name)
        assert ScoreOptions(**options.keywords()) == options
    with pytest.raises(UsageError, match="protocol syncnet searches 15 frames: leave out vshift"):
        ScoreOptions(protocol="syncnet", vshift=12)
    with pytest.raises(UsageError, match="protocol mocha decides what is cropped"):
        ScoreOptions(protocol="mocha", crop="none")
    with pytest.raises(UsageError, match="no protocol 'sync-net'; there are syncnet-demo, syncnet"):
        ScoreOptions(protocol="sync-net")


def test_the_help_names_every_protocol():
    (flag,) = [
        each.metadata["flag"]
        for each in ScoreOptions.__dataclass_fields__.values()
        if each.name == "protocol"
    ]
    assert set(PROTOCOLS) <= set(re.findall(r"[\w-]+", flag.help))


def test_numbers_are_printed_as_the_scripts_do():
    printed = {name: each.printed(7.123456) for name, each in PROTOCOLS.items()}
    assert printed == {
        "syncnet-demo": "7.123",
        "syncnet": "7.123",
        "wav2lip-lrs": "7.123456",
        "wav2lip-real": "7.123456",
        "latentsync": "7.12",
        "mocha": "7.123456",
    }
    assert replace(PROTOCOLS["syncnet"], decimals=1).printed(7.16) == "7.2"


@pytest.mark.parametrize("every_frame", [False, True])
def test_sound_of_another_file(tmp_path: Path, every_frame: bool):
    """At the start: sample 0 belongs to frame 0. On one clock: by time stamps."""
    frames, samples = pictures(30, 64, 64, 1), speech(30 * 640, seed=1)
    clip = write_lossless(tmp_path / "clip.mkv", frames, samples[:100] * 0, 25)
    other = write_lossless(tmp_path / "other.mkv", frames[:2], samples, 25)
    with open_paired(clip, audio=other, every_frame=every_frame) as media:
        blocks = list(media)
    images = np.stack([frame.image for block in blocks for frame in block.frames])
    np.testing.assert_array_equal(images, frames)
    np.testing.assert_array_equal(np.concatenate([block.samples for block in blocks]), samples)
    assert media.summary.warnings == ()
