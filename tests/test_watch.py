"""Live sources: the offset of the last seconds, as it changes, until the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from commandline import CLIENT, assert_fails, run, write_clip
from fakes import FakeTriton, WrittenStream, WrittenTransport, written_frames
from tiny import read_so_far, wait_for

from syncnet_client import Measurement, NoFaceError, SyncNetClient, Update, UsageError
from syncnet_client.faces import Box, CropEvent, CroppedFrame, CropSummary, TrackEnd, TrackFrames
from syncnet_client.media import ArrayMedia, Frame
from syncnet_client.scoring.live import SETTLING_FRAMES, watch_media
from syncnet_client.scoring.options import WatchOptions
from syncnet_client.transport.base import ChunkAnswer

SECOND = 25


class PromptStream(WrittenStream):
    """Answers as soon as it is asked, as a server that keeps up does."""

    def received(self) -> list[ChunkAnswer]:
        answers, self._answers = self._answers, []
        return answers


class PromptTransport(WrittenTransport):
    def open_stream(self) -> PromptStream:
        self.open_streams += 1
        return PromptStream(self)


def noise(frames: int, amplitude: int = 6000) -> np.ndarray:
    random = np.random.default_rng(frames)
    return random.integers(-amplitude, amplitude + 1, frames * 640).astype(np.int16)


def media(*parts: np.ndarray, samples: np.ndarray | None = None) -> ArrayMedia:
    frames = np.concatenate(parts)
    return ArrayMedia(frames, noise(len(frames)) if samples is None else samples)


def watched(source: ArrayMedia, **options: float) -> list[Update]:
    with SyncNetClient(transport=PromptTransport()) as client:
        return list(client.watch(source, **options))  # type: ignore[arg-type]


def measured(update: Update) -> Measurement:
    assert update.measurement is not None
    return update.measurement


def test_an_offset_that_changes_is_followed() -> None:
    """In sync by +3 frames for 20 s, then by -4."""
    source = media(
        written_frames(20 * SECOND, column=7, depth=6),
        written_frames(20 * SECOND, column=14, depth=5),
    )
    updates = watched(source, lookback_s=5, every_s=1)

    assert 35 <= len(updates) <= 41
    assert {measured(update).offset_frames for update in updates if update.time_s < 20} == {3}
    assert {measured(update).offset_frames for update in updates if update.time_s > 23} == {-4}
    times = [update.time_s for update in updates]
    assert times == sorted(times)
    assert all(update.windows <= 5 * SECOND for update in updates)
    pure = [update for update in updates if 7 < update.time_s < 20]
    assert all(update.windows == 5 * SECOND for update in pure)
    assert all(measured(update).confidence == pytest.approx(6) for update in pure)
    assert all(update.verdict.trusted for update in pure)
    assert updates[-1].time_s == pytest.approx(40 - 3 / 25, abs=0.1)
    assert (measured(pure[0]).offset_ms, pure[0].meaning) == (
        120,
        "the audio is 120 ms ahead of the video",
    )


def test_while_the_offset_changes_it_is_unknown() -> None:
    """Half of the last 5 s says +3 frames, the other half -4: the draws do not agree."""
    source = media(
        written_frames(10 * SECOND, column=7, depth=6),
        written_frames(6 * SECOND, column=14, depth=5),
    )
    updates = watched(source, lookback_s=5, every_s=0.4)
    between = [update for update in updates if 12.3 < update.time_s < 13.1]
    assert between
    for update in between:
        assert update.meaning.startswith("the offset is unknown (")
        assert [reason.code for reason in update.verdict.reasons] == ["low_agreement"]
    assert updates[-1].meaning == "the audio is 160 ms behind the video"


def test_nothing_is_told_twice_while_the_server_stands_still() -> None:
    class HaltingStream(PromptStream):
        """Answers until 10 s, and the rest at the end."""

        def received(self) -> list[ChunkAnswer]:
            if any(answer.first_window >= 10 * SECOND for answer in self._answers):
                return []
            return super().received()

    class HaltingTransport(PromptTransport):
        def open_stream(self) -> HaltingStream:
            self.open_streams += 1
            return HaltingStream(self)

    source = media(written_frames(20 * SECOND, column=7, depth=6))
    with SyncNetClient(transport=HaltingTransport()) as client:
        updates = list(client.watch(source, lookback_s=5, every_s=1))
    times = [update.time_s for update in updates]
    assert len(set(times)) == len(times)
    assert times[-2] < 11
    assert times[-1] > 19


def test_the_first_update_says_that_it_rests_on_little() -> None:
    first, *_, last = watched(media(written_frames(6 * SECOND, column=7, depth=6)), every_s=0.4)
    assert [reason.code for reason in first.verdict.reasons] == ["too_short"]
    assert last.verdict.trusted


def test_silence_is_noticed_when_it_begins() -> None:
    samples = np.concatenate([noise(15 * SECOND), noise(15 * SECOND, amplitude=3)])
    source = media(written_frames(30 * SECOND, column=7, depth=6), samples=samples)
    for update in watched(source, lookback_s=4):
        silent = "silence" in [reason.code for reason in update.verdict.reasons]
        if update.time_s < 14:
            assert not silent
        elif update.time_s > 19:
            assert silent


class Visitors:
    """A cropper whose faces come and go: (track, first frame, end)."""

    def __init__(self, *visits: tuple[int, int, int]) -> None:
        self._visits = visits
        self.summary = CropSummary(frames=0, tracks=len(visits))

    def push(self, frames: list[Frame]) -> list[CropEvent]:
        events: list[CropEvent] = []
        for track, first, end in self._visits:
            crops = [
                CroppedFrame(f.index, f.time, f.image, Box(0, 0, 224, 224), True)
                for f in frames
                if first <= f.index < end
            ]
            if crops:
                events.append(TrackFrames(track, crops))
            if any(frame.index == end for frame in frames):
                events.append(TrackEnd(track, "lost"))
        return events

    def flush(self) -> list[CropEvent]:
        return []


def visited(source: ArrayMedia, *visits: tuple[int, int, int], lookback_s: float) -> list[Update]:
    options = WatchOptions(lookback_s=lookback_s)
    with source as opened:
        return list(watch_media(opened, Visitors(*visits), PromptTransport(), options))


def test_a_face_that_leaves_is_missed_and_a_new_one_is_measured() -> None:
    source = media(
        written_frames(20 * SECOND, column=7, depth=6),
        written_frames(20 * SECOND, column=12, depth=6),
    )
    updates = visited(source, (0, 0, 8 * SECOND), (5, 20 * SECOND, 40 * SECOND), lookback_s=3)
    seen = [
        (update.measurement.track, update.measurement.offset_frames) if update.measurement else None
        for update in updates
    ]
    assert list(dict.fromkeys(seen)) == [(0, 3), None, (5, -2)]
    missing = next(update for update in updates if update.measurement is None)
    settled = 8 + 3 + SETTLING_FRAMES / SECOND
    assert settled <= missing.time_s <= settled + 3
    assert (missing.windows, missing.meaning) == (0, "no face")
    assert [reason.code for reason in missing.verdict.reasons] == ["face_lost"]
    assert json.loads(json.dumps(missing.to_dict()))["confidence"] is None


def test_of_two_faces_the_one_with_the_higher_agreement_is_reported() -> None:
    """Both see the same pictures here; the longer history decides against the newcomer."""
    source = media(written_frames(10 * SECOND, column=7, depth=6))
    updates = visited(source, (0, 0, 250), (1, 225, 250), lookback_s=3)
    assert {measured(update).track for update in updates} == {0}


def test_memory_does_not_grow_with_the_source() -> None:
    """Ten minutes; what is kept never exceeds what the window and the latency need."""
    from syncnet_client.scoring.live import _Watcher

    watcher = _Watcher(PromptTransport(), WatchOptions(lookback_s=2))
    stream = PromptTransport().open_stream()
    image = written_frames(1, column=7, depth=6)[0]
    for first in range(0, 600 * SECOND, SECOND):
        frames = [
            CroppedFrame(k, Fraction(k, 25), image, Box(0, 0, 224, 224), True)
            for k in range(first, first + SECOND)
        ]
        watcher.chunker.push_clip(SECOND, noise(SECOND))
        watcher.take_samples(noise(SECOND))
        watcher.take_frames(TrackFrames(0, frames))
        watcher.chunker.push_frames(0, first, (frame.image for frame in frames))
        for chunk in watcher.chunker.ready():
            stream.send(chunk)
        for answer in stream.received():
            watcher.take_answer(answer)
        watcher.update()
        (face,) = watcher._faces.values()
        assert max(map(len, (face.times, face.rows, watcher._sound))) < 8 * SECOND


def test_options_that_make_no_sense() -> None:
    source = media(written_frames(30, column=7, depth=6))
    with pytest.raises(UsageError, match="lookback_s must be at least 1 second"):
        watched(source, lookback_s=0.5)
    with pytest.raises(UsageError, match=r"every_s must be at least 0\.04"):
        watched(source, every_s=0)


def test_a_source_without_faces_ends_with_an_error() -> None:
    source = ArrayMedia(np.full((40, 240, 320, 3), 90, np.uint8), noise(40))
    with pytest.raises(NoFaceError):
        watched(source)


@pytest.fixture
def fake() -> Iterator[FakeTriton]:
    with FakeTriton() as server:
        yield server


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds."""
    return write_clip(tmp_path_factory.mktemp("clip") / "talk.mkv", frames=100)


def test_a_line_for_every_second_of_a_pipe(fake: FakeTriton, clip: Path) -> None:
    with clip.open("rb") as pipe:
        done = subprocess.run(
            [*CLIENT, "watch", "-", "--every", "1", "--url", fake.url],
            stdin=pipe, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) >= 2
    assert lines[-1].startswith("0:00:03  ")
    assert "confidence" in lines[-1]


def test_a_finished_file_is_played_in_real_time(fake: FakeTriton, clip: Path) -> None:
    began = time.monotonic()
    done = run("watch", clip, "--json", "--lookback", 2, "--url", fake.url)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began >= 4
    updates = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"time_s", "offset_ms", "confidence", "meaning", "verdict"} <= updates[-1].keys()
    assert updates[-1]["windows"] == 50


def test_a_file_that_is_still_being_written(fake: FakeTriton, clip: Path, tmp_path: Path) -> None:
    growing = tmp_path / "growing.mkv"
    content = clip.read_bytes()
    growing.write_bytes(content[: len(content) // 2])

    def write_the_rest() -> None:
        wait_for(lambda: read_so_far(growing) >= len(content) // 2, 60)
        with growing.open("ab") as file:
            file.write(content[len(content) // 2 :])

    writer = threading.Thread(target=write_the_rest)
    writer.start()
    options = ("--follow", "--source-timeout", 4, "--json", "--url", fake.url)
    done = run("watch", growing, *options)
    writer.join()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["time_s"] > 3.5


def test_ctrl_c_is_a_clean_end(fake: FakeTriton, clip: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "live"
    os.mkfifo(fifo)
    command = [*CLIENT, "watch", str(fifo), "--source-timeout", "60", "--url", fake.url]
    with (
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
        fifo.open("wb") as pipe,
    ):
        pipe.write(clip.read_bytes())
        pipe.flush()
        assert process.stdout is not None
        assert process.stderr is not None
        assert "confidence" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""


def test_sources_that_cannot_be_watched(fake: FakeTriton, tmp_path: Path) -> None:
    assert_fails(run("watch", tmp_path / "gone.mp4", "--url", fake.url), "no such file")
    done = run("watch", tmp_path / "gone.mp4", "--lookback", "0.2", "--url", fake.url)
    assert done.returncode == 2
