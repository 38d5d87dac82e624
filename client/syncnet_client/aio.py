"""The client for asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from typing_extensions import Unpack

from syncnet_client.client import Source, SyncNetClient
from syncnet_client.defaults import DEFAULT_JOBS, DEFAULT_URL
from syncnet_client.scoring.clip import Progress
from syncnet_client.scoring.options import ScoreKeywords
from syncnet_client.scoring.result import SyncResult
from syncnet_client.transport.base import Transport
from syncnet_client.transport.grpc import GrpcOptions

__all__ = ["AsyncSyncNetClient"]


class _CancelledError(Exception):
    """Ends the thread of a clip whose task was cancelled."""


class AsyncSyncNetClient:
    """``SyncNetClient`` with an awaitable ``score``.

    Decoding and finding faces keep a processor busy and would stop the event loop, so every clip
    has a thread of its own; further clips wait until one is free.

    Example:
        async with AsyncSyncNetClient("localhost:8001") as client:
            results = await asyncio.gather(client.score("a.mp4"), client.score("b.mp4"))

    Args:
        url, options, transport: as of ``SyncNetClient``.
        jobs: clips scored at the same time.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        options: GrpcOptions | None = None,
        transport: Transport | None = None,
        jobs: int = DEFAULT_JOBS,
    ) -> None:
        self._client = SyncNetClient(url, options=options, transport=transport)
        self._threads = ThreadPoolExecutor(jobs, thread_name_prefix="syncnet-score")

    async def __aenter__(self) -> AsyncSyncNetClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Wait for the clips in progress and close the connection."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._client.close()

    async def score(
        self,
        source: Source,
        *,
        name: str | None = None,
        progress: Callable[[Progress], None] | None = None,
        **options: Unpack[ScoreKeywords],
    ) -> SyncResult:
        """As ``SyncNetClient.score``; ``progress`` is called in the event loop.

        When the task is cancelled, scoring ends within a block of frames.
        """
        loop = asyncio.get_running_loop()
        cancelled = threading.Event()

        def report(state: Progress) -> None:
            if cancelled.is_set():
                raise _CancelledError
            if progress is not None:
                loop.call_soon_threadsafe(progress, state)

        def work() -> SyncResult:
            return self._client.score(source, name=name, progress=report, **options)

        try:
            return await loop.run_in_executor(self._threads, work)
        finally:
            cancelled.set()
