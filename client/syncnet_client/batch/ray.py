"""Many clips on many machines: Ray spreads them, every machine asks the same Triton server.

The list of clips becomes a Ray dataset; actors, a core each, decode and crop and ask the server,
one clip at a time with a few chunks in flight. So the server never has more to do than the actors
can send it, and where it is too slow the actors wait. Records come back to this process,
which alone writes them, each once: a worker or a machine that dies has its clips scored again by
another, and what it had not handed over was never written.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from syncnet_client.batch.threads import Tally, attempt
from syncnet_client.client import SyncNetClient
from syncnet_client.errors import ModelNotReadyError, ServerUnavailableError, SyncNetError
from syncnet_client.extras import require
from syncnet_client.records.record import Record
from syncnet_client.scoring.options import ScoreOptions
from syncnet_client.scoring.result import SyncResult
from syncnet_client.transport.grpc import GrpcOptions

__all__ = ["score_clips_on_ray"]

# A block is the unit of work: what a dying worker loses. The scheduler slows down with very many.
MOST_BLOCKS = 10_000
CONNECT_TIMEOUT_S = 10.0

# Errors that say nothing about a clip and end everything. They come back as values, since Ray
# would turn what is raised into errors of its own.
GONE: dict[str, type[SyncNetError]] = {
    error.__name__: error for error in (ServerUnavailableError, ModelNotReadyError)
}


class ScoreActor:
    """Scores clips in a process of its own; made and called by Ray."""

    def __init__(self, url: str, options: GrpcOptions, how: ScoreOptions) -> None:
        self._client = SyncNetClient(url, options=options)
        self._how = how

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        """The record of a clip as JSON, as results differ too much in shape for a table."""
        clip = row["clip"]
        try:
            record = attempt(
                clip, lambda: self._client.score(clip, name=clip, **self._how.keywords())
            )
        except tuple(GONE.values()) as error:
            return {"record": "", "gone": type(error).__name__, "error": str(error)}
        return {"record": record.to_json(), "gone": "", "error": ""}

    def _score(self, clip: str) -> SyncResult:
        return self._client.score(clip, name=clip, **self._how.keywords())


def score_clips_on_ray(
    clips: Collection[str],
    emit: Callable[[Record], None],
    *,
    url: str,
    options: GrpcOptions,
    how: ScoreOptions,
    address: str | None = None,
    jobs: int | None = None,
    done: Collection[str] = (),
    on_start: Callable[[Tally], None] | None = None,
) -> Tally:
    """Score clips on a Ray cluster.

    Args:
        clips: names of the clips: paths that every machine sees, or URLs.
        emit: takes each record as soon as there is one.
        url: HOST:PORT of the server, as seen from the machines of the cluster.
        options: how to connect to it.
        how: how to score.
        address: of the cluster's head, or ``auto``; without one Ray is started on this machine.
        jobs: actors at most; as many as the cluster has cores when not given.
        done: clips to leave out.
        on_start: gets the tally, which is kept up to date from then on.

    Returns:
        The tally at the end.

    Raises:
        ServerUnavailableError, ModelNotReadyError: the server is gone.
        SyncNetError: Ray is not installed, cannot be reached, or gives up.
    """
    waiting = [clip for clip in clips if clip not in done]
    tally = Tally(len(waiting), skipped=len(clips) - len(waiting))
    if on_start is not None:
        on_start(tally)
    if not waiting:
        return tally
    with _connected(address) as ray:
        seen: set[str] = set()
        for record in _records(ray, waiting, (url, options, how), jobs):
            if record.clip in seen:
                continue
            seen.add(record.clip)
            emit(record)
            tally.add_record(record)
            tally.add_frames(record.result["frames"] if record.result else 0)
    return tally


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Ray, connected; disconnected at the end, or stopped if it was started here."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # Ray tells of tasks that are tried again on this process's stdout, in the middle of records.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    ray = require("ray", extra="ray")
    require("ray.data", extra="ray")
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what matters is raised
    if address is not None:
        _check_reachable(address)
    try:
        ray.init(address, include_dashboard=None if address else False, log_to_driver=False,
                 logging_level="ERROR")  # fmt: skip
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SyncNetError(f"Ray at {address or 'this machine'}: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Fail within seconds where Ray would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdecimal()):
        return  # such as "auto", which Ray resolves
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise SyncNetError(
            f"no Ray cluster answers at {address}: {error.strerror or error}"
        ) from error


def _records(
    ray: Any, clips: list[str], actor: tuple[Any, ...], jobs: int | None
) -> Iterator[Record]:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    cores = int(ray.cluster_resources().get("CPU", 1))
    actors = max(1, min(jobs or cores, len(clips)))
    dataset = ray.data.from_items(
        [{"clip": clip} for clip in clips], override_num_blocks=min(len(clips), MOST_BLOCKS)
    ).map(
        ScoreActor,
        fn_constructor_args=actor,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors),
        num_cpus=1,
    )
    try:
        for row in dataset.iter_rows():
            if row["gone"]:
                raise GONE[row["gone"]](row["error"])
            yield Record.from_json(row["record"])
    except ray.exceptions.RayError as error:
        raise SyncNetError(f"Ray gave up: {error}") from error
