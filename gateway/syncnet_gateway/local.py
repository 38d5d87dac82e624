"""Triton on this machine, for as long as the gateway runs."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

from syncnet_client.errors import ServerUnavailableError

__all__ = ["local_triton"]


@contextlib.contextmanager
def local_triton() -> Iterator[str]:
    """Start Triton, restart it when it dies, and stop it at the end.

    When it has died too often, this process gets a SIGTERM, and the context ends with an error.

    Yields:
        HOST:PORT of its gRPC endpoint.

    Raises:
        ServerUnavailableError: it cannot start, or has died too often.
    """
    from syncnet_server import Server, ServingError
    from syncnet_server.restarts import kept_running

    server = Server()
    try:
        server.start()
    except ServingError as error:
        raise ServerUnavailableError(f"Triton cannot start: {error}") from error
    try:
        with kept_running(server, gave_up=lambda: os.kill(os.getpid(), signal.SIGTERM)):
            yield server.grpc_url
    except ServingError as error:
        raise ServerUnavailableError(str(error)) from error
