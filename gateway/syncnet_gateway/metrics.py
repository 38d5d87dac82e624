"""What Prometheus can ask a gateway."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from syncnet_gateway.jobs import State

__all__ = ["Metrics"]

_JOB_SECONDS = (0.5, 1, 2, 5, 10, 20, 60, 120, 300, 900)


class Metrics:
    """The metrics of one gateway.

    Attributes:
        registry: all of them.
        finished: jobs, by kind and by outcome: ``done``, or the name of a problem.
        refused: uploads that met a gateway without a free place.
        seconds: time in work, by kind.
        received: bytes of uploads.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.finished = Counter(
            "syncnet_gateway_jobs_finished",
            "Jobs that have an outcome.",
            ["kind", "outcome"],
            registry=self.registry,
        )
        self.refused = Counter(
            "syncnet_gateway_uploads_refused",
            "Uploads that were refused because all places were taken.",
            registry=self.registry,
        )
        self.seconds = Histogram(
            "syncnet_gateway_job_seconds",
            "Time that clips were in work.",
            ["kind"],
            buckets=_JOB_SECONDS,
            registry=self.registry,
        )
        self.received = Counter(
            "syncnet_gateway_received_bytes",
            "Bytes of complete uploads.",
            registry=self.registry,
        )
        self._jobs = Gauge(
            "syncnet_gateway_jobs",
            "Jobs by where they are.",
            ["state"],
            registry=self.registry,
        )

    def watch_jobs(self, count: Callable[[State], int]) -> None:
        """Ask ``count`` for the number of jobs in each state."""
        from syncnet_gateway.jobs import State

        for state in (State.UPLOADING, State.WAITING, State.RUNNING):
            self._jobs.labels(state.value).set_function(functools.partial(count, state))
