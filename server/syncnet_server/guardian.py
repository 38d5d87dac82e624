"""Run tritonserver for as long as the process that asked for it lives, then clean up.

This file is run as a script, in a session of its own, between the process that uses a `Server`
and tritonserver. Its standard input is a lifeline: the first line is the job as JSON, and `STOP`
ends it in order, `STOP_SOON` with little time for requests, `STOP_NOW` with none. The end of the
file means that the parent died: then nobody waits for answers, and tritonserver is killed so that
its ports are free at once. Standard output tells the parent, a line each, the process group of
tritonserver, which members were continued, and how tritonserver ended if it did so by itself.

The family ends together, whoever dies first:

* guardian: the kernel kills tritonserver (`PR_SET_PDEATHSIG`).
* tritonserver: it alone holds the write end of a pipe (`ALIVE_FD`). When that closes, the kernel
  sends SIGKILL to its process group, to which the stubs belong (`F_SETOWN`, `F_SETSIG`). A death
  signal on the stubs would not do: Triton starts them from threads that end.
* a stub: Triton 2.51 does not start it again, and answers every later request with an error while
  it calls itself ready. So the guardian ends tritonserver, which can be started again.

A member that was stopped (SIGSTOP) is continued, because Triton 2.51 does not survive it for long.

All hold the work folder open and locked (`WORK_FD`); who can lock it knows that none is left.

It imports the standard library alone, and stays single-threaded because Linux ties a death signal
to the thread that asked for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

STOP = b"."
STOP_SOON = b"!"
STOP_NOW = b"#"
STARTED = "started "  # before the number of tritonserver's process group
NOTED = "noted "  # before what was done while tritonserver goes on

# Numbers, because Triton's children inherit them: the stubs close the first.
ALIVE_FD = 8
WORK_FD = 9

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_POLL_S = 0.2
_LOOK_FOR_NEW = 10  # polls; to look through the threads of tritonserver for stubs takes longer
DEAD, STOPPED = "Z", "T"  # states in /proc; "t" is one that a debugger holds
_SHARED_MEMORY = Path("/dev/shm")
# Triton counts its exit timeout from the signal and checks once a second.
_STOP_MARGIN_S = 5.0
_STILL_LOOKS = 4
_DEATH_S = 5.0  # for processes that were killed to be gone


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


def try_lock(work: Path) -> int | None:
    """Lock a work folder and return its descriptor; None if somebody uses it or it is not ours."""
    try:
        descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def is_used(work: Path) -> bool:
    """Return whether a process of the server with this work folder still runs."""
    if not work.is_dir():
        return False
    descriptor = try_lock(work)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def remove_traces(work: Path) -> None:
    """Remove the work folder and the shared-memory files of one server; missing ones are fine."""
    for path in _SHARED_MEMORY.glob(f"{work.name}*"):
        path.unlink(missing_ok=True)
    shutil.rmtree(work, ignore_errors=True)


def kill_family(group: int | None, work: Path) -> None:
    """Kill what is left of a tritonserver and its stubs, and wait until they are gone."""
    deadline = time.monotonic() + _DEATH_S
    # While the folder is in use, nobody else can have the number of the group.
    while group is not None and is_used(work) and time.monotonic() < deadline:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        time.sleep(0.01)


def main() -> None:
    """Read the job, run tritonserver, wait for the lifeline to end, clean up."""
    server: subprocess.Popen[bytes] | None = None
    told_to_end = False
    timeout_s = 0.0

    def kill_server(_signum: int, _frame: object) -> None:
        nonlocal told_to_end
        told_to_end = True
        if server is not None:
            server.kill()

    signal.signal(signal.SIGTERM, kill_server)
    signal.signal(signal.SIGINT, kill_server)
    # Stubs of the Python backend whose tritonserver died become children of this process.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    parent = os.getppid()

    lifeline = sys.stdin.fileno()
    os.set_blocking(sys.stdout.fileno(), False)
    job = _read_job(lifeline)
    work = Path(job["work"])
    try:
        _make_locked(work, job)
        server, gone = _launch(job)
        _report(f"{STARTED}{server.pid}")
        reported = False
        family = _Family(server.pid)
        # A forked child of the parent may hold the lifeline open, so look for the parent, too.
        while not told_to_end and os.getppid() == parent:
            if not reported and (ending := _ending(server, family)):
                # The parent may still want to read the log: stay until it lets go.
                _report(ending)
                reported = True
            watched = [lifeline] if reported else [lifeline, gone]
            readable, _, _ = select.select(watched, [], [], _POLL_S)
            if gone in readable:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.wait(_POLL_S)  # its files are closed a moment before it is dead
            if lifeline in readable:
                told = os.read(lifeline, 1)
                timeout_s = {
                    STOP: _STOP_MARGIN_S + job["exit_timeout_s"],
                    STOP_SOON: _STOP_MARGIN_S,
                    STOP_NOW: 0.0,
                }.get(told, 0.0)
                break
    except OSError as error:
        _report(f"{error.filename or 'tritonserver'}: {error.strerror}")
    finally:
        if server is not None:
            _stop(server, timeout_s)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
        _reap_orphans()
        remove_traces(work)


def _read_job(lifeline: int) -> dict[str, Any]:
    received = b""
    while not received.endswith(b"\n"):
        block = os.read(lifeline, 1)  # no more than the line: what tells the end may follow at once
        if not block:
            sys.exit(0)  # the parent died before it asked for anything
        received += block
    job: dict[str, Any] = json.loads(received)
    return job


def _make_locked(work: Path, job: dict[str, Any]) -> None:
    """Make the work folder under its own name only when it is locked as `WORK_FD`.

    Whoever looks for folders that nobody uses must not find one that is being made.
    """
    hidden = work.with_name(f".{work.name}")
    write_work_folder(hidden, job["copies"], job["links"], job["texts"])
    for name, edits in job["edits"].items():
        for old, new in edits:
            _edit(hidden / name, old.encode("latin-1"), new.encode("latin-1"))
    descriptor = os.open(hidden, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.dup2(descriptor, WORK_FD)
    os.close(descriptor)
    hidden.rename(work)


def _edit(path: Path, old: bytes, new: bytes) -> None:
    """Replace a piece of a file by another of its length, if it is there exactly once."""
    content = path.read_bytes()
    if content.count(old) == 1 and len(old) == len(new):
        path.write_bytes(content.replace(old, new))


def _launch(job: dict[str, Any]) -> tuple[subprocess.Popen[bytes], int]:
    """Start tritonserver in a process group of its own, which dies with it and with us.

    Returns:
        tritonserver, and a descriptor that can be read once it has ended.
    """
    libc = ctypes.CDLL(None)
    gone, alive = os.pipe()
    fcntl.fcntl(gone, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(gone, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    os.dup2(alive, ALIVE_FD)
    os.close(alive)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.setpgid(0, 0)
        fcntl.fcntl(gone, fcntl.F_SETOWN, -os.getpid())
        os.umask(0o077)  # shared memory holds frames, embeddings and distances

    try:
        with Path(job["log"]).open("ab") as log:
            server = subprocess.Popen(
                job["command"],
                env=job["environment"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=prepare,
                pass_fds=(gone, ALIVE_FD, WORK_FD),
            )
        return server, gone
    finally:
        os.close(ALIVE_FD)


class _Family:
    """Looks for members of tritonserver's family that are dead or stopped, unnoticed by it."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._stubs: set[int] = set()
        self._states: dict[int, State] = {}
        self._calls = itertools.count()

    def look(self) -> dict[int, State]:
        """Return the members whose state is that of the last look, too.

        What passes within a look is none of our business: Triton's own stubs are dead for a moment
        when it ends them, and whoever stops a whole family, us included, needs a moment for that.
        """
        if next(self._calls) % _LOOK_FOR_NEW == 0:
            self._stubs = set(_children(self._server))
        states = {pid: state for pid in (self._server, *self._stubs) if (state := state_of(pid))}
        before, self._states = self._states, states
        return {pid: state for pid, state in states.items() if before.get(pid) == state}


def _children(pid: int) -> Iterator[int]:
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            yield from map(int, path.read_text().split())


class State(NamedTuple):
    """What a process is called, and its state as a letter of /proc."""

    name: str
    letter: str


def state_of(pid: int) -> State | None:
    """Return the state of a process; None if there is none of that number."""
    try:
        # "PID (NAME) STATE ...", and a name may hold spaces and brackets
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")
    except OSError:
        return None
    return State(name.partition("(")[2], rest[0])


def _ending(server: subprocess.Popen[bytes], family: _Family) -> str | None:
    """Return how tritonserver ended, or that it is of no more use and was killed."""
    status = server.poll()
    if status is None:
        members = family.look()
        dead = [state.name for pid, state in members.items() if state.letter == DEAD]
        if not dead:
            for pid, state in members.items():
                if state.letter == STOPPED and continue_stopped(pid):
                    _report(f"{NOTED}{state.name} was stopped (SIGSTOP): continued it")
            return None
        server.kill()
        server.wait()
        return f"the process of a Python model ({dead[0]}) died, and tritonserver cannot replace it"
    if status < 0:
        return f"tritonserver was killed by {signal.Signals(-status).name}"
    return f"tritonserver ended with exit status {status}"


def continue_stopped(pid: int) -> bool:
    """Let a stopped process go on; return whether it was there."""
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return False
    return True


def _report(line: str) -> None:
    # A parent that never reads them must not hold us up.
    with contextlib.suppress(BrokenPipeError, BlockingIOError):
        os.write(sys.stdout.fileno(), f"{line}\n".encode())


def _stop(server: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Let tritonserver finish the requests it has; kill it when that takes too long."""
    if server.poll() is None and timeout_s:
        server.terminate()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGCONT)  # who is stopped hears nothing
        _wait_for_end(server, timeout_s)
    if server.poll() is None:
        server.kill()
        server.wait()


def _wait_for_end(server: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Wait until tritonserver has ended, or will not get further.

    When it has unloaded all models, and their stubs are gone, no answer can come any more. But
    Triton 2.51 then waits for clients that keep their streams open.
    """
    deadline = time.monotonic() + timeout_s
    still, before = 0, _ticks(server.pid)
    while server.poll() is None and still < _STILL_LOOKS and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        ticks = _ticks(server.pid)
        idle = ticks - before <= 1 and not any(_children(server.pid))
        still, before = still + 1 if idle else 0, ticks


def _ticks(pid: int) -> int:
    """Return the processor time that a process has used."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def _reap_orphans() -> None:
    """Kill what tritonserver left behind; as their reaper, this process has them as children."""
    deadline = time.monotonic() + _DEATH_S
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
