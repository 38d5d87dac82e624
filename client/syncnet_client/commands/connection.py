"""The options that say which server to use, shared by all subcommands."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syncnet_client.defaults import DEFAULT_URL
from syncnet_client.errors import ServerUnavailableError, UsageError

if TYPE_CHECKING:
    from syncnet_client.client import SyncNetClient
    from syncnet_client.grpc_transport import GrpcOptions

__all__ = [
    "CaOption",
    "CertOption",
    "HeaderOption",
    "InFlightOption",
    "KeyOption",
    "LocalOption",
    "SharedMemoryOption",
    "StreamsOption",
    "TimeoutOption",
    "TlsOption",
    "UrlOption",
    "connect",
    "grpc_options",
]

UrlOption = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        envvar="SYNCNET_URL",
        help=f"gRPC address of the Triton server. [default: {DEFAULT_URL}]",
    ),
]
LocalOption = Annotated[
    bool, typer.Option("--local", help="Start a server on this machine for this call alone.")
]
InFlightOption = Annotated[
    int, typer.Option(min=1, metavar="N", help="Chunks of one clip sent ahead of the answers.")
]
StreamsOption = Annotated[
    int,
    typer.Option(
        min=1, metavar="N", help="Streams that share a clip, for several servers behind a balancer."
    ),
]
TimeoutOption = Annotated[
    float, typer.Option(metavar="SECONDS", help="Send a chunk again if unanswered for so long.")
]
TlsOption = Annotated[bool, typer.Option("--tls", help="Encrypt the connection.")]
CaOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Trust the certificates in this PEM file.")
]
CertOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Identify with this certificate (PEM).")
]
KeyOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The key of that certificate (PEM).")
]
HeaderOption = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="NAME:VALUE", help="Send this header; may be repeated."),
]
SharedMemoryOption = Annotated[
    bool,
    typer.Option(help="Leave frames for a server on this machine in shared memory, if it can."),
]


def grpc_options(
    *,
    in_flight: int,
    streams: int,
    timeout_s: float,
    tls: bool,
    ca: Path | None,
    cert: Path | None,
    key: Path | None,
    headers: Sequence[str] | None,
    shared_memory: bool,
) -> GrpcOptions:
    """What the options say about the connection.

    Raises:
        UsageError: one has an impossible value, or they contradict each other.
    """
    from syncnet_client.grpc_transport import GrpcOptions

    return GrpcOptions(
        in_flight=in_flight,
        streams=streams,
        timeout_s=timeout_s,
        tls=tls,
        ca=ca,
        cert=cert,
        key=key,
        headers=dict(_parse_header(header) for header in headers or ()),
        shared_memory=shared_memory,
    )


@contextmanager
def connect(url: str | None, options: GrpcOptions, *, local: bool) -> Iterator[SyncNetClient]:
    """Give a client for a server; one that is started for it is stopped at the end.

    Raises:
        UsageError: both a server's address and a local server are wanted.
        ServerUnavailableError: the local server cannot start.
    """
    from syncnet_client.client import SyncNetClient

    if not local:
        with SyncNetClient(url or DEFAULT_URL, options=options) as client:
            yield client
        return
    if url is not None:
        raise UsageError("--local starts a server of its own: leave out --url")
    with _local_server() as local_url, SyncNetClient(local_url, options=options) as client:
        yield client


@contextmanager
def _local_server() -> Iterator[str]:
    from syncnet_server import Server, ServerError

    print("starting a local server ...", file=sys.stderr)
    try:
        server = Server()
        server.start()
    except ServerError as error:
        raise ServerUnavailableError(f"the local server cannot start: {error}") from error
    try:
        yield server.grpc_url
    finally:
        server.stop()


def _parse_header(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not (colon and name.strip()):
        raise UsageError(f"a header is NAME:VALUE, not {header!r}")
    return name.strip(), value.strip()
