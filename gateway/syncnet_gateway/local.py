"""Triton on this machine, for as long as the gateway runs."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from syncnet_client.errors import ServerUnavailableError

if TYPE_CHECKING:
    from syncnet_server import Server

__all__ = ["local_triton"]

_POLL_S = 0.2


class _StoppedError(Exception):
    """Ends the thread that watches Triton."""


@contextlib.contextmanager
def local_triton() -> Iterator[str]:
    """Start Triton, bring it back when it dies, and stop it at the end.

    When it has died too often, this process gets a SIGTERM, and the context ends with an error.

    Yields:
        HOST:PORT of its gRPC endpoint.

    Raises:
        ServerUnavailableError: it cannot start, or has died too often.
    """
    from syncnet_server import Server, ServingError
    from syncnet_server.restarts import RestartPolicy, keep_running

    stopped = threading.Event()
    failures: list[str] = []

    def follow(server: Server) -> str:
        while not stopped.is_set():
            if (ending := server.wait(_POLL_S)) is not None:
                return ending
        raise _StoppedError

    def keep() -> None:
        try:
            keep_running(server, RestartPolicy(), follow, sleep=stopped.wait)
        except _StoppedError:
            pass
        except ServingError as error:
            failures.append(str(error))
            os.kill(os.getpid(), signal.SIGTERM)

    server = Server()
    try:
        server.start()
    except ServingError as error:
        raise ServerUnavailableError(f"Triton cannot start: {error}") from error
    keeper = threading.Thread(target=keep, name="triton-keeper")
    keeper.start()
    try:
        yield server.grpc_url
    finally:
        stopped.set()
        keeper.join()
        server.stop()
        if failures:
            raise ServerUnavailableError(failures[0])
