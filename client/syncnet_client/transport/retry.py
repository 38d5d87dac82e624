"""Which failures of a request pass, and how long to wait before the next attempt."""

from __future__ import annotations

import enum
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from syncnet_client.errors import InferenceError, ServerUnavailableError

__all__ = ["Backoff", "Doubt", "Failure", "Kind"]

FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 5.0  # a server that has come back is noticed within this time

# Proxies end streams with these codes. But a request that a model cannot stand fails in the same
# way each time.
DOUBTFUL_ATTEMPTS = 3


class Kind(enum.Enum):
    """What a failure means for the request."""

    PASSING = "the server is away or overloaded: the same request will be answered later"
    DOUBTFUL = "may pass or not: worth a few attempts"
    PERMANENT = "the request itself is refused: it would be refused again"


_KINDS = {
    "UNAVAILABLE": Kind.PASSING,  # also: stopping, queue full, model being loaded
    "DEADLINE_EXCEEDED": Kind.PASSING,
    "CANCELLED": Kind.PASSING,  # by the other side; nothing here cancels and then waits
    "ABORTED": Kind.PASSING,
    "INTERNAL": Kind.DOUBTFUL,
    "UNKNOWN": Kind.DOUBTFUL,
    "RESOURCE_EXHAUSTED": Kind.DOUBTFUL,
}

# What Triton says of faults of the server; with the code INTERNAL: the process of a Python model
# has died, which `syncnet-server` mends by a restart, or /dev/shm is full. With NOT_FOUND: it has
# unloaded a model because it stops.
_DEAD_MODEL = "is not healthy"
_SERVER_FAULTS = (
    "shared memory pool size",
    "No space left on device",
    "has no available versions",
)


@dataclass(frozen=True)
class Failure:
    """Why a request has no answer: the name of a gRPC status code and the server's sentence."""

    code: str
    sentence: str
    cause: Exception | None = None

    @classmethod
    def of_rpc(cls, error: grpc.RpcError) -> Failure:
        """What a gRPC call ended with."""
        return cls(error.code().name, error.details() or str(error), error)

    @property
    def kind(self) -> Kind:
        """Whether another attempt makes sense."""
        if self.is_dead_model or any(words in self.sentence for words in _SERVER_FAULTS):
            return Kind.PASSING
        return _KINDS.get(self.code, Kind.PERMANENT)

    @property
    def is_dead_model(self) -> bool:
        """Whether the process of a Python model has died."""
        return _DEAD_MODEL in self.sentence


class Doubt:
    """Counts how often a request has failed in a way that may be the request's own fault.

    A model's process that died is the server's fault, as long as the same death goes on. A request
    that meets a death after each restart may be what the model dies of.
    """

    def __init__(self) -> None:
        self.count = 0
        self._dead = False

    def note(self, failure: Failure) -> None:
        """Take note of a failure of the request."""
        new_death = failure.is_dead_model and not self._dead
        self._dead = failure.is_dead_model
        self.count += new_death or failure.kind is Kind.DOUBTFUL


class Backoff:
    """Decides after every failure between waiting for the next attempt and giving up.

    Delays double from 0.25 s to 5 s and are spread at random by half, so that many clients do
    not come back at the same moment.

    Args:
        retry_timeout_s: how long passing failures may go on with no answer in between.
        server: name of the server for the errors.
    """

    def __init__(
        self,
        retry_timeout_s: float,
        server: str,
        *,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._retry_timeout_s = retry_timeout_s
        self._server = server
        self._sleep = sleep
        self._clock = clock
        self._failures = 0  # since the last answer
        self._since = 0.0

    def answered(self) -> None:
        """Note that the server works."""
        self._failures = 0

    def wait(self, failure: Failure, doubt: int) -> None:
        """Wait before the next attempt.

        Args:
            failure: why the last attempt failed.
            doubt: how often the request has failed doubtfully, this time included (`Doubt`).

        Raises:
            InferenceError: another attempt would fail in the same way.
            ServerUnavailableError: no answer has come for `retry_timeout_s`.
        """
        if failure.kind is Kind.PERMANENT or doubt >= DOUBTFUL_ATTEMPTS:
            raise InferenceError(f"server {self._server}: {failure.sentence}") from failure.cause
        now = self._clock()
        if self._failures == 0:
            self._since = now
        longest = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2**self._failures)
        delay = longest * random.uniform(0.5, 1.0)
        self._failures += 1
        if now + delay - self._since > self._retry_timeout_s:
            raise ServerUnavailableError(
                f"server {self._server} has not answered for {now - self._since:.0f} s: "
                f"{failure.sentence}"
            ) from failure.cause
        self._sleep(delay)
