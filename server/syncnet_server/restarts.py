"""When to start a tritonserver again that has ended by itself, and when to give up."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from syncnet_server.errors import ServingError
from syncnet_server.log import say
from syncnet_server.server import Server

__all__ = ["RestartPolicy", "Restarts", "keep_running", "kept_running", "watch"]

_STEADY_S = 10.0  # who has run for so long may start again at once
_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 30.0
_POLL_S = 0.5


@dataclass(frozen=True)
class RestartPolicy:
    """How often tritonserver is started again.

    Attributes:
        most: so many times in `window_s`; the next end is final. 0: never.
        window_s: the time that counts, in seconds.
    """

    most: int = 20
    window_s: float = 600.0


_POLICY = RestartPolicy()


class Restarts:
    """Counts restarts and chooses the delay before each.

    The first comes at once. Those of a server that ends within 10 s of its start wait, from 0.5 s
    on and twice as long each time, up to 30 s.
    """

    def __init__(
        self, policy: RestartPolicy, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._times: deque[float] = deque()
        self._started = clock()
        self._quick = 0

    def started(self) -> None:
        """Note that the server is ready."""
        self._started = self._clock()

    def next_delay_s(self) -> float | None:
        """Return how long to wait before the next start; None when there were too many."""
        now = self._clock()
        while self._times and now - self._times[0] >= self._policy.window_s:
            self._times.popleft()
        if len(self._times) >= self._policy.most:
            return None
        self._times.append(now)
        self._quick = 0 if now - self._started >= _STEADY_S else self._quick + 1
        return (
            min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** (self._quick - 2))
            if self._quick > 1
            else 0.0
        )


def watch(server: Server, meanwhile: Callable[[], object]) -> str:
    """Look after a tritonserver until it ends by itself; return how, in words.

    Args:
        server: it runs.
        meanwhile: is called every half a second, and once when it has ended.
    """
    ending = None
    while ending is None:
        ending = server.wait(_POLL_S)
        for note in server.look_after():
            say(note)
        meanwhile()
    return ending


def keep_running(
    server: Server,
    policy: RestartPolicy,
    follow: Callable[[Server], str],
    *,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Start tritonserver again whenever it ends, until there were too many ends.

    Args:
        server: it has been started once.
        policy: how many ends in how long are too many.
        follow: returns when tritonserver has ended by itself, with how in words; see `watch`.
        sleep: waits before the next start.

    Raises:
        ServingError: it has ended once too often.
    """
    restarts = Restarts(policy)
    ending = follow(server)
    while (delay_s := restarts.next_delay_s()) is not None:
        say(f"{ending}; starting it again" + (f" in {delay_s:g} s" if delay_s else ""))
        sleep(delay_s)
        began = time.monotonic()
        try:
            server.restart()
        except ServingError as error:
            ending = str(error)
            continue
        restarts.started()
        say(f"serving again after {time.monotonic() - began:.1f} s (restart {server.restarts})")
        ending = follow(server)
    if policy.most:
        ending += f"; that was once more than {policy.most} times in {policy.window_s:g} s"
    raise ServingError(ending)


class _StoppedError(Exception):
    """Ends the thread that keeps a server running."""


@contextmanager
def kept_running(
    server: Server, *, policy: RestartPolicy = _POLICY, gave_up: Callable[[], object]
) -> Iterator[None]:
    """Start tritonserver again whenever it ends, from a thread; stop it at the end of the context.

    Args:
        server: it has been started.
        policy: how many ends in how long are too many.
        gave_up: is called in that thread when it has ended once too often, and should end the
            context.

    Raises:
        ServingError: at the end, when it has ended once too often.
    """
    stopped = threading.Event()
    failures: list[ServingError] = []

    def check() -> None:
        if stopped.is_set():
            raise _StoppedError

    def keep() -> None:
        try:
            keep_running(server, policy, lambda running: watch(running, check), sleep=stopped.wait)
        except _StoppedError:
            pass
        except ServingError as error:
            failures.append(error)
            gave_up()

    # A daemon, so that a second Ctrl-C while it starts tritonserver ends this process; then the
    # guardian cleans up.
    keeper = threading.Thread(target=keep, name="triton-keeper", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stopped.set()
        keeper.join()
        server.stop()
        if failures:
            raise failures[0]
