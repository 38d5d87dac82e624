"""Many clips: several at once, every outcome a record, none of them the end of the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from syncnet_client.contract import FRAMES_PER_SECOND
from syncnet_client.defaults import DEFAULT_JOBS
from syncnet_client.errors import ModelNotReadyError, ServerUnavailableError
from syncnet_client.records.record import Record
from syncnet_client.scoring.clip import Progress
from syncnet_client.scoring.result import SyncResult
from syncnet_client.waiting import first_completed

__all__ = ["ScoreClip", "Tally", "attempt", "score_clips"]

ScoreClip = Callable[[str, Callable[[Progress], None]], SyncResult]


class _StoppedError(Exception):
    """Raised in the threads to end their clips."""


@dataclass
class Tally:
    """How far a batch is. Counted from several threads, so ``add_frames`` takes a lock.

    Attributes:
        total: clips to be scored in this run.
        skipped: clips left out because an earlier run has scored them.
        scored, failed: clips that are finished.
        frames: decoded so far, at 25 a second, also those of clips not finished.
        began: ``time.monotonic()`` at the beginning.
    """

    total: int
    skipped: int = 0
    scored: int = 0
    failed: int = 0
    frames: int = 0
    began: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add_frames(self, count: int) -> None:
        """Count frames that have been decoded."""
        with self._lock:
            self.frames += count

    def add_record(self, record: Record) -> None:
        """Count a finished clip."""
        if record.ok:
            self.scored += 1
        else:
            self.failed += 1

    @property
    def video_s(self) -> float:
        """Seconds of video that have been decoded."""
        return self.frames / FRAMES_PER_SECOND

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    @property
    def speed(self) -> float:
        """Seconds of video per second."""
        return self.video_s / max(self.elapsed_s, 1e-3)

    def __str__(self) -> str:
        before = f", {self.skipped} done before" if self.skipped else ""
        return (
            f"{self.scored} scored, {self.failed} failed{before}; {self.video_s:.0f} s of video "
            f"in {self.elapsed_s:.0f} s, {self.speed:.1f}x real time"
        )


def score_clips(
    clips: Collection[str],
    score: ScoreClip,
    emit: Callable[[Record], None],
    *,
    jobs: int = DEFAULT_JOBS,
    done: Collection[str] = (),
    on_start: Callable[[Tally], None] | None = None,
    abandon: Callable[[], None] | None = None,
) -> Tally:
    """Score clips, several at once.

    A clip that cannot be scored becomes a record of its failure. If the server is gone for longer
    than the transport waits, that says nothing about the clips: they get no record, and the batch
    ends, to be resumed when the server is back.

    Args:
        clips: names of the clips.
        score: scores one of them; called from several threads.
        emit: takes each record as soon as there is one; called from this thread only.
        jobs: clips in progress at once.
        done: clips to leave out.
        on_start: gets the tally, which is kept up to date from then on.
        abandon: called if the batch ends early; makes clips that wait for the server fail.

    Returns:
        The tally at the end.

    Raises:
        ServerUnavailableError, ModelNotReadyError: the server is gone.
    """
    waiting = [clip for clip in clips if clip not in done]
    tally = Tally(len(waiting), skipped=len(clips) - len(waiting))
    if on_start is not None:
        on_start(tally)
    with ThreadPoolExecutor(jobs, thread_name_prefix="clip") as pool:
        attempts = _Attempts(score, tally)
        try:
            for record in _completed(pool, attempts, waiting, jobs):
                emit(record)
                tally.add_record(record)
        except BaseException:
            attempts.stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
            if abandon is not None:
                abandon()
            raise
    return tally


class _Attempts:
    """Turns clips into records, until it is stopped; called from several threads."""

    def __init__(self, score: ScoreClip, tally: Tally) -> None:
        self.stopping = threading.Event()
        self._score = score
        self._tally = tally

    def __call__(self, clip: str) -> Record:
        counted = 0

        def progress(progress: Progress) -> None:
            nonlocal counted
            if self.stopping.is_set():
                raise _StoppedError
            self._tally.add_frames(progress.frames - counted)
            counted = progress.frames

        return attempt(clip, lambda: self._score(clip, progress))


def attempt(clip: str, score: Callable[[], SyncResult]) -> Record:
    """The record of one attempt at a clip.

    Raises:
        ServerUnavailableError, ModelNotReadyError: the server is gone, which says nothing about
            the clip.
    """
    try:
        return Record.scored(clip, score())
    except (_StoppedError, ServerUnavailableError, ModelNotReadyError):
        raise
    except Exception as error:
        # Whatever one clip does to a decoder must not end the other ten thousand.
        return Record.failed(clip, error)


def _completed(
    pool: ThreadPoolExecutor,
    attempt: Callable[[str], Record],
    clips: Iterable[str],
    jobs: int,
) -> Iterator[Record]:
    """Results in the order in which they are ready; no more clips are begun than are wanted."""
    running: set[Future[Record]] = set()
    for clip in clips:
        running.add(pool.submit(attempt, clip))
        if len(running) >= jobs:
            ready, running = first_completed(running)
            yield from (future.result() for future in ready)
    while running:
        ready, running = first_completed(running)
        yield from (future.result() for future in ready)
