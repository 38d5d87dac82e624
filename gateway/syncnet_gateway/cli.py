"""Command line: ``syncnet-gateway`` serves HTTP in the foreground until it is told to stop."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from syncnet_client.commands.connection import Connection, connection
from syncnet_client.errors import SyncNetError, UsageError
from syncnet_gateway.settings import Limits, Settings
from syncnet_programs.groups import takes
from syncnet_programs.program import Program
from syncnet_programs.terminal import note

__all__ = ["PROGRAM", "TOKEN_VARIABLE", "main"]

TOKEN_VARIABLE = "SYNCNET_GATEWAY_TOKEN"
_DEFAULT = Limits()

_address = partial(typer.Option, rich_help_panel="Address")
_access = partial(typer.Option, rich_help_panel="Access")
_limit = partial(typer.Option, rich_help_panel="Limits")


@takes(triton=connection)
def serve(
    *,
    host: Annotated[str, _address(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, _address(min=0, max=65535, metavar="N", help="Port to listen on; 0: a free one.")
    ] = 8080,
    triton: Connection,
    token_file: Annotated[
        Path | None,
        _access(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help=f"Serve only callers that show the token in this file. [env: {TOKEN_VARIABLE}: "
            "the token itself]",
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        _access(metavar="URL", help="Let pages of this origin call; may be repeated."),
    ] = None,
    max_size: Annotated[
        float, _limit(metavar="MB", min=0.001, help="Largest upload.")
    ] = _DEFAULT.max_bytes / 1e6,
    max_duration: Annotated[
        float, _limit(metavar="SECONDS", min=0.24, help="Longest clip.")
    ] = _DEFAULT.max_duration_s,
    max_pixels: Annotated[
        int, _limit(metavar="N", min=1, help="Largest picture, width times height.")
    ] = _DEFAULT.max_pixels,
    jobs: Annotated[
        int, _limit("--jobs", "-j", min=1, metavar="N", help="Clips in work at once.")
    ] = _DEFAULT.jobs,
    waiting: Annotated[
        int, _limit(min=0, metavar="N", help="Clips that may wait for that.")
    ] = _DEFAULT.waiting,
    upload_timeout: Annotated[
        float, _limit(metavar="SECONDS", min=0.1, help="Longest time for an upload.")
    ] = _DEFAULT.upload_timeout_s,
    job_timeout: Annotated[
        float, _limit(metavar="SECONDS", min=0.1, help="Longest time for a clip in work.")
    ] = _DEFAULT.job_timeout_s,
    memory: Annotated[
        float, _limit(metavar="GB", min=0.25, help="Memory for a clip in work.")
    ] = _DEFAULT.memory_bytes / (1 << 30),
    work_folder: Annotated[
        Path | None,
        _limit(
            exists=True,
            file_okay=False,
            metavar="FOLDER",
            help="Where to keep uploads while they are in work. [default: the temporary folder]",
        ),
    ] = None,
    exit_timeout: Annotated[
        float,
        _limit(metavar="SECONDS", min=0, help="How long jobs may go on when told to stop."),
    ] = 30.0,
) -> None:
    """Serve HTTP: clips come in, results go out, and at / there is a page for people.

    Stops at Ctrl-C or SIGTERM, when the clips in work are done or --exit-timeout is over.
    """
    from syncnet_gateway.local import local_triton
    from syncnet_gateway.serving import run

    settings = Settings(
        grpc=triton.options,
        limits=Limits(
            max_bytes=round(max_size * 1e6),
            max_duration_s=max_duration,
            max_pixels=max_pixels,
            jobs=jobs,
            waiting=waiting,
            upload_timeout_s=upload_timeout,
            job_timeout_s=job_timeout,
            memory_bytes=round(memory * (1 << 30)),
        ),
        token=_token(token_file),
        cors_origins=tuple(cors_origin or ()),
        work_folder=work_folder,
    )
    signal.signal(signal.SIGTERM, _interrupt)
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(host, port))
        if settings.token is None and listener.getsockname()[0] not in ("127.0.0.1", "::1"):
            note(f"warning: anyone who reaches {host} can use this; see --token-file")
        try:
            if triton.url is None:
                note("starting Triton ...")
            url = triton.url or stack.enter_context(local_triton())
            run(dataclasses.replace(settings, url=url), listener, exit_timeout)
        except KeyboardInterrupt:
            pass
        note("stopped")


def _interrupt(_signum: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _token(file: Path | None) -> str | None:
    given = os.environ.get(TOKEN_VARIABLE)
    if file is not None:
        if given is not None:
            raise UsageError(f"give the token in --token-file or in {TOKEN_VARIABLE}, not in both")
        given = file.read_text(encoding="utf-8").strip()
    if given == "":
        raise UsageError("the token is empty")
    return given


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}"
        ) from error


PROGRAM = Program(
    "syncnet-gateway",
    failures=(SyncNetError,),
    usage=(UsageError,),
    extra="gateway",
)
PROGRAM.only(
    serve,
    examples=[
        "syncnet-gateway --local --port 8080",
        "syncnet-gateway --url triton.example:8001 --host 0.0.0.0 --token-file token",
    ],
)


def main() -> int:
    """Run the command line; return its exit status."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    return PROGRAM.run()
