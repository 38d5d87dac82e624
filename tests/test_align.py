"""Putting a clip in sync: what is measured afterwards, and when nothing may be written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from commandline import assert_fails, run, write_clip
from fakes import FakeTriton
from flash import CODECS, measure_flash_clip, write_flash_clip
from results import DOUBT, result_of

from syncnet_client.align import align
from syncnet_client.errors import MediaError, UntrustedError, UsageError
from syncnet_client.scoring.result import SyncResult
from syncnet_client.scoring.verdict import Verdict
from syncnet_client.transport.base import Weights


def distrust(path: Path, name: str) -> SyncResult:
    """The same measurement, not trusted."""
    result = measure_flash_clip(path, name)
    return replace(result, tracks=(replace(result.speaker, verdict=Verdict(False, (DOUBT,))),))


@pytest.mark.parametrize("late", [5, -7])
@pytest.mark.parametrize("suffix", CODECS)
def test_the_result_is_in_sync(tmp_path: Path, suffix: str, late: int) -> None:
    clip = write_flash_clip(tmp_path / f"clip{suffix}", audio_late_frames=late)
    output = tmp_path / f"out{'.mkv' if suffix == '.avi' else suffix}"

    alignment = align(clip, output, measure_flash_clip)

    assert alignment.before.offset_frames == -late
    assert alignment.after.offset_frames == 0
    assert measure_flash_clip(output, "again").offset_frames == 0
    summary = alignment.to_dict()
    assert (summary["clip"], summary["output"]) == (str(clip), str(output))
    assert summary["audio_moved_ms"] - summary["video_moved_ms"] == -40 * late
    assert summary["after"]["clip"] == str(output)
    assert sorted(tmp_path.iterdir()) == sorted([clip, output])


def test_a_clip_is_never_written_over(tmp_path: Path) -> None:
    clip = write_flash_clip(tmp_path / "clip.mp4", audio_late_frames=5)
    before = clip.read_bytes()
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="is what is read: choose another name"):
            align(clip, clip, measure_flash_clip, overwrite=overwrite)
    assert clip.read_bytes() == before
    assert list(tmp_path.iterdir()) == [clip]


def test_an_offset_that_is_not_trusted_is_not_acted_upon(tmp_path: Path) -> None:
    clip = write_flash_clip(tmp_path / "clip.mp4", audio_late_frames=5)
    output = tmp_path / "out.mp4"
    with pytest.raises(UntrustedError, match=r"-200 ms cannot be trusted \(only 0.2 s .*--force"):
        align(clip, output, distrust)
    assert not output.exists()
    assert align(clip, output, distrust, force=True).after.offset_frames == 0


def test_an_offset_within_the_error_of_the_weights_is_not_acted_upon(tmp_path: Path) -> None:
    def measure(path: Path, name: str) -> SyncResult:
        weights = Weights("v1", "synthetic faces", offset_error_ms=200)
        return replace(measure_flash_clip(path, name), weights=weights)

    clip = write_flash_clip(tmp_path / "clip.mp4", audio_late_frames=5)
    output = tmp_path / "out.mp4"
    message = r"-200 ms is within the error .* \(\+-200 ms: weights trained .*--force"
    with pytest.raises(UntrustedError, match=message):
        align(clip, output, measure)
    assert not output.exists()
    assert align(clip, output, measure, force=True).after.offset_frames == 0


def test_a_copy_that_is_not_in_sync_is_not_written(tmp_path: Path) -> None:
    clip = write_flash_clip(tmp_path / "clip.mp4")
    output = tmp_path / "out.mp4"
    output.write_text("precious")

    with pytest.raises(UntrustedError, match=r"is measured 120 ms off, so .* was not written"):
        align(clip, output, lambda _, name: result_of(name, trusted=True), overwrite=True)
    assert output.read_text() == "precious"
    assert sorted(tmp_path.iterdir()) == [clip, output]


def test_nothing_is_measured_if_nothing_could_be_written(tmp_path: Path) -> None:
    clip = write_flash_clip(tmp_path / "clip.mp4")

    def unwanted(path: Path, name: str) -> SyncResult:
        raise AssertionError(f"measured {path} as {name}")

    with pytest.raises(UsageError, match="AVI keeps no time stamps"):
        align(clip, tmp_path / "out.avi", unwanted)
    with pytest.raises(UsageError, match="exists already"):
        align(tmp_path / "other.mp4", clip, unwanted)


def test_a_failure_leaves_no_temporary_file(tmp_path: Path) -> None:
    clip = write_flash_clip(tmp_path / "clip.mp4", audio_late_frames=5)
    calls = []

    def fails_the_second_time(path: Path, name: str) -> SyncResult:
        calls.append(path)
        if len(calls) == 2:
            raise MediaError("broken")
        return measure_flash_clip(path, name)

    with pytest.raises(MediaError, match="broken"):
        align(clip, tmp_path / "out.mp4", fails_the_second_time)
    assert calls[1].exists() is False
    assert list(tmp_path.iterdir()) == [clip]


def test_the_command(tmp_path: Path) -> None:
    """The stand-in for the towers does not understand speech, so no offset is trusted."""
    clip, output = write_clip(tmp_path / "clip.mkv"), tmp_path / "out.mkv"
    with FakeTriton() as server:
        command = ("align", clip, output, "--url", server.url)
        assert_fails(run(*command), "cannot be trusted", "--force")
        assert not output.exists()

        done = run(*command, "--force", "--json")
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["before"]["clip"] == report["clip"] == str(clip)
        assert report["after"]["clip"] == report["output"] == str(output)
        moved = report["audio_moved_ms"] - report["video_moved_ms"]
        assert moved == report["before"]["offset_ms"]
        again = json.loads(run("score", output, "--json", "--url", server.url).stdout)
        assert again["mean_distances"] == report["after"]["mean_distances"]

        done = run(*command, "--force")
        assert done.returncode == 2
        assert "exists already; pass --overwrite" in done.stderr
        done = run(*command, "--force", "--overwrite")
        assert [line.split()[0] for line in done.stdout.splitlines()] == [
            "before:",
            "after:",
            "moved:",
        ]
