"""Find a tritonserver that holds requests and does nothing, for ever.

Triton 24.10 may stay like this after the process of a Python model has stood still for some
seconds, as on a paused or starved machine: the model's queue grows, health says ready, nobody
works.
"""

from __future__ import annotations

import http.client
import os
import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

__all__ = ["Watchdog", "busy_s", "queue"]

_EVERY_S = 2.0
_STILL_S = 10.0
_IDLE_SHARE = 0.05  # of a processor; what waiting threads and questions about metrics take
_COUNTED = re.compile(
    r"^nv_inference_(pending_request_count|request_success)\{.*\} (\S+)$",
    re.MULTILINE,
)
_TICKS = os.sysconf("SC_CLK_TCK")


def queue(metrics_url: str) -> tuple[float, float] | None:
    """Return how many requests wait and how many succeeded; None if nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{metrics_url}/metrics", timeout=2) as answer:
            text = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return None
    counts = [(name, float(value)) for name, value in _COUNTED.findall(text)]
    waiting = sum(value for name, value in counts if name == "pending_request_count")
    return waiting, sum(value for _, value in counts) - waiting


def busy_s(group: int) -> float:
    """Return the processor time that the processes of a group have used, in seconds."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(") ")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[2]) == group:
            total += int(fields[11]) + int(fields[12])
    return total / _TICKS


class Watchdog:
    """Looks at a server now and then; see `is_stuck`.

    Args:
        queue: how many requests wait and how many succeeded; None if that is not known.
        busy_s: processor time that the server has used so far.
    """

    def __init__(
        self,
        queue: Callable[[], tuple[float, float] | None],
        busy_s: Callable[[], float],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._busy_s = busy_s
        self._clock = clock
        self._looked = clock()
        self._since: float | None = None  # nothing has been done
        self._done = 0.0
        self._busy = 0.0

    def is_stuck(self) -> bool:
        """Whether requests have waited for 10 s in which none succeeded and nobody worked."""
        now = self._clock()
        if now - self._looked < _EVERY_S:
            return False
        self._looked = now
        state = self._queue()
        if state is None or state[0] == 0 or state[1] != self._done:
            self._since = None
            self._done = state[1] if state else self._done
            return False
        busy = self._busy_s()
        if self._since is None or busy - self._busy > _IDLE_SHARE * (now - self._since):
            self._since, self._busy = now, busy
            return False
        return now - self._since >= _STILL_S
