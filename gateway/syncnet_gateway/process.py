"""Runs the worker's process for a job and understands its messages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import pickle
import signal
import sys
from collections.abc import Callable
from typing import Any

from syncnet_gateway.problems import ProblemError, kind_of_error
from syncnet_gateway.worker import Task

__all__ = ["run"]

_LONGEST_MESSAGE_BYTES = 64 << 20  # of an hour of video it is a few
_END_WITHIN_S = 3.0
_log = logging.getLogger("syncnet_gateway")


async def run(task: Task, *, timeout_s: float, tell: Callable[[str, Any], None]) -> None:
    """Let a process do a task. The process is gone when this returns or raises.

    Args:
        task: what to do.
        timeout_s: how long the process may take.
        tell: called with the name and the content of each message: ``progress``, ``faces``,
            and in the end ``result``.

    Raises:
        ProblemError: the task failed, took too long, or ended its process.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SYNCNET_GATEWAY_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "syncnet_gateway.worker"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # decoders have much to say about hostile files
        env={**environment, "GRPC_VERBOSITY": "NONE"},
        start_new_session=True,
        limit=_LONGEST_MESSAGE_BYTES,
    )
    try:
        async with asyncio.timeout(timeout_s):
            await _converse(process, task, tell)
    except TimeoutError as error:
        raise ProblemError(
            "job-too-slow", f"{task.clip} was not done after {timeout_s:g} seconds"
        ) from error
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        raise
    finally:
        await asyncio.shield(_end(process))


async def _end(process: asyncio.subprocess.Process) -> None:
    """Wait for the end of a process, which has a moment to end its streams in order."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), _END_WITHIN_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # and whatever it may have started
    await process.wait()


async def _converse(
    process: asyncio.subprocess.Process, task: Task, tell: Callable[[str, Any], None]
) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(ConnectionError):  # its end says more
        process.stdin.write(pickle.dumps((os.getpid(), task)))
        await process.stdin.drain()
        process.stdin.close()
    async for line in process.stdout:
        ((kind, content),) = json.loads(line).items()
        if kind == "error":
            raise _problem(task, content)
        tell(kind, content)
        if kind == "result":
            return
    raise ProblemError("crashed", f"{task.clip}: {_ending(await process.wait())}")


def _problem(task: Task, error: dict[str, Any]) -> ProblemError:
    name = kind_of_error(error["classes"])
    if name == "internal":
        _log.error("%s of %s failed:\n%s", task.kind, task.clip, error["traceback"])
        return ProblemError(name, f"{task.clip}: {error['classes'][0]}; see the gateway's log")
    # The sentence is that of the command line; the option in it is one of a query here.
    return ProblemError(name, error["detail"].replace("--force", "force=true"))


def _ending(status: int) -> str:
    if status < 0:
        return f"its process was killed by {signal.Signals(-status).name}"
    return f"its process ended with exit status {status}"
