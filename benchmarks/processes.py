"""Time, processor time and memory of whole processes, as the operating system accounts for them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_POLL_S = 0.02


class BenchmarkError(RuntimeError):
    """A command that was to be measured failed; the message says which and why."""


@dataclass(frozen=True)
class Usage:
    """What one finished command used."""

    wall_s: float
    cpu_s: float  # user and system time, of the command and of the children it waited for
    peak_mb: float  # largest resident set of a single process, 10^6 bytes
    stdout: str


def measure(command: Sequence[str | Path]) -> Usage:
    """Run a command to its end.

    Raises:
        BenchmarkError: it failed.
    """
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        started = time.perf_counter()
        process = subprocess.Popen([str(part) for part in command], stdout=stdout, stderr=stderr)
        peak_mb = 0.0
        while True:
            # The kernel's own account of a finished child, ru_maxrss, begins with the memory of the
            # process it was forked from; this one begins with the program.
            peak_mb = max(peak_mb, _peak_mb(process.pid))
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(_POLL_S)
        wall_s = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        if process.returncode != 0:
            lines = stderr.read().decode(errors="replace").strip().splitlines() or ["no message"]
            raise BenchmarkError(f"{' '.join(map(str, command))}: {lines[-1]}")
        return Usage(
            wall_s=wall_s,
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_mb=peak_mb,
            stdout=stdout.read().decode(),
        )


def _peak_mb(pid: int) -> float:
    """The largest resident set that a running program has had; 0 when it has just ended."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


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
