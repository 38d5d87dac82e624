"""`python -m benchmarks.restart`: how long until a tritonserver that was killed answers again.

Each round starts a server, kills its tritonserver (SIGKILL) once every model has been loaded, and
starts it again at once, as `syncnet-server` does for the first time in 10 s.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.record import RESULTS, summary, write
from syncnet_server import Server

BUSY = (0, 4)  # processes that use a core each


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure with and without other load, and write the JSON; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.restart",
        description="Kill tritonserver, start it again, and time it. Nothing else should run.",
    )
    parser.add_argument("--rounds", type=int, default=10, help="for each load (%(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder (%(default)s)")
    options = parser.parse_args(arguments)
    rows = []
    for busy in BUSY:
        with busy_processes(busy):
            rows.append({"busy_processes": busy, **run(Server(), options.rounds)})
        print(rows[-1])
    print(write("restart", f"python -m benchmarks.restart --rounds {options.rounds}",
                {"rows": rows}, options.results))  # fmt: skip
    return 0


def run(server: Server, rounds: int) -> dict[str, Any]:
    """Return summaries of three times, in seconds.

    Args:
        server: is started and stopped in each round.
        rounds: how often.

    Returns:
        `start_s`: from the call until every model is ready; `noticed_s`: from the kill until it is
        known; `restart_s`: from the kill until every model is ready.
    """
    starts, noticed, restarts = [], [], []
    for _ in range(rounds):
        before = time.monotonic()
        with server:
            starts.append(time.monotonic() - before)
            killed = time.monotonic()
            _tritonserver().kill()
            server.wait()
            noticed.append(time.monotonic() - killed)
            server.restart()
            restarts.append(time.monotonic() - killed)
    return {
        "start_s": summary(starts),
        "noticed_s": summary(noticed),
        "restart_s": summary(restarts),
    }


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Let so many processes use a core each while the context lasts."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def _tritonserver() -> psutil.Process:
    """The one that this process has started last."""
    family = psutil.Process().children(recursive=True)
    return max(
        (process for process in family if process.name() == "tritonserver"),
        key=lambda process: process.create_time(),
    )


if __name__ == "__main__":
    sys.exit(main())
