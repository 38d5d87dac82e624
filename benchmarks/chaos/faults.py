"""What is done to a site, by kind of fault."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil

from benchmarks.chaos.hostile import cancel_streams, hostile_grpc, hostile_http
from benchmarks.chaos.sites import Replica, Site, wait_until

__all__ = ["FAULTS", "FILLING"]

_PAUSE_S = 10.0  # unless its server lets the process go on
_END_S = 30.0
_FULL_S = 3.0
_LEFT_BYTES = 64 << 10

Fault = Callable[[Site, random.Random], None]


def _kill(kind: str) -> Fault:
    def fault(site: Site, source: random.Random) -> None:
        victims = source.choice(site.replicas).family(kind)
        if victims:
            victim = source.choice(victims)
            _signal(victim, signal.SIGKILL)
            _wait_for_end(victim)

    return fault


def _pause(kind: str) -> Fault:
    def fault(site: Site, source: random.Random) -> None:
        victims = source.choice(site.replicas).family(kind)
        if victims:
            victim = source.choice(victims)
            _signal(victim, signal.SIGSTOP)
            if not wait_until(lambda: not _is_stopped(victim), _PAUSE_S):
                _signal(victim, signal.SIGCONT)

    return fault


def _is_stopped(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def _stop_in_order(site: Site, source: random.Random) -> None:
    replica: Replica = source.choice(site.replicas)
    for server in replica.family("server"):
        _signal(server, signal.SIGTERM)
        _wait_for_end(server)


def _signal_client(signum: signal.Signals) -> Fault:
    def fault(site: Site, _source: random.Random) -> None:
        assert site.client is not None
        process = site.client.process
        if process is not None and process.poll() is None:
            process.send_signal(signum)

    return fault


def _cancel(site: Site, source: random.Random) -> None:
    cancel_streams(site.url, source.randrange(2**32))


def _hostile_http(site: Site, source: random.Random) -> None:
    hostile_http(source.choice(site.replicas).http_url, source.randrange(2**32))


def _hostile_grpc(site: Site, source: random.Random) -> None:
    hostile_grpc(site.url, source.randrange(2**32))


def _full(folder: Path) -> Fault:
    def fault(site: Site, _source: random.Random) -> None:
        filler = folder / f"chaos-{site.name}"
        with _held(site):
            try:
                with contextlib.suppress(OSError), filler.open("wb") as file:
                    free = shutil.disk_usage(folder).free
                    os.posix_fallocate(file.fileno(), 0, max(1, free - _LEFT_BYTES))
                time.sleep(_FULL_S)
            finally:
                filler.unlink(missing_ok=True)

    return fault


@contextlib.contextmanager
def _held(site: Site) -> Iterator[None]:
    start = time.monotonic()
    try:
        yield
    finally:
        site.paused.append((start, time.monotonic()))


def _wait_for_end(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):
        process.wait(_END_S)


def _signal(process: psutil.Process, signum: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signum)


FAULTS: Mapping[str, Fault] = {
    "kill tritonserver": _kill("tritonserver"),
    "kill stub": _kill("stub"),
    "kill guardian": _kill("guardian"),
    "kill server": _kill("server"),
    "stop server in order": _stop_in_order,
    "kill client": _signal_client(signal.SIGKILL),
    "interrupt client": _signal_client(signal.SIGINT),
    "pause tritonserver": _pause("tritonserver"),
    "pause stub": _pause("stub"),
    "cancel streams": _cancel,
    "hostile HTTP": _hostile_http,
    "hostile gRPC": _hostile_grpc,
    "full shared memory": _full(Path("/dev/shm")),
    "full disk": _full(Path(tempfile.gettempdir())),
}

# These fill folders that others use, too: only for a program with folders of its own.
FILLING = frozenset({"full shared memory", "full disk"})
