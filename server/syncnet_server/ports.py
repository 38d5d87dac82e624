"""The addresses that a server listens on: names resolved, ports checked, free ones chosen."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from syncnet_server.errors import ServingError
from syncnet_server.log import say
from syncnet_server.traces import ending_servers

__all__ = ["fill_ports", "resolve"]

_LARGEST = 65_535
_WAIT_S = 40.0  # longer than an orderly end takes
_POLL_S = 0.1


def resolve(host: str) -> str:
    """Return the IPv4 address of a host.

    Raises:
        ServingError: it has none.
    """
    try:
        return socket.gethostbyname(host)
    except OSError as error:
        raise ServingError(f"cannot listen on {host}: {error.strerror}") from error


def fill_ports(hosts: Sequence[str], ports: Sequence[int | None]) -> list[int]:
    """Check that each port is free, and replace the missing ones by free ones.

    All are held at once, so that no two are equal. While an earlier server whose parent is gone
    still ends, a port that is taken is waited for.

    Raises:
        ServingError: a port is taken, or not for this process, or none at all.
    """
    for port in ports:
        if port is not None and not 0 < port <= _LARGEST:
            raise ServingError(f"a port is a number from 1 to {_LARGEST}, not {port}")
    deadline = time.monotonic() + _WAIT_S
    told = False
    while isinstance(held := _held(hosts, ports), ServingError):
        if not ending_servers(Path(tempfile.gettempdir())) or time.monotonic() > deadline:
            raise held
        if not told:
            say(f"{held}; waiting for the earlier server to end")
            told = True
        time.sleep(_POLL_S)
    return held


def _held(hosts: Sequence[str], ports: Sequence[int | None]) -> list[int] | ServingError:
    """Return the ports, or what is said when one is taken, which may pass.

    Raises:
        ServingError: a port is not for this process.
    """
    with contextlib.ExitStack() as stack:
        filled = []
        for host, port in zip(hosts, ports, strict=True):
            try:
                listener = stack.enter_context(socket.create_server((host, port or 0)))
            except OSError as error:
                refusal = ServingError(
                    f"cannot listen on {host}:{port or ''}: {os.strerror(error.errno or 0)}"
                )
                if error.errno != errno.EADDRINUSE:
                    raise refusal from error
                return refusal
            filled.append(int(listener.getsockname()[1]))
        return filled
