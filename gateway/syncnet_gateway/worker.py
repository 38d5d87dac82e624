"""The process that works on one clip: a decoder that crashes costs one job, never the gateway.

It gets a pickled ``Task`` on standard input and writes messages to standard output, a JSON object
on each line, with a key that says what it is: ``progress``, ``faces``, ``result``, or ``error``.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import pickle
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from syncnet_client import GrpcOptions, Progress, SyncNetClient, SyncNetError, SyncResult
from syncnet_client.align import align
from syncnet_client.contract import FRAMES_PER_SECOND
from syncnet_client.errors import OutOfMemoryError
from syncnet_client.media import open_media, open_paired

__all__ = ["TASKS", "ClipTooLargeError", "Task"]

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_PROGRESS_EVERY_S = 0.1
_FILE_DESCRIPTORS = 256


class ClipTooLargeError(SyncNetError):
    """The clip is longer, or its picture larger, than the gateway takes."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to do with a clip.

    Attributes:
        kind: a key of ``TASKS``.
        folder: private to the job; names of files are relative to it.
        clip: name of the file to work on.
        audio: name of a file with the sound to score the clip against, in place of its own.
        output: name of the file to write, if the task writes one.
        options: keyword arguments of ``SyncNetClient.score``.
        force: write the output although a measurement speaks against it.
        url, grpc: which server to ask, and how.
        max_duration_s, max_pixels, memory_bytes: limits.
    """

    kind: str
    folder: Path
    clip: str
    audio: str | None
    output: str | None
    options: Mapping[str, Any]
    force: bool
    url: str
    grpc: GrpcOptions
    max_duration_s: float
    max_pixels: int
    memory_bytes: int


class _Messages:
    """The way back to the gateway."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._told = 0.0

    def send(self, **message: Any) -> None:
        self._stream.write(json.dumps(message, allow_nan=False) + "\n")
        self._stream.flush()

    def progress(self, progress: Progress, step: int, steps: int) -> None:
        now = time.monotonic()
        if now - self._told >= _PROGRESS_EVERY_S:
            self._told = now
            self.send(progress={**vars(progress), "step": step, "steps": steps})


def _score(client: SyncNetClient, task: Task, messages: _Messages) -> dict[str, Any]:
    result = _measure(client, task, Path(task.clip), task.clip, messages)
    messages.send(faces=[_face(track) for track in result.tracks])
    return result.to_dict()


def _align(client: SyncNetClient, task: Task, messages: _Messages) -> dict[str, Any]:
    assert task.output is not None
    steps = itertools.count(1)  # the clip, then its copy
    return align(
        Path(task.clip),
        Path(task.output),
        lambda path, name: _measure(client, task, path, name, messages, next(steps), 2),
        force=task.force,
    ).to_dict()


TASKS: Mapping[str, Callable[[SyncNetClient, Task, _Messages], dict[str, Any]]] = {
    "score": _score,
    "align": _align,
}


def _measure(
    client: SyncNetClient,
    task: Task,
    path: Path,
    name: str,
    messages: _Messages,
    step: int = 1,
    steps: int = 1,
) -> SyncResult:
    def progress(now: Progress) -> None:
        check_duration(now.frames / FRAMES_PER_SECOND)
        messages.progress(now, step, steps)

    def check_duration(seconds: float) -> None:
        if seconds > task.max_duration_s:
            raise ClipTooLargeError(
                f"{name} lasts more than the {task.max_duration_s:g} seconds that this gateway "
                "takes"
            )

    # A clip that is scored against another sound may have none of its own.
    with open_media(path) if task.audio is None else open_paired(path, audio=task.audio) as media:
        info = media.info  # what the container says is checked before anything is decoded
    if info.width * info.height > task.max_pixels:
        raise ClipTooLargeError(
            f"{name} has a picture of {info.width}x{info.height}; this gateway takes up to "
            f"{task.max_pixels / 1e6:.1f} million pixels"
        )
    check_duration(float(info.duration or 0))
    options = {**task.options, "audio": task.audio}
    return client.score(path, name=name, progress=progress, **options)


def _face(track: Any) -> dict[str, Any]:
    """Where a face is in every frame of its track, for drawing."""
    return {
        "track": track.track,
        "frame_times": [round(float(time), 3) for time in track.frame_times],
        "boxes": [[round(float(value), 1) for value in box] for box in track.boxes],
        "detected": [bool(seen) for seen in track.detected],
    }


def _harden(memory_bytes: int, parent: int) -> None:
    """Die with the gateway, gain no rights, and take no more memory than allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before the signal was asked for
        sys.exit(1)
    for what, limit in (
        (resource.RLIMIT_DATA, memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _FILE_DESCRIPTORS),
    ):
        _, most = resource.getrlimit(what)
        limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(what, (limit, limit))


def _take_stdout() -> IO[str]:
    """Keep standard output for messages: what libraries print goes to standard error."""
    own = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(own, "w", encoding="utf-8")


def _described(task: Task, error: Exception) -> dict[str, Any]:
    """An error as it is sent to the gateway."""
    detail = " ".join(str(error).split())
    if isinstance(error, OutOfMemoryError):
        detail = f"{task.clip} needs more than {task.memory_bytes >> 20} MB of memory"
    return {
        "classes": [each.__name__ for each in type(error).__mro__],
        "detail": detail,
        "traceback": None if isinstance(error, SyncNetError) else traceback.format_exc(),
    }


def main() -> None:
    """Do one task."""
    messages = _Messages(_take_stdout())
    parent, task = pickle.load(sys.stdin.buffer)
    _harden(task.memory_bytes, parent)
    os.chdir(task.folder)
    # A stream that is cut off in the middle can end tritonserver: a cancelled job closes its own.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with SyncNetClient(task.url, options=task.grpc) as client:
            messages.send(result=TASKS[task.kind](client, task, messages))
    except Exception as error:
        messages.send(error=_described(task, error))


if __name__ == "__main__":
    main()
