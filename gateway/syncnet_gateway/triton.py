"""Whether Triton can score now, and waiting until it can again."""

from __future__ import annotations

import asyncio
import time

from syncnet_client import SyncNetClient, SyncNetError
from syncnet_gateway.problems import ProblemError
from syncnet_gateway.settings import Settings

__all__ = ["Readiness"]

_KEEP_S = 1.0  # many probes at once ask Triton only once
_TIMEOUT_S = 3.0


class Readiness:
    """Asks Triton, and remembers for a moment what it said."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._checked = -_KEEP_S
        self._reason: str | None = None
        self._seen = False
        self._down_since = 0.0

    async def require(self) -> None:
        """Return if Triton can score.

        Raises:
            ProblemError: it cannot.
        """
        async with self._lock:
            if time.monotonic() - self._checked >= _KEEP_S:
                before, self._reason = self._reason, await self._ask()
                self._checked = time.monotonic()
                self._seen = self._seen or self._reason is None
                if before is None:
                    self._down_since = self._checked
        if self._reason is not None:
            raise ProblemError("server-unavailable", self._reason)

    async def wait(self) -> None:
        """Return when Triton can score; if it could before, wait until it can again.

        Raises:
            ProblemError: it never could, or has been away for longer than the client waits.
        """
        while True:
            try:
                await self.require()
                return
            except ProblemError:
                away_s = time.monotonic() - self._down_since
                if not self._seen or away_s >= self._settings.grpc.retry_timeout_s:
                    raise
            await asyncio.sleep(_KEEP_S)

    async def _ask(self) -> str | None:
        def ask() -> None:
            with SyncNetClient(self._settings.url, options=self._settings.grpc) as client:
                client.check_ready()

        try:
            await asyncio.wait_for(asyncio.to_thread(ask), _TIMEOUT_S)
        except TimeoutError:
            return f"Triton at {self._settings.url} does not answer"
        except SyncNetError as error:
            return " ".join(str(error).split())
        return None
