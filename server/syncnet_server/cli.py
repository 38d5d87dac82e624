"""Command line: `syncnet-server` keeps tritonserver running in the foreground until told to stop.

Exit status: 0 after Ctrl-C or SIGTERM, 1 with one line on standard error after an error, 2 if the
command line itself is wrong.
"""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Annotated

import typer

from syncnet_server.errors import ServingError
from syncnet_server.log import LogFollower, is_problem, say
from syncnet_server.processor import has_amx
from syncnet_server.restarts import RestartPolicy, keep_running
from syncnet_server.security import Tls
from syncnet_server.server import Server

_PROGRAM = "syncnet-server"
_POLL_S = 0.5
_SHARED_MEMORY_WANTED_BYTES = 256 << 20

_PORT = {"min": 0, "max": 65_535, "metavar": "PORT"}

# Without Rich's markup typer answers a usage error in plain lines and starts faster.
app = typer.Typer(add_completion=True, pretty_exceptions_enable=False, rich_markup_mode=None)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"{_PROGRAM} {version('syncnet-triton')}")
        raise typer.Exit


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
def serve(
    model_repository: Annotated[
        Path | None,
        typer.Option(
            help="Folder to serve; ./model_repository or else the installed one if not given."
        ),
    ] = None,
    profile: Annotated[
        str, typer.Option(help="Serve configs/NAME.pbtxt of the models that have one.")
    ] = "default",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    http_host: Annotated[
        str | None,
        typer.Option(help="The same for HTTP; if not given as --host, but 127.0.0.1 with TLS."),
    ] = None,
    grpc_port: Annotated[int, typer.Option(help="Port of gRPC; 0 for a free one.", **_PORT)] = 8001,
    http_port: Annotated[int, typer.Option(help="Port of HTTP; 0 for a free one.", **_PORT)] = 8000,
    metrics_port: Annotated[
        int, typer.Option(help="Port of the Prometheus metrics; 0 for a free one.", **_PORT)
    ] = 8002,
    startup_timeout: Annotated[
        float, typer.Option(help="Seconds to wait for the models to be ready.")
    ] = 180.0,
    exit_timeout: Annotated[
        int, typer.Option(help="Seconds that requests in flight have when the server stops.")
    ] = 30,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Encrypt gRPC with this certificate (PEM).")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's private key.")] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(help="Serve only clients whose certificate one of these has signed."),
    ] = None,
    admin_key: Annotated[
        str | None,
        typer.Option(
            envvar="SYNCNET_ADMIN_KEY",
            help="What administrative calls must show; see docs/security.md.",
        ),
    ] = None,
    http_inference: Annotated[
        bool,
        typer.Option(
            "--http-inference",
            help="Leave inference over HTTP open; one hostile request then ends the server, unless "
            "a balancer bounds size and depth of JSON.",
        ),
    ] = False,
    restart: Annotated[
        bool, typer.Option(help="Start tritonserver again when it ends by itself.")
    ] = True,
    max_restarts: Annotated[
        int, typer.Option(min=1, metavar="N", help="Give up at more restarts than this ...")
    ] = 20,
    restart_window: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="... in so many seconds.")
    ] = 600.0,
    trace: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SETTING",
            help="A setting of Triton's tracing, as for --trace-config. Can be repeated.",
        ),
    ] = None,
    log_file: Annotated[Path | None, typer.Option(help="Append Triton's log to this file.")] = None,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            help="Show Triton's log, not only warnings and errors; twice: also each request.",
        ),
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show errors only.")] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    triton_options: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- OPTIONS]", help="Options for tritonserver itself."),
    ] = None,
) -> None:
    """Serve the models with tritonserver: the one on PATH, else the one installed with pip.

    Stops at Ctrl-C or SIGTERM, after the requests in flight.

    Example: syncnet-server --profile int8 --grpc-port 8001
    """
    if (tls_cert is None) != (tls_key is None) or (tls_client_ca and not tls_cert):
        raise typer.BadParameter("--tls-cert and --tls-key go together; --tls-client-ca needs both")
    if quiet and verbose:
        raise typer.BadParameter("--quiet and --verbose exclude each other")
    server = Server(
        model_repository,
        profile,
        host=host,
        http_host=http_host,
        grpc_port=grpc_port or None,
        http_port=http_port or None,
        metrics_port=metrics_port or None,
        startup_timeout_s=startup_timeout,
        exit_timeout_s=exit_timeout,
        tls=Tls(tls_cert, tls_key, tls_client_ca) if tls_cert and tls_key else None,
        admin_key=admin_key,
        http_inference=http_inference,
        trace=trace or [],
        log_file=log_file,
        verbose=max(0, verbose - 1),
        extra_arguments=triton_options or [],
    )
    policy = RestartPolicy(max_restarts if restart else 0, restart_window)
    level = -1 if quiet else verbose
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with server:
            if not quiet:
                _say_notes(profile)
                say(
                    f"serving on gRPC {server.grpc_url}, HTTP {server.http_url}, "
                    f"metrics {server.metrics_url}; Ctrl-C stops"
                )
            keep_running(server, policy, lambda running: _follow(running, level, restarts=restart))
    except ServingError as error:
        say(f"{_PROGRAM}: {error}")
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        if not quiet:
            say("stopped")


def main() -> None:
    """Run the command line."""
    app(prog_name=_PROGRAM)


def _interrupt(_signum: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _follow(server: Server, level: int, *, restarts: bool) -> str:
    """Copy tritonserver's log to stderr until it ends by itself; return how, in words.

    Args:
        server: the one that runs.
        level: below 0 for nothing, 0 for warnings and errors, above for everything.
        restarts: end it when it is stuck, because it will be started again.
    """
    log = LogFollower(server.log_path, server.log_start)
    ending = None
    while ending is None:
        ending = server.wait(_POLL_S)
        if ending is None and restarts and server.end_stuck():
            say("tritonserver holds requests and has done nothing for 10 s: ending it")
        for line in log.new_lines():
            if level > 0 or (level == 0 and is_problem(line)):
                say(line)
    return ending


def _say_notes(profile: str) -> None:
    free_bytes = shutil.disk_usage("/dev/shm").free
    if free_bytes < _SHARED_MEMORY_WANTED_BYTES:
        say(
            f"warning: {free_bytes >> 20} MB of shared memory left for tensors; "
            "give a container more with --shm-size=1g"
        )
    better = {("int8", True): "int8-amx", ("int8-amx", False): "int8"}.get((profile, has_amx()))
    if better:
        say(f"note: the profile {better} is faster on this machine's processor")
