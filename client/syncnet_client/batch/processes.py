"""Clips in worker processes with a memory limit: a clip that ends its process costs one record.

Decoders are written in C, and a damaged file can end the process that reads it. So each clip of a
batch is scored in a process of its own: what becomes of that process, the batch goes on. A worker
takes clips one after the other; only after a death is there a new one.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import queue
import resource
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from syncnet_client.client import SyncNetClient
from syncnet_client.errors import ClipCrashedError, MediaError, OutOfMemoryError, SyncNetError
from syncnet_client.scoring.clip import Progress
from syncnet_client.scoring.options import ScoreOptions
from syncnet_client.scoring.result import SyncResult
from syncnet_client.transport.grpc import GrpcOptions

__all__ = ["ClipProcesses"]

_PR_SET_PDEATHSIG = 1  # of prctl(2)


class ClipProcesses:
    """A ``ScoreClip`` for several threads: each clip is scored in a worker process.

    Args:
        url: HOST:PORT of the server.
        options: how to connect.
        how: how to score.
        memory_mb: what a worker may take, in MB of 2**20 bytes.
    """

    def __init__(
        self, url: str, options: GrpcOptions, how: ScoreOptions, *, memory_mb: int
    ) -> None:
        self._settings = (url, options, how, memory_mb)
        # Workers are forked from a process that has loaded everything and has no threads.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__])
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._all: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = False

    def __call__(self, clip: str, progress: Callable[[Progress], None]) -> SyncResult:
        """Score a clip in a worker, of which there are as many as there are calls at once.

        Raises:
            ClipCrashedError: the worker died of it.
            OutOfMemoryError: it needs more memory than a worker may have.
            SyncNetError: as of ``SyncNetClient.score``.
        """
        worker = self._take()
        try:
            result = worker.score(clip, progress)
        except _ClipError as error:
            self._idle.put(worker)
            raise error.of_clip from None
        except BaseException:
            self._discard(worker)
            raise
        self._idle.put(worker)
        return result

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        with self._lock:
            self._closed = True
            workers = list(self._all)
        for worker in workers:
            self._discard(worker)

    def _take(self) -> _Worker:
        with contextlib.suppress(queue.Empty):
            return self._idle.get_nowait()
        worker = _Worker(self._context, self._settings)
        with self._lock:
            self._all.add(worker)
            closed = self._closed
        if closed:
            self._discard(worker)
            raise SyncNetError("the batch has ended")
        return worker

    def _discard(self, worker: _Worker) -> None:
        worker.end()
        with self._lock:
            self._all.discard(worker)


class _ClipError(Exception):
    """What a worker reports of a clip; the worker itself is well."""

    def __init__(self, of_clip: Exception) -> None:
        super().__init__(str(of_clip))
        self.of_clip = of_clip


class _Worker:
    """A process that scores clips one after the other."""

    def __init__(self, context: Any, settings: tuple[Any, ...]) -> None:
        self._connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_work, args=(theirs, *settings), name="syncnet-clip", daemon=True
        )
        self._process.start()
        theirs.close()

    def score(self, clip: str, progress: Callable[[Progress], None]) -> SyncResult:
        try:
            self._connection.send(clip)
            while isinstance(message := self._connection.recv(), Progress):
                progress(message)
        except (EOFError, ConnectionError) as error:
            raise ClipCrashedError(f"{clip}: {self._cause_of_death()}") from error
        if isinstance(message, Exception):
            raise _ClipError(message)
        result: SyncResult = message
        return result

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _cause_of_death(self) -> str:
        self._process.join()
        code = self._process.exitcode or 0
        if code >= 0:
            return f"the process that scored it ended with status {code}"
        return f"the process that scored it was ended by {signal.Signals(-code).name}"


def _work(
    connection: Connection, url: str, options: GrpcOptions, how: ScoreOptions, memory_mb: int
) -> None:
    """Answer each clip that is received with progress, and at last its result or an exception."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the batch decides what Ctrl-C means
    limit = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with SyncNetClient(url, options=options) as client, contextlib.suppress(EOFError, OSError):
        while True:
            connection.send(_attempt(client, connection.recv(), how, connection.send, memory_mb))


def _attempt(
    client: SyncNetClient,
    clip: str,
    how: ScoreOptions,
    progress: Callable[[Progress], None],
    memory_mb: int,
) -> SyncResult | Exception:
    try:
        return client.score(clip, name=clip, progress=progress, **how.keywords())
    except OutOfMemoryError:
        return OutOfMemoryError(f"{clip} needs more than {memory_mb} MB of memory")
    except SyncNetError as error:
        return error
    except (EOFError, OSError):
        raise  # nobody listens any more
    except Exception as error:  # others may not survive the way to the other process
        return MediaError(f"{clip}: {type(error).__name__}: {error}")


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
