"""Run tritonserver for as long as the process that asked for it lives, then clean up.

This file is run as a script, in a session of its own, between the process that uses a `Server`
and tritonserver. Its standard input is a lifeline: the first line is the job as JSON, and after it
the end of the file means "stop", however the other side came to its end. So nothing is left behind
even when the parent is killed with SIGKILL. `STOP` means the same, `STOP_SOON` that tritonserver
has little time, and a signal kills it at once. When tritonserver ends by itself, a line on standard
output says how.

It imports the standard library alone, and stays single-threaded because Linux ties a death signal
to the thread that asked for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STOP = b"."
STOP_SOON = b"!"

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_POLL_S = 0.2
_SHARED_MEMORY = Path("/dev/shm")
# Triton counts its exit timeout from the signal and checks once a second.
_STOP_MARGIN_S = 5.0


def write_work_folder(
    work: Path, copies: dict[str, str], links: dict[str, str], texts: dict[str, str]
) -> None:
    """Create `work` with copied files, symbolic links and small files of the given contents."""

    def prepare(name: str) -> Path:
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    work.mkdir(mode=0o700)
    for name, source in copies.items():
        shutil.copy2(source, prepare(name))
    for name, target in links.items():
        prepare(name).symlink_to(target)
    for name, content in texts.items():
        prepare(name).write_text(content, encoding="utf-8")


def remove_traces(work: Path, shared_memory_prefix: str) -> None:
    """Remove the work folder and the shared-memory files of one server; missing ones are fine."""
    shutil.rmtree(work, ignore_errors=True)
    for path in _SHARED_MEMORY.glob(f"{shared_memory_prefix}*"):
        path.unlink(missing_ok=True)


def main() -> None:
    """Read the job, run tritonserver, wait for the lifeline to end, clean up."""
    server: subprocess.Popen[bytes] | None = None
    stop = soon = False

    def kill_server(_signum: int, _frame: object) -> None:
        nonlocal stop
        stop = True
        if server is not None:
            server.kill()

    signal.signal(signal.SIGTERM, kill_server)
    signal.signal(signal.SIGINT, kill_server)
    # Stubs of the Python backend whose tritonserver died become children of this process.
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    parent = os.getppid()

    lifeline = sys.stdin.fileno()
    job = _read_job(lifeline)
    work = Path(job["work"])
    try:
        write_work_folder(work, job["copies"], job["links"], job["texts"])
        with Path(job["log"]).open("ab") as log:
            server = subprocess.Popen(
                job["command"],
                env=job["environment"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),
            )
        reported = False
        # A forked child of the parent may hold the lifeline open, so look for the parent, too.
        while not stop and os.getppid() == parent:
            if not reported and server.poll() is not None:
                # The parent may still want to read the log: stay until it lets go.
                _report(_ending(server.returncode))
                reported = True
            readable, _, _ = select.select([lifeline], [], [], _POLL_S)
            if readable:
                soon = os.read(lifeline, 1) == STOP_SOON
                break
    except OSError as error:
        _report(f"{error.filename or 'tritonserver'}: {error.strerror}")
    finally:
        if server is not None:
            _stop(server, _STOP_MARGIN_S + (0 if soon else job["exit_timeout_s"]))
        _kill_orphans()
        remove_traces(work, job["shared_memory_prefix"])


def _read_job(lifeline: int) -> dict[str, Any]:
    received = b""
    while not received.endswith(b"\n"):
        block = os.read(lifeline, 65536)
        if not block:
            sys.exit(0)  # the parent died before it asked for anything
        received += block
    job: dict[str, Any] = json.loads(received)
    return job


def _ending(status: int) -> str:
    if status < 0:
        return f"tritonserver was killed by {signal.Signals(-status).name}"
    return f"tritonserver ended with exit status {status}"


def _report(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), f"{line}\n".encode())


def _stop(server: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Let tritonserver finish the requests it has; kill it when that takes too long."""
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(timeout_s)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _kill_orphans() -> None:
    """Kill what tritonserver left behind; as their reaper, this process has them as children."""
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        children = Path(f"/proc/self/task/{os.getpid()}/children")
        pids = [int(pid) for pid in children.read_text().split()]
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in pids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
