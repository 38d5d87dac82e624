"""From videos to training clips, by a real server with the shipped towers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commandline import write_clip
from conftest import copy_model_repository, unexpected_errors

from syncnet_client.media import open_media
from syncnet_server import Server
from syncnet_training.errors import DatasetError
from syncnet_training.prepare import Outcome, PrepareConfig, _divide, _open_folder, _read_report
from syncnet_training.storage import Clip, open_clips, read_about
from syncnet_training.synthesis import SyntheticClip, clip_seed, synthesize_clip, write_mp4

pytestmark = [pytest.mark.server, pytest.mark.slow]

FRAMES = 150
AHEAD = 5  # frames that the audio of one clip is early


@pytest.fixture(scope="module")
def talking() -> list[SyntheticClip]:
    return [
        synthesize_clip(clip_seed(31, index), FRAMES + 2 * AHEAD, text_to_speech=False)
        for index in range(3)
    ]


@pytest.fixture(scope="module")
def videos(talking: list[SyntheticClip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips in sync, one out of sync, one without a face, one without sound."""
    folder = tmp_path_factory.mktemp("videos")
    for name, clip, shift in zip(("first", "second", "early"), talking, (0, 0, AHEAD), strict=True):
        audio = clip.samples[(AHEAD + shift) * 640 :][: FRAMES * 640]
        frames = clip.frames[AHEAD : AHEAD + FRAMES]
        write_mp4(replace(clip, frames=frames, samples=audio), folder / f"{name}.mp4")
    write_clip(folder / "faceless.mkv", frames=60, size=320)
    write_clip(folder / "silent.mkv", frames=60, audio=False)
    return folder


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Server(copy_model_repository(tmp_path_factory.mktemp("shipped"))) as server:
        yield server.grpc_url
        log = server.log
    assert unexpected_errors(log) == []


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "syncnet_training.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def report(out: Path) -> dict[str, Outcome]:
    return {Path(outcome.source).stem: outcome for outcome in _read_report(out / "report.jsonl")}


@pytest.fixture(scope="module")
def prepared(videos: Path, url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "set"
    done = run("prepare", out, videos, "--url", url, "--seconds", "3", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert "out of sync by N frames" in done.stdout
    return out


def test_what_is_in_sync_is_kept_and_the_rest_is_explained(prepared: Path) -> None:
    outcomes = report(prepared)
    assert set(outcomes) == {"first", "second", "early", "faceless", "silent"}
    assert all(outcome.error is None for outcome in outcomes.values())
    assert [len(outcomes[name].clips) for name in ("first", "second")] == [2, 2]
    assert outcomes["early"].left_out == [
        f"track 0: out of sync by +{AHEAD} frames, which --align would put right"
    ]
    assert "no face was found" in outcomes["faceless"].left_out[0]
    assert "has no audio stream" in outcomes["silent"].left_out[0]
    written = {clip.path.name for name in ("train", "test") if (prepared / name).exists()
               for clip in open_clips(prepared / name)}  # fmt: skip
    assert written == {name for outcome in outcomes.values() for name in outcome.clips}


def test_clips_are_the_pictures_and_the_sound_of_their_place(prepared: Path, videos: Path) -> None:
    outcome = report(prepared)["first"]
    with open_media(videos / "first.mp4") as media:
        blocks = list(media)
    samples = np.concatenate([block.samples for block in blocks])
    images = [frame.image for block in blocks for frame in block.frames]
    for index, name in enumerate(outcome.clips):
        folder = prepared / outcome.set / name
        first = read_about(folder)["first_frame"]
        assert first == index * FRAMES // 2
        clip = Clip(folder, FRAMES // 2)
        expected = samples[first * 640 : (first + clip.frames) * 640]
        np.testing.assert_array_equal(clip.read_samples(), expected)
        picture = clip.read_frames(7, 1)[0, :, :, ::-1].astype(int)
        assert np.abs(picture - images[first + 7]).mean() < 4
        assert np.isnan(clip.read_jaw()).all()


def test_no_source_is_in_both_sets(prepared: Path) -> None:
    sources = [
        {read_about(clip.path)["source"] for clip in open_clips(prepared / name)}
        for name in ("train", "test")
        if (prepared / name).exists()
    ]
    assert sum(map(len, sources)) == len(set().union(*sources)) == 2
    assert sum(outcome.set == "test" for outcome in report(prepared).values()) == 1


def test_a_second_run_has_nothing_to_do_and_other_settings_are_refused(
    prepared: Path, videos: Path, url: str
) -> None:
    lines = (prepared / "report.jsonl").read_text()
    again = run("prepare", prepared, videos, "--url", url, "--seconds", "3")
    assert again.returncode == 0, again.stderr
    assert (prepared / "report.jsonl").read_text() == lines
    other = run("prepare", prepared, videos, "--url", url, "--seconds", "2")
    assert other.returncode == 1
    assert other.stderr == (
        f"syncnet-train: {prepared} was made with another seconds; choose another folder\n"
    )


def test_a_run_that_was_stopped_goes_on(
    prepared: Path, videos: Path, url: str, tmp_path: Path
) -> None:
    out = tmp_path / "set"
    some = run("prepare", out, videos / "first.mp4", "--url", url, "--seconds", "3")
    assert some.returncode == 0, some.stderr
    with (out / "report.jsonl").open("a") as lines:
        lines.write('{"source": "cut o')  # as a crash leaves it
    rest = run("prepare", out, videos, "--url", url, "--seconds", "3")
    assert rest.returncode == 0, rest.stderr
    assert {name: o.clips for name, o in report(out).items()} == {
        name: o.clips for name, o in report(prepared).items()
    }
    assert len((out / "report.jsonl").read_text().splitlines()) == 5


def test_aligned_audio_lies_where_it_was_before_it_was_moved(
    videos: Path, url: str, talking: list[SyntheticClip], tmp_path: Path
) -> None:
    out = tmp_path / "set"
    done = run("prepare", out, videos / "early.mp4", "--url", url, "--align", "--test-share", "0")
    assert done.returncode == 0, done.stderr
    (clip,) = open_clips(out / "train")
    about = read_about(clip.path)
    # The estimate is read between frames: within half a frame of what was put in.
    assert abs(about["moved_ms"] - 40 * AHEAD) < 20
    original = talking[2].samples[(AHEAD + about["first_frame"]) * 640 :][: clip.frames * 640]
    found = clip.read_samples()
    inner = found[2000:-2000].astype(float)
    match = np.correlate(original.astype(float), inner, "valid")
    early = int(np.argmax(match)) - 2000  # samples that `found` is still ahead of `original`
    assert abs(early - (40 * AHEAD - about["moved_ms"]) * 16) < 40  # AAC smears a little


@pytest.mark.long
def test_what_was_prepared_trains_and_is_evaluated(prepared: Path, tmp_path: Path) -> None:
    train, test = prepared / "train", prepared / "test"
    if not test.exists():  # the one group of the test set was left out
        test = train
    weights = Path(__file__).parents[1] / "training" / "weights" / "syncnet_v1.safetensors"
    options = ["--steps", "2", "--clips", "2", "--workers", "0", "--freeze", "video"]
    fitted = run(
        *("fit", train, "--validation", test, "--run", tmp_path / "run", "--init", weights),
        *options,
    )
    assert fitted.returncode == 0, fitted.stderr
    evaluated = run("evaluate", tmp_path / "run" / "weights.safetensors", "--data", train, "--json")
    assert evaluated.returncode == 0, evaluated.stderr
    measured = json.loads(evaluated.stdout)
    assert len(measured["clips"]) == len(open_clips(train))
    assert 0 <= measured["separation"]["area"] <= 1


def test_a_source_that_cannot_be_read_is_an_error_and_tried_again(url: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    for attempt in (1, 2):
        done = run("prepare", tmp_path / "set", broken, "--url", url)
        assert done.returncode == 1
        assert str(broken) in done.stderr.splitlines()[0]
        assert len((tmp_path / "set" / "report.jsonl").read_text().splitlines()) == attempt


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("...")
    with pytest.raises(DatasetError, match="holds something else"):
        _open_folder(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_groups_stay_together_and_keep_their_set() -> None:
    sources = [f"speakers/{speaker}/{take}.mp4" for speaker in range(20) for take in range(3)]
    config = PrepareConfig(by_folder=True, test_share=0.2)
    places = _divide(sources, [], config)
    assert len({places[source] for source in sources}) == 20
    assert sum(name == "test" for _, name in set(places.values())) == 4
    # More sources later: those that are placed stay where they are.
    before = [Outcome(source, *reversed(places[source])) for source in sources]
    more = [*sources, *(f"speakers/new{speaker}/0.mp4" for speaker in range(10))]
    later = _divide(more, before, config)
    assert all(later[source] == places[source] for source in sources)
    assert sum(name == "test" for _, name in set(later.values())) == 6
