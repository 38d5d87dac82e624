"""Time, processor time and memory of whole processes, as the operating system accounts for them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


class BenchmarkError(RuntimeError):
    """A command that was to be measured failed; the message says which and why."""


@dataclass(frozen=True)
class Usage:
    """What one finished command used."""

    wall_s: float
    cpu_s: float  # user and system time, of the command and of the children it waited for
    peak_mb: float  # largest resident set of a single process, 10^6 bytes
    stdout: str


def measure(command: Sequence[str | Path], environment: dict[str, str] | None = None) -> Usage:
    """Run a command to its end.

    Raises:
        BenchmarkError: it failed.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    # Both ends are small; reading one after the other cannot block.
    assert process.stdout is not None
    assert process.stderr is not None
    stdout, stderr = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    process.stderr.close()
    if process.returncode != 0:
        lines = stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise BenchmarkError(f"{' '.join(map(str, command))}: {lines[-1]}")
    return Usage(
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_mb=usage.ru_maxrss * 1024 / 1e6,
        stdout=stdout.decode(),
    )


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def tree_cpu_s(pid: int) -> float:
    """Processor time that a process and its living descendants have used so far, in seconds."""
    total = 0.0
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total
