"""Runs the application on a socket until it is told to stop."""

from __future__ import annotations

import asyncio
import socket
from types import FrameType

import uvicorn

from syncnet_gateway.app import create_app
from syncnet_gateway.jobs import Jobs
from syncnet_gateway.settings import Settings
from syncnet_programs.terminal import note

__all__ = ["run"]

_MOST_CONNECTIONS = 512  # a process may have 1024 files and sockets open
_LAST_ANSWERS_S = 5.0  # for telling callers that their jobs were ended


class _HttpServer(uvicorn.Server):
    """Ends jobs when it is told to stop: their callers keep connections open until then."""

    def __init__(self, config: uvicorn.Config, jobs: Jobs, exit_timeout_s: float) -> None:
        super().__init__(config)
        self._jobs = jobs
        self._exit_timeout_s = exit_timeout_s
        self._stopping: asyncio.Future[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(self._stop_jobs)
        super().handle_exit(sig, frame)

    def _stop_jobs(self) -> None:
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._jobs.stop(self._exit_timeout_s))


def run(settings: Settings, listener: socket.socket, exit_timeout_s: float) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        settings: of the gateway.
        listener: a socket that listens.
        exit_timeout_s: how long jobs may go on after the signal; a second one ends them at once.

    Raises:
        KeyboardInterrupt: it was stopped.
    """
    application = create_app(settings)
    config = uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=int(exit_timeout_s + _LAST_ANSWERS_S),
    )
    host, port = listener.getsockname()[:2]
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    note(f"serving on http://{place}, Triton at {settings.url}; Ctrl-C stops")
    _HttpServer(config, application.state.jobs, exit_timeout_s).run(sockets=[listener])
