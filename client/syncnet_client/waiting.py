"""Waits that Ctrl-C ends at once, and nothing but them.

An exception that a signal raises anywhere can leave a lock taken for ever: gRPC, for one, waits for
its own locks in Python. And a signal that comes just before the main thread begins to wait for a
lock is not seen until that wait is over. So the commands let a signal only be noted, and every wait
is made of short ones, between which the note is looked at.
"""

from __future__ import annotations

import contextlib
import enum
import math
import queue
import signal
import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from types import FrameType
from typing import TypeVar

__all__ = [
    "POLL_S",
    "check_interrupt",
    "first_completed",
    "get",
    "interrupts_between_waits",
    "interrupts_for_parent",
    "pause",
]

POLL_S = 0.1

T = TypeVar("T")


class _Interrupt(enum.Enum):
    NONE = enum.auto()
    NOTED = enum.auto()
    RAISED = enum.auto()


_interrupt = _Interrupt.NONE


@contextlib.contextmanager
def interrupts_between_waits() -> Iterator[None]:
    """Let Ctrl-C raise ``KeyboardInterrupt`` in the waits of this module only.

    A second Ctrl-C is raised where it comes. Has no effect outside of the main thread, and where
    SIGINT is ignored.
    """
    global _interrupt
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, _note)
    try:
        yield
        check_interrupt()
    finally:
        _interrupt = _Interrupt.NONE
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def interrupts_for_parent() -> Iterator[None]:
    """Let processes that are started in the block ignore Ctrl-C: this one decides what it means.

    A terminal sends it to all of them. Has no effect outside of the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def check_interrupt() -> None:
    """Raise the interrupt that was noted, in the main thread."""
    global _interrupt
    if _interrupt is _Interrupt.NOTED and threading.current_thread() is threading.main_thread():
        _interrupt = _Interrupt.RAISED
        raise KeyboardInterrupt


def get(source: queue.Queue[T] | queue.SimpleQueue[T], timeout_s: float = math.inf) -> T:
    """Take the next item of a queue.

    Raises:
        queue.Empty: there was none for ``timeout_s``.
    """
    end = time.monotonic() + timeout_s
    while (left := end - time.monotonic()) > 0:
        check_interrupt()
        with contextlib.suppress(queue.Empty):
            return source.get(timeout=min(POLL_S, left))
    return source.get_nowait()


def first_completed(futures: Collection[Future[T]]) -> tuple[set[Future[T]], set[Future[T]]]:
    """Wait until one of the futures is done; return those that are, and those that are not."""
    while True:
        check_interrupt()
        done, running = wait(futures, timeout=POLL_S, return_when=FIRST_COMPLETED)
        if done:
            return done, running


def pause(seconds: float, until: threading.Event) -> None:
    """Wait for a time, or until something has happened."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not until.is_set():
        check_interrupt()
        until.wait(min(POLL_S, left))


def _note(_signal: int, _frame: FrameType | None) -> None:
    global _interrupt
    if _interrupt is not _Interrupt.NONE:
        raise KeyboardInterrupt
    _interrupt = _Interrupt.NOTED
