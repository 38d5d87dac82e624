"""Command line: ``syncnet-gateway`` serves HTTP in the foreground until it is told to stop."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import sys
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from syncnet_client.commands.connection import Connection, connection
from syncnet_client.commands.groups import takes
from syncnet_client.errors import SyncNetError, UsageError
from syncnet_gateway.local import local_triton
from syncnet_gateway.serving import run
from syncnet_gateway.settings import Limits, Settings

__all__ = ["app", "main"]

PROGRAM = "syncnet-gateway"
TOKEN_VARIABLE = "SYNCNET_GATEWAY_TOKEN"
_DEFAULT = Limits()

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"{PROGRAM} {version('syncnet-triton')}")
        raise typer.Exit


@app.command(epilog="Example: syncnet-gateway --local --port 8080")
@takes(triton=connection)
def serve(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="Port to listen on; 0: a free one.")
    ] = 8080,
    triton: Connection,
    token_file: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help=f"Serve only callers that show the token in this file. [env: {TOKEN_VARIABLE}: "
            "the token itself]",
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Let pages of this origin call; may be repeated."),
    ] = None,
    max_size: Annotated[
        float, typer.Option(metavar="MB", min=0.001, help="Largest upload.")
    ] = _DEFAULT.max_bytes / 1e6,
    max_duration: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.24, help="Longest clip.")
    ] = _DEFAULT.max_duration_s,
    max_pixels: Annotated[
        int, typer.Option(metavar="N", min=1, help="Largest picture, width times height.")
    ] = _DEFAULT.max_pixels,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, metavar="N", help="Clips in work at once.")
    ] = _DEFAULT.jobs,
    waiting: Annotated[
        int, typer.Option(min=0, metavar="N", help="Clips that may wait for that.")
    ] = _DEFAULT.waiting,
    upload_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="Longest time for an upload.")
    ] = _DEFAULT.upload_timeout_s,
    job_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="Longest time for a clip in work.")
    ] = _DEFAULT.job_timeout_s,
    memory: Annotated[
        float, typer.Option(metavar="GB", min=0.25, help="Memory for a clip in work.")
    ] = _DEFAULT.memory_bytes / (1 << 30),
    work_folder: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            metavar="FOLDER",
            help="Where to keep uploads while they are in work. [default: the temporary folder]",
        ),
    ] = None,
    exit_timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, help="How long jobs may go on when told to stop."),
    ] = 30.0,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    """Serve HTTP: clips come in, results go out, and at / there is a page for people.

    Stops at Ctrl-C or SIGTERM, when the clips in work are done or --exit-timeout is over.
    """
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
            _say(f"warning: anyone who reaches {host} can use this; see --token-file")
        try:
            if triton.url is None:
                _say("starting Triton ...")
            url = triton.url or stack.enter_context(local_triton())
            run(dataclasses.replace(settings, url=url), listener, exit_timeout)
        except KeyboardInterrupt:
            pass
        _say("stopped")


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


def _say(message: str) -> None:
    print(f"{PROGRAM}: {message}", file=sys.stderr, flush=True)


def main() -> int:
    """Run the command line; return its exit status."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        app(prog_name=PROGRAM)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0
    except SyncNetError as error:
        _say(" ".join(str(error).split()))
        return 2 if isinstance(error, UsageError) else 1
    return 0
