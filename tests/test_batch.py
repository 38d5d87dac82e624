"""Many clips at once: every outcome a record, nothing lost and nothing doubled."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from fakes import FakeTriton
from results import result_of

from syncnet_client.batch.threads import Tally, score_clips
from syncnet_client.client import SyncNetClient
from syncnet_client.errors import NoFaceError, ServerUnavailableError
from syncnet_client.records.open import open_output
from syncnet_client.records.record import Record
from syncnet_client.scoring.clip import Progress
from syncnet_client.scoring.result import SyncResult
from syncnet_client.transport.grpc import GrpcOptions
from syncnet_server import Server

Score = Callable[[str, Callable[[Progress], None]], SyncResult]


def run(clips: list[str], score: Score, **options: object) -> tuple[list[Record], Tally]:
    records: list[Record] = []
    tally = score_clips(clips, score, records.append, **options)  # type: ignore[arg-type]
    return records, tally


def succeed(clip: str, progress: Callable[[Progress], None]) -> SyncResult:
    for frames in (25, 50):
        progress(Progress(frames, 0, 50))
    return result_of(clip)


def test_every_outcome_is_a_record() -> None:
    def score(clip: str, progress: Callable[[Progress], None]) -> SyncResult:
        if clip == "empty":
            raise NoFaceError("empty: no face")
        if clip == "odd":
            raise ZeroDivisionError("what decoders do\non broken input")
        return succeed(clip, progress)

    records, tally = run(["a", "empty", "b", "odd", "c"], score, jobs=2)

    by_clip = {record.clip: record for record in records}
    assert len(records) == len(by_clip) == 5
    assert [by_clip[clip].ok for clip in "abc"] == [True] * 3
    assert (by_clip["empty"].error_type, by_clip["empty"].error) == (
        "NoFaceError",
        "empty: no face",
    )
    assert by_clip["odd"].error == "what decoders do on broken input"
    assert (tally.total, tally.scored, tally.failed, tally.skipped) == (5, 3, 2, 0)
    assert tally.video_s == 3 * 50 / 25
    assert str(tally).startswith("3 scored, 2 failed; 6 s of video in 0 s, ")


def test_clips_that_are_done_are_left_out() -> None:
    records, tally = run(["a", "b", "c"], succeed, done={"a", "c", "z"})
    assert [record.clip for record in records] == ["b"]
    assert (tally.total, tally.skipped) == (1, 2)
    assert "1 scored, 0 failed, 2 done before" in str(tally)


def test_so_many_at_once_and_no_more() -> None:
    lock = threading.Lock()
    barrier = threading.Barrier(3)  # breaks unless three clips meet
    now = most = 0

    def score(clip: str, progress: Callable[[Progress], None]) -> SyncResult:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        barrier.wait(timeout=60)
        with lock:
            now -= 1
        return succeed(clip, progress)

    records, _ = run([str(number) for number in range(9)], score, jobs=3)
    assert len(records) == 9
    assert most == 3


def test_a_server_that_is_gone_ends_the_batch_and_blames_no_clip() -> None:
    def score(clip: str, progress: Callable[[Progress], None]) -> SyncResult:
        if clip == "b":
            raise ServerUnavailableError("no answer for 120 s")
        return succeed(clip, progress)

    records: list[Record] = []
    with pytest.raises(ServerUnavailableError, match="no answer"):
        score_clips(["a", "b", "c", "d"], score, records.append, jobs=1)
    assert [record.clip for record in records] == ["a"]


def test_an_interruption_ends_the_clips_in_progress() -> None:
    endless = threading.Event()
    ended = threading.Event()

    def score(clip: str, progress: Callable[[Progress], None]) -> SyncResult:
        if clip == "a":
            endless.wait(60)
            return result_of(clip)
        try:
            for frames in range(1, 60_000):
                progress(Progress(frames, 0, None))
                endless.set()
                time.sleep(0.001)
        finally:
            ended.set()

    def emit(_: Record) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_clips(["a", "b", "c"], score, emit, jobs=2)
    assert ended.is_set()


def arrays(clip: str, *, frames: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Random pictures and sounds, the same for the same name."""
    random = np.random.default_rng(list(clip.encode()))
    images = random.integers(0, 255, (frames, 224, 224, 3), np.uint8)
    return images, random.integers(-9000, 9000, frames * 640).astype(np.int16)


def scorer(client: SyncNetClient, *, chunk: int) -> Score:
    def score(clip: str, progress: Callable[[Progress], None]) -> SyncResult:
        return client.score(arrays(clip), chunk=chunk, name=clip, progress=progress)

    return score


def test_clips_share_one_server_and_do_not_mix() -> None:
    clips = [f"clip {number}" for number in range(6)]
    with FakeTriton() as triton, SyncNetClient(triton.url) as client:
        one_by_one, _ = run(clips, scorer(client, chunk=20), jobs=1)
        together, _ = run(clips, scorer(client, chunk=20), jobs=4)
    assert sorted(together, key=lambda record: record.clip) == one_by_one


CLIPS = [f"clip {number:02}" for number in range(10)]
PATIENT = GrpcOptions(retry_timeout_s=60, timeout_s=30)


@pytest.fixture
def restartable(narrow_repository: Path) -> Iterator[Server]:
    """A server that comes back on the same ports."""
    with Server(narrow_repository) as first:
        ports = [int(url.split(":")[1]) for url in (first.grpc_url, first.http_url)]
    with Server(narrow_repository, grpc_port=ports[0], http_port=ports[1]) as server:
        yield server


def kill_tritonserver(server: Server) -> None:
    """End tritonserver as the kernel does when memory runs out."""
    port = int(server.grpc_url.split(":")[1])
    (pid,) = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    }
    psutil.Process(pid).kill()
    assert server.wait(timeout_s=30)
    server.stop()


@pytest.mark.server
def test_the_server_is_killed_in_the_middle_and_nothing_is_lost_or_doubled(
    restartable: Server, tmp_path: Path
) -> None:
    path = tmp_path / "results.jsonl"
    restarts: list[threading.Thread] = []

    with SyncNetClient(restartable.grpc_url, options=PATIENT) as client:
        quiet, _ = run(CLIPS, scorer(client, chunk=10), jobs=2)

        with open_output(path) as output:

            def emit(record: Record) -> None:
                output.append(record)
                if len(output.done) == 3:
                    kill_tritonserver(restartable)
                    restarts.append(threading.Thread(target=restartable.start))
                    restarts[0].start()

            tally = score_clips(CLIPS, scorer(client, chunk=10), emit, jobs=2, done=output.done)
    restarts[0].join()

    assert (tally.scored, tally.failed) == (len(CLIPS), 0)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(records, key=lambda record: record["clip"]) == [
        record.to_dict() for record in sorted(quiet, key=lambda record: record.clip)
    ]


@pytest.mark.server
def test_a_batch_that_ended_for_want_of_a_server_is_resumed(
    restartable: Server, tmp_path: Path
) -> None:
    path = tmp_path / "results.csv"
    impatient = GrpcOptions(retry_timeout_s=0)

    def attempt(after: int | None) -> Tally:
        with (
            open_output(path) as output,
            SyncNetClient(restartable.grpc_url, options=impatient) as client,
        ):

            def emit(record: Record) -> None:
                output.append(record)
                if len(output.done) == after:
                    kill_tritonserver(restartable)

            score = scorer(client, chunk=10)
            return score_clips(CLIPS, score, emit, jobs=2, done=output.done)

    with pytest.raises(ServerUnavailableError):
        attempt(after=4)
    restartable.start()
    with open_output(path) as output:
        done = len(output.done)
    assert 4 <= done < len(CLIPS)
    tally = attempt(after=None)
    assert (tally.skipped, tally.scored, tally.failed) == (done, len(CLIPS) - done, 0)
    rows = path.read_text().splitlines()[1:]
    assert sorted(row.split(",")[0] for row in rows) == CLIPS
