"""Odd and hostile files: each is scored or refused in one line, and opens nothing but itself."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from commandline import assert_fails, run
from fakes import FakeTriton
from hostile import CHANNELS, HEIGHT, WIDTH, patch_matroska, write_hostile_files, write_media

from syncnet_client import ClipCrashedError, MediaError, OutOfMemoryError, ScoreOptions
from syncnet_client.batch.processes import ClipProcesses
from syncnet_client.media import open_media
from syncnet_client.records.open import open_output
from syncnet_client.transport.grpc import GrpcOptions


@pytest.fixture
def fake() -> Iterator[FakeTriton]:
    with FakeTriton() as server:
        yield server


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_title_in_latin_1_is_ignored(tmp_path: Path, suffix: str) -> None:
    clip = write_media(tmp_path / f"old.{suffix}", title="Übergröße".encode("latin-1"))
    with open_media(clip) as media:
        assert sum(len(block.frames) for block in media) >= 29


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:5,\nclip.ts\n#EXT-X-ENDLIST\n"),
        ("list.mp4", "ffconcat version 1.0\nfile clip.mp4\n"),
    ],
)
def test_a_playlist_is_read_only_if_that_is_wanted(tmp_path: Path, name: str, text: str) -> None:
    write_media(tmp_path / "clip.mp4")
    write_media(tmp_path / "clip.ts")
    playlist = tmp_path / name
    playlist.write_text(text)
    with pytest.raises(MediaError, match=r"is a playlist, .* pass --allow-playlists"):
        open_media(playlist)
    with open_media(playlist, allow_playlists=True) as media:
        assert sum(len(block.frames) for block in media) >= 29


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile itself\n", "#EXTM3U\nitself\n"])
def test_a_playlist_of_playlists_is_refused(tmp_path: Path, text: str) -> None:
    playlist = tmp_path / "itself"
    playlist.write_text(text)
    with pytest.raises(MediaError, match="its entry itself is a playlist, too"):
        open_media(playlist, allow_playlists=True)


def test_pictures_have_a_limit(tmp_path: Path) -> None:
    clip = write_media(tmp_path / "huge.mkv", size=(256, 256), video_codec="rawvideo")
    patch_matroska(clip, WIDTH, (16_000).to_bytes(2, "big"))
    patch_matroska(clip, HEIGHT, (16_000).to_bytes(2, "big"))
    with (
        pytest.raises(MediaError, match=r"huge.mkv .* beyond the limit of 36 million pixels"),
        open_media(clip) as media,
    ):
        list(media)


def test_pixels_that_are_very_wide_count_as_square_ones(tmp_path: Path) -> None:
    clip = write_media(tmp_path / "wide.mkv", size=(1024, 256), aspect=Fraction(255))
    with pytest.raises(MediaError, match=r"wide.mkv has pictures of \d+x256 pixels, beyond the"):
        open_media(clip)


def test_a_last_frame_of_hours_is_shown_once(tmp_path: Path) -> None:
    clip = write_media(tmp_path / "long.mkv", last_frame_s=40_000)
    with open_media(clip) as media:
        assert sum(len(block.frames) for block in media) <= 31


@pytest.mark.parametrize("channels", [64, 200])
def test_channels_that_cannot_be_mixed_are_one_line(
    tmp_path: Path, fake: FakeTriton, channels: int
) -> None:
    clip = write_media(tmp_path / "many.mkv", audio_codec="pcm_s16le")
    patch_matroska(clip, CHANNELS, bytes([channels]))
    assert_fails(run("score", clip, "--url", fake.url), "many.mkv")


def test_a_name_that_is_no_utf_8_is_recorded_and_found_again(
    tmp_path: Path, fake: FakeTriton
) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    write_media(tmp_path / "plain.mp4").rename(tmp_path / name)
    for suffix in ("jsonl", "csv", "parquet"):
        output = tmp_path / f"records.{suffix}"
        first = run("score", tmp_path, "--output", output, "--url", fake.url)
        assert first.returncode == 0, first.stderr
        with open_output(output) as records:
            assert records.done == {str(tmp_path / name)}
        again = run("score", tmp_path, "--output", output, "--url", fake.url)
        assert "0 scored, 0 failed, 1 done before" in again.stderr


def test_a_full_disk_ends_the_batch_without_half_a_record(tmp_path: Path) -> None:
    write_media(tmp_path / "a.mp4")
    output = tmp_path / "records.jsonl"
    from syncnet_client.errors import SyncNetError
    from syncnet_client.records.record import Record

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with open_output(output) as records:
            records.append(Record("a", error="no face", error_type="NoFaceError"))
            size = output.stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
            with pytest.raises(SyncNetError, match=r"cannot write to .*records.jsonl: File too"):
                records.append(Record("b", error="no face", error_type="NoFaceError"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert output.stat().st_size == size


def processes(fake: FakeTriton, **settings: int) -> ClipProcesses:
    return ClipProcesses(
        fake.url, GrpcOptions(), ScoreOptions(crop="none"), **({"memory_mb": 2048} | settings)
    )


def ignore(_: object) -> None:
    pass


def test_a_clip_that_kills_its_process_costs_one_record(tmp_path: Path, fake: FakeTriton) -> None:
    clip = write_media(tmp_path / "clip.mp4")
    score = processes(fake)
    try:
        (worker_pid,) = _workers_after(lambda: score(str(clip), ignore))

        def kill(_: object) -> None:
            os.kill(worker_pid, signal.SIGSEGV)

        with pytest.raises(ClipCrashedError, match=r"clip.mp4: the process .* ended by SIGSEGV"):
            score(str(clip), kill)
        assert score(str(clip), ignore).offset_frames is not None
    finally:
        score.close()


def test_a_batch_goes_on_after_the_death_of_a_process(tmp_path: Path, fake: FakeTriton) -> None:
    """A clip that declares more memory than a process may have is one failed record."""
    big = write_media(tmp_path / "b.mkv", size=(256, 256), video_codec="rawvideo")
    patch_matroska(big, WIDTH, (16_000).to_bytes(2, "big"))
    for name in ("a", "c"):
        write_media(tmp_path / f"{name}.mkv")
    done = run("score", tmp_path, "--json", "--url", fake.url, "--jobs", 2)
    records = {Path(r["clip"]).name: r for r in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1
    assert [records[f"{name}.mkv"]["status"] for name in "abc"] == ["ok", "failed", "ok"]


def _workers_after(action: Callable[[], object]) -> list[int]:
    import psutil

    action()
    family = psutil.Process().children(recursive=True)
    return [p.pid for p in family if not p.children() and "forkserver" in " ".join(p.cmdline())]


def _refusal(score: ClipProcesses, path: Path) -> MediaError | None:
    try:
        score(str(path), ignore)
    except MediaError as error:
        return error
    return None


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_hostile_files_are_scored_or_refused_in_one_line(
    tmp_path: Path, fake: FakeTriton, pytestconfig: pytest.Config
) -> None:
    """No traceback, no hang, bounded memory; ``--hostile-files N`` tries more of them."""
    count = pytestconfig.getoption("--hostile-files")
    score = processes(fake, memory_mb=1024)
    outcomes = {"scored": 0, "refused": 0}
    try:
        for path in write_hostile_files(tmp_path, count, seed=20160):
            began = time.monotonic()
            refusal = _refusal(score, path)
            outcomes["refused" if refusal else "scored"] += 1
            crashes = (ClipCrashedError, OutOfMemoryError)
            assert not isinstance(refusal, crashes), (path.name, refusal)
            assert "\n" not in str(refusal)
            assert refusal is None or path.name in str(refusal), refusal
            # A hang, not a speed: a file of this size takes a second at the most.
            assert time.monotonic() - began < 60, path.name
            path.unlink()
    finally:
        score.close()
    print(f"{count} hostile files: {outcomes}")
    assert min(outcomes.values()) > count // 20
