"""Many clips at once on one server: total throughput, fairness, and the time of a chunk.

1, 2, 4 and 8 clients score the same clip at the same time, each with a connection of its own, from
threads of one process so that start-up does not count. Full-size towers in the fastest precision.
Every clip must give the result of the quiet run.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.processes import BenchmarkError
from benchmarks.record import percentile, relative_error
from benchmarks.setup import FASTEST, FullSize, serve, write_clip
from syncnet_client import GrpcOptions, SyncNetClient
from syncnet_client.chunks import Chunk
from syncnet_client.closing import Closing
from syncnet_client.contract import FRAMES_PER_SECOND
from syncnet_client.transport.base import (
    ChunkAnswer,
    ChunkStream,
    Metrics,
    Scope,
    Transport,
    Weights,
)
from syncnet_client.transport.grpc import GrpcTransport

CLIENTS = (1, 2, 4, 8)
CLIP_S = 12
# Chunks of several clips may share a batch, in which sums are taken in another order.
DISTANCE_TOLERANCE = 1e-5


class _ClockedStream(Closing):
    """A `ChunkStream` that notes how long each chunk takes from sending to its answer."""

    def __init__(self, stream: ChunkStream, chunk_s: list[float]) -> None:
        self._stream = stream
        self._chunk_s = chunk_s
        self._sent: dict[tuple[int, int], float] = {}

    def send(self, chunk: Chunk) -> None:
        self._stream.send(chunk)
        self._sent[chunk.track, chunk.first_window] = time.perf_counter()

    def received(self) -> Sequence[ChunkAnswer]:
        return self._clock(self._stream.received())

    def finish(self) -> Sequence[ChunkAnswer]:
        return self._clock(self._stream.finish())

    def close(self) -> None:
        self._stream.close()

    def _clock(self, answers: Sequence[ChunkAnswer]) -> Sequence[ChunkAnswer]:
        now = time.perf_counter()
        self._chunk_s += [now - self._sent.pop((a.track, a.first_window)) for a in answers]
        return answers


class _ClockedTransport:
    """A `Transport` whose streams note the time of their chunks in `chunk_s`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.chunk_s: list[float] = []

    def check_ready(self) -> None:
        self._transport.check_ready()

    def model_versions(self, *, max_age_s: float = 0) -> dict[str, str]:
        return self._transport.model_versions(max_age_s=max_age_s)

    def open_stream(self) -> ChunkStream:
        return _ClockedStream(self._transport.open_stream(), self.chunk_s)

    def weights(self, version: str) -> Weights:
        return self._transport.weights(version)

    def measure(
        self, distances: Any, scope: Scope, *, tracks: Any = None, segment_windows: int = 0
    ) -> Metrics:
        return self._transport.measure(
            distances, scope, tracks=tracks, segment_windows=segment_windows
        )

    def close(self) -> None:
        self._transport.close()


def run(full_size: FullSize, folder: Path, *, rounds: int) -> dict[str, Any]:
    """Score with 1 to 8 clients at once, `rounds` clips each.

    Raises:
        BenchmarkError: a clip failed, or its result is not that of the quiet run.
    """
    clip = folder / "concurrent.mkv"
    write_clip(clip, CLIP_S * FRAMES_PER_SECOND, CLIP_S * 16_000)
    with serve(full_size, FASTEST) as server:
        with SyncNetClient(server.grpc_url) as client:
            quiet = client.score(clip)
        # The first full batch of chunks takes its memory; that is not counted.
        _at_once(server.grpc_url, clip, quiet, max(CLIENTS), 1)
        rows = [_at_once(server.grpc_url, clip, quiet, count, rounds) for count in CLIENTS]
    return {"precision": FASTEST, "clip_s": CLIP_S, "clips_per_client": rounds, "by_clients": rows}


def _at_once(url: str, clip: Path, quiet: Any, clients: int, rounds: int) -> dict[str, Any]:
    transports = [_ClockedTransport(GrpcTransport(url, GrpcOptions())) for _ in range(clients)]
    expected = quiet.speaker.mean_distances

    def score(transport: _ClockedTransport) -> float:
        started = time.perf_counter()
        with SyncNetClient(transport=transport) as client:
            for _ in range(rounds):
                actual = client.score(clip).speaker.mean_distances
                if relative_error(actual, expected) > DISTANCE_TOLERANCE:
                    raise BenchmarkError(f"{clients} clients at once change the result")
        return time.perf_counter() - started

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        seconds = list(pool.map(score, transports))
    wall_s = time.perf_counter() - started
    windows = clients * rounds * quiet.speaker.windows
    chunk_ms = [1000 * value for transport in transports for value in transport.chunk_s]
    return {
        "clients": clients,
        "clips": clients * rounds,
        "windows_per_s": windows / wall_s,
        # 1.0: all clients were done at the same time.
        "fairness": min(seconds) / max(seconds),
        "chunk_ms_p50": percentile(chunk_ms, 0.5),
        "chunk_ms_p99": percentile(chunk_ms, 0.99),
    }
