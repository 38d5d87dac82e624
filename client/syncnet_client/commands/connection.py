"""The options that say which server to use, shared by all commands."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syncnet_client.defaults import DEFAULT_IN_FLIGHT, DEFAULT_TIMEOUT_S, DEFAULT_URL
from syncnet_client.errors import ServerUnavailableError, UsageError
from syncnet_client.waiting import interrupts_between_waits
from syncnet_programs.terminal import note

if TYPE_CHECKING:
    from syncnet_client.client import SyncNetClient
    from syncnet_client.transport.grpc import GrpcOptions

__all__ = ["Connection", "connection"]


@dataclass(frozen=True)
class Connection:
    """Which server to use, and how.

    Attributes:
        url: HOST:PORT; None for a server of this call's own.
        options: how to connect.
    """

    url: str | None
    options: GrpcOptions

    def check(self, *sources: str) -> None:
        """Make sure that files are there before a local server is started for them.

        Raises:
            MediaError: one is missing.
        """
        from syncnet_client.media.sources import missing

        if self.url is None:
            for error in filter(None, map(missing, sources)):
                raise error

    def needed(self, sources: Collection[str]) -> bool:
        """Whether there is something for a server to do; one that is there is asked at once."""
        from syncnet_client.media.sources import missing

        return self.url is not None or not all(map(missing, sources))

    @contextmanager
    def reach(self) -> Iterator[str]:
        """Give HOST:PORT of the server; one that is started for this is stopped at the end.

        Raises:
            ServerUnavailableError: the local server cannot start.
        """
        if self.url is not None:
            yield self.url
            return
        with _local_server() as url:
            yield url

    @contextmanager
    def open(self) -> Iterator[SyncNetClient]:
        """Give a client; a server that is started for it is stopped at the end.

        Raises:
            ServerUnavailableError: the local server cannot start.
        """
        from syncnet_client.client import SyncNetClient

        with (
            self.reach() as url,
            SyncNetClient(url, options=self.options) as client,
            interrupts_between_waits(),
        ):
            yield client


def connection(
    url: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            envvar="SYNCNET_URL",
            help=f"gRPC address of the Triton server. [default: {DEFAULT_URL}]",
        ),
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="Start a server on this machine for this call alone.")
    ] = False,
    in_flight: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            envvar="SYNCNET_IN_FLIGHT",
            help="Chunks of one clip sent ahead of the answers.",
        ),
    ] = DEFAULT_IN_FLIGHT,
    streams: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            envvar="SYNCNET_STREAMS",
            help="Streams that share a clip, for several servers behind a balancer.",
        ),
    ] = 1,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            envvar="SYNCNET_TIMEOUT",
            help="Send a chunk again if unanswered for so long.",
        ),
    ] = DEFAULT_TIMEOUT_S,
    tls: Annotated[
        bool, typer.Option("--tls", envvar="SYNCNET_TLS", help="Encrypt the connection.")
    ] = False,
    ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", envvar="SYNCNET_CA", help="Trust the certificates in this PEM file."
        ),
    ] = None,
    cert: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", envvar="SYNCNET_CERT", help="Identify with this certificate (PEM)."
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", envvar="SYNCNET_KEY", help="The key of that certificate (PEM)."
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:VALUE",
            help="Send this header; may be repeated.  [env var: SYNCNET_HEADERS, one on each line]",
        ),
    ] = None,
    shared_memory: Annotated[
        bool,
        typer.Option(
            envvar="SYNCNET_SHARED_MEMORY",
            help="Leave frames for a server on this machine in shared memory, if it can.",
        ),
    ] = True,
) -> Connection:
    """What the options of a command say about the connection.

    Raises:
        UsageError: one has an impossible value, or they contradict each other.
    """
    from syncnet_client.transport.grpc import GrpcOptions

    options = GrpcOptions(
        in_flight=in_flight,
        streams=streams,
        timeout_s=timeout,
        tls=tls,
        ca=ca,
        cert=cert,
        key=key,
        headers=dict(_parse_header(each) for each in header or _headers_from_environment()),
        shared_memory=shared_memory,
    )
    if local and url is not None:
        raise UsageError("--local starts a server of its own: leave out --url, and SYNCNET_URL")
    return Connection(None if local else url or DEFAULT_URL, options)


@contextmanager
def _local_server() -> Iterator[str]:
    from syncnet_server import Server, ServingError
    from syncnet_server.restarts import kept_running

    note("starting a local server ...")
    server = Server()
    try:
        server.start()
    except ServingError as error:
        raise ServerUnavailableError(f"the local server cannot start: {error}") from error
    try:
        # Nobody need wait for a server that will not come back: as with Ctrl-C, waits end.
        with kept_running(server, gave_up=lambda: os.kill(os.getpid(), signal.SIGINT)):
            yield server.grpc_url
    except ServingError as error:
        raise ServerUnavailableError(f"the local server: {error}") from error


def _headers_from_environment() -> list[str]:
    # Typer would split at every blank.
    return [line for line in os.environ.get("SYNCNET_HEADERS", "").splitlines() if line.strip()]


def _parse_header(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not (colon and name.strip()):
        raise UsageError(f"a header is NAME:VALUE, not {header!r}")
    return name.strip(), value.strip()
