"""Ctrl-C while a program is still being imported, which takes half a second."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

__all__ = ["STOPPED", "starting"]

STOPPED = 130  # as shells give for a process that SIGINT ended


@contextlib.contextmanager
def starting(program: str) -> Iterator[None]:
    """Let Ctrl-C in the block end the program with its line and status, unless SIGINT is ignored.

    No exception is raised: in the middle of an import it could arrive as another one.

    Args:
        program: as the user has typed it.
    """

    def stop(_signum: int, _frame: FrameType | None) -> None:
        if not _is_worker():
            os.write(sys.stderr.fileno(), f"{program}: stopped\n".encode())
        os._exit(STOPPED)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, stop)
    yield
    signal.signal(signal.SIGINT, before)


def _is_worker() -> bool:
    """Whether a process of the program has started this one, which imports the program again."""
    processes = sys.modules.get("multiprocessing.process")
    return processes is not None and processes.parent_process() is not None
