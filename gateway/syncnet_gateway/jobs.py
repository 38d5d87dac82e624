"""Jobs: a clip's way from its upload to its outcome, and how many may be on it at once."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from syncnet_gateway.metrics import Metrics
from syncnet_gateway.problems import ProblemError
from syncnet_gateway.settings import Limits

__all__ = ["Job", "Jobs", "State"]

_log = logging.getLogger("syncnet_gateway")


class State(str, enum.Enum):
    """Where a job is."""

    UPLOADING = "uploading"
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing comes after it."""
        return self in (State.DONE, State.FAILED, State.CANCELLED)


class Job:
    """One clip.

    Attributes:
        id: cannot be guessed; a caller that has it may see and cancel the job.
        kind: what is done with the clip, a key of ``syncnet_gateway.worker.TASKS``.
        folder: private to the job; removed when the job has its outcome.
        output: a file in it that is part of the outcome; None once it is sent. The folder stays
            until then.
        state: where it is.
        progress: how far its process is, as of ``syncnet_client.Progress``, with the number of
            the measurement and how many there are.
        faces: where the faces are in every frame.
        result: the client's own JSON.
        problem: why there is no result.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self.id = secrets.token_urlsafe(16)
        self.kind = kind
        self.folder = folder / self.id
        self.output: Path | None = None
        self.state = State.UPLOADING
        self.progress: dict[str, Any] | None = None
        self.faces: list[dict[str, Any]] | None = None
        self.result: dict[str, Any] | None = None
        self.problem: ProblemError | None = None
        self.task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def location(self) -> str:
        """Where it can be asked for."""
        return f"/v1/jobs/{self.id}"

    @property
    def takes_place(self) -> bool:
        """Whether it is in work, or its file waits to be fetched."""
        return not self.state.final or (self.state is State.DONE and self.output is not None)

    def tell(self, kind: str, content: Any) -> None:
        """Take a message of its process."""
        setattr(self, kind, content)
        self.change()

    def change(self, state: State | None = None) -> None:
        """Wake up everybody who waits for something new."""
        self.state = state or self.state
        self._changed.set()
        self._changed = asyncio.Event()

    async def changes(self) -> AsyncIterator[State]:
        """Its state now and after each change, up to the final one; changes may be skipped."""
        while True:
            changed = self._changed
            yield self.state
            if self.state.final:
                return
            await changed.wait()

    async def finished(self) -> None:
        """Wait for the final state."""
        async for _ in self.changes():
            pass

    def cancel(self) -> None:
        """End it, wherever it is."""
        if self.task is not None and not self.state.final:
            self.task.cancel()


class Jobs:
    """All jobs of a gateway.

    Args:
        limits: how many there may be, and how long their outcomes are kept.
        metrics: where to count them.

    Attributes:
        folder: where each job gets a folder of its own; to be set before the first.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self.folder: Path | None = None
        self._limits = limits
        self._metrics = metrics
        self._places = asyncio.Semaphore(limits.jobs)
        self._jobs: dict[str, Job] = {}
        self._stopping = False
        metrics.watch_jobs(self.count)

    @property
    def stopping(self) -> bool:
        """Whether no more jobs are taken."""
        return self._stopping

    def count(self, state: State) -> int:
        """How many jobs are in a state."""
        return sum(job.state is state for job in self._jobs.values())

    def get(self, identity: str) -> Job:
        """The job of that name.

        Raises:
            ProblemError: there is none.
        """
        try:
            return self._jobs[identity]
        except KeyError:
            raise ProblemError(
                "not-found",
                f"there is no such job; outcomes are kept for {self._limits.keep_s / 60:g} minutes",
            ) from None

    def ahead(self, job: Job) -> int:
        """How many jobs wait before a waiting one."""
        if job.state is not State.WAITING:
            return 0
        waiting = [each for each in self._jobs.values() if each.state is State.WAITING]
        return waiting.index(job)

    def admit(self, kind: str) -> Job:
        """Give a place to a new job, which begins with its upload.

        Raises:
            ProblemError: all places are taken, or the gateway is stopping.
        """
        if self._stopping:
            raise ProblemError("stopping", "the gateway is stopping")
        taken = sum(job.takes_place for job in self._jobs.values())
        if taken >= self._limits.jobs + self._limits.waiting:
            self._metrics.refused.inc()
            raise ProblemError(
                "busy",
                f"{self._limits.jobs} clips are in work and {self._limits.waiting} are waiting; "
                "try again later",
                {"Connection": "close"},
            )
        assert self.folder is not None
        job = Job(kind, self.folder)
        job.folder.mkdir(mode=0o700)
        self._jobs[job.id] = job
        return job

    def abandon(self, job: Job, problem: ProblemError) -> None:
        """End a job whose upload failed."""
        self.release(job)
        self._finish(job, State.FAILED, problem)

    def start(self, job: Job, work: Callable[[], Awaitable[None]]) -> None:
        """Let an uploaded job wait for a place in work and then do it.

        Args:
            job: what was uploaded.
            work: does it, and leaves its result in the job.
        """
        job.change(State.WAITING)
        job.task = asyncio.create_task(self._run(job, work))

    async def discard(self, job: Job) -> None:
        """Cancel a job, and forget it."""
        job.cancel()
        await job.finished()
        self._forget(job)

    async def stop(self, timeout_s: float = 0.0) -> None:
        """Take no more jobs, and end all that there are.

        Args:
            timeout_s: how long those in work may go on.
        """
        self._stopping = True
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def release(self, job: Job) -> None:
        """Remove the files of a job whose output was sent."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(job.folder)

    async def _run(self, job: Job, work: Callable[[], Awaitable[None]]) -> None:
        try:
            async with self._places:
                job.change(State.RUNNING)
                with self._metrics.seconds.labels(job.kind).time():
                    await work()
            if job.output is None:
                self.release(job)
            self._finish(job, State.DONE)
        except asyncio.CancelledError:
            self.release(job)
            name, detail = (
                ("stopping", "the gateway is stopping")
                if self._stopping
                else ("cancelled", "the job was cancelled")
            )
            self._finish(job, State.CANCELLED, ProblemError(name, detail))
        except ProblemError as problem:
            self.release(job)
            self._finish(job, State.FAILED, problem)
        except Exception:
            _log.exception("job %s failed", job.id)
            self.release(job)
            self._finish(job, State.FAILED, ProblemError("internal", "see the gateway's log"))

    def _finish(self, job: Job, state: State, problem: ProblemError | None = None) -> None:
        job.problem = problem
        job.change(state)
        self._metrics.finished.labels(job.kind, problem.name if problem else "done").inc()
        asyncio.get_running_loop().call_later(self._limits.keep_s, self._forget, job)
        finished = [each for each in self._jobs.values() if each.state.final]
        for oldest in finished[: -self._limits.keep_jobs]:
            self._forget(oldest)

    def _forget(self, job: Job) -> None:
        self.release(job)
        self._jobs.pop(job.id, None)
