"""Waits that Ctrl-C ends at once.

A signal that comes just before the main thread begins to wait for a lock is not seen until the wait
is over. So one wait is made of many short ones.
"""

from __future__ import annotations

import contextlib
import math
import queue
import time
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TypeVar

__all__ = ["first_completed", "get"]

POLL_S = 0.2

T = TypeVar("T")


def get(source: queue.Queue[T] | queue.SimpleQueue[T], timeout_s: float = math.inf) -> T:
    """Take the next item of a queue.

    Raises:
        queue.Empty: there was none for ``timeout_s``.
    """
    end = time.monotonic() + timeout_s
    while (left := end - time.monotonic()) > 0:
        with contextlib.suppress(queue.Empty):
            return source.get(timeout=min(POLL_S, left))
    return source.get_nowait()


def first_completed(futures: Collection[Future[T]]) -> tuple[set[Future[T]], set[Future[T]]]:
    """Wait until one of the futures is done; return those that are, and those that are not."""
    while True:
        done, running = wait(futures, timeout=POLL_S, return_when=FIRST_COMPLETED)
        if done:
            return done, running
