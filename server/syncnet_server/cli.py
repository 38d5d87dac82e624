"""Command line: `syncnet-server` keeps tritonserver running in the foreground until told to stop.

Exit status: 0 after Ctrl-C or SIGTERM, 1 with one line on standard error after an error, 2 if the
command line itself is wrong.
"""

from __future__ import annotations

import shutil
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from syncnet_programs.program import GENERAL, Program
from syncnet_server.errors import ServingError
from syncnet_server.log import LogFollower, is_problem, say
from syncnet_server.processor import has_amx, has_vnni
from syncnet_server.restarts import RestartPolicy, keep_running, watch
from syncnet_server.security import Tls
from syncnet_server.server import STUCK_AFTER_S, Server

__all__ = ["PROGRAM", "main", "serve"]

_SHARED_MEMORY_WANTED_BYTES = 256 << 20

_models = partial(typer.Option, rich_help_panel="Models")
_address = partial(typer.Option, rich_help_panel="Addresses")
_port = partial(_address, min=0, max=65_535, metavar="PORT")
_security = partial(typer.Option, rich_help_panel="Security")
_life = partial(typer.Option, rich_help_panel="Start and end", metavar="SECONDS")
_log = partial(typer.Option, rich_help_panel="Log")


def serve(
    triton_options: Annotated[
        list[str] | None,
        typer.Argument(metavar="TRITON_OPTION", help="After --, options for tritonserver itself."),
    ] = None,
    model_repository: Annotated[
        Path | None,
        _models(
            metavar="FOLDER",
            help="What to serve; ./model_repository or else the installed one if not given.",
        ),
    ] = None,
    profile: Annotated[
        str, _models(metavar="NAME", help="Serve configs/NAME.pbtxt of the models that have one.")
    ] = "default",
    host: Annotated[str, _address(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    http_host: Annotated[
        str | None,
        _address(
            metavar="HOST",
            help="The same for HTTP; if not given as --host, but 127.0.0.1 with TLS.",
        ),
    ] = None,
    grpc_port: Annotated[int, _port(help="Of gRPC; 0 for a free one.")] = 8001,
    http_port: Annotated[int, _port(help="Of HTTP; 0 for a free one.")] = 8000,
    metrics_port: Annotated[int, _port(help="Of the Prometheus metrics; 0 for a free one.")] = 8002,
    tls_cert: Annotated[
        Path | None, _security(metavar="FILE", help="Encrypt gRPC with this certificate (PEM).")
    ] = None,
    tls_key: Annotated[
        Path | None, _security(metavar="FILE", help="The certificate's private key.")
    ] = None,
    tls_client_ca: Annotated[
        Path | None,
        _security(
            metavar="FILE", help="Serve only clients whose certificate one of these has signed."
        ),
    ] = None,
    admin_key: Annotated[
        str | None,
        _security(
            metavar="KEY",
            envvar="SYNCNET_ADMIN_KEY",
            help="What administrative calls must show; see docs/security.md.",
        ),
    ] = None,
    http_inference: Annotated[
        bool,
        _security(
            "--http-inference",
            help="Leave inference over HTTP open; one hostile request then ends the server, unless "
            "a balancer bounds size and depth of JSON.",
        ),
    ] = False,
    startup_timeout: Annotated[
        float, _life(min=1, help="How long to wait for the models to be ready.")
    ] = 180.0,
    exit_timeout: Annotated[
        int, _life(min=0, help="How long requests in flight have when the server stops.")
    ] = 30,
    restart: Annotated[
        bool, _life(metavar=None, help="Start tritonserver again when it ends by itself.")
    ] = True,
    max_restarts: Annotated[
        int, _life(min=1, metavar="N", help="Give up at more restarts than this ...")
    ] = 20,
    restart_window: Annotated[float, _life(min=1, help="... in so many seconds.")] = 600.0,
    stuck_after: Annotated[
        float,
        _life(
            min=0,
            help="End a tritonserver that has stood still for so long, though it has requests or "
            "does not answer; 0 for never.",
        ),
    ] = STUCK_AFTER_S,
    trace: Annotated[
        list[str] | None,
        _log(
            metavar="SETTING",
            help="A setting of Triton's tracing, as for --trace-config. Can be repeated.",
        ),
    ] = None,
    log_file: Annotated[
        Path | None, _log(metavar="FILE", help="Append Triton's log to this file.")
    ] = None,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Show errors only.", rich_help_panel=GENERAL),
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            show_default=False,
            help="Show Triton's log, not only warnings and errors; twice: also each request.",
            rich_help_panel=GENERAL,
        ),
    ] = 0,
) -> None:
    """Serve the models with tritonserver: the one on PATH, else the one installed with pip.

    Stops at Ctrl-C or SIGTERM, after the requests in flight.
    """
    if (tls_cert is None) != (tls_key is None) or (tls_client_ca and not tls_cert):
        raise typer.BadParameter("--tls-cert and --tls-key go together; --tls-client-ca needs both")
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
        stuck_after_s=stuck_after,
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
            keep_running(server, policy, lambda running: _follow(running, level))
    except KeyboardInterrupt:
        if not quiet:
            say("stopped")


PROGRAM = Program("syncnet-server", failures=(ServingError,))
PROGRAM.only(
    serve,
    examples=[
        "syncnet-server",
        "syncnet-server --profile int8 --grpc-port 9001",
        "syncnet-server --host 0.0.0.0 --tls-cert server.pem --tls-key server.key",
        "syncnet-server -- --pinned-memory-pool-byte-size=0",
    ],
)


def main() -> None:
    """Run the command line and exit with its status."""
    sys.exit(PROGRAM.run())


def _interrupt(_signum: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _follow(server: Server, level: int) -> str:
    """Copy tritonserver's log to stderr until it ends by itself; return how, in words.

    Args:
        server: the one that runs.
        level: below 0 for nothing, 0 for warnings and errors, above for everything.
    """
    log = LogFollower(server.log_path, server.log_start)

    def copy_log() -> None:
        for line in log.new_lines():
            if level > 0 or (level == 0 and is_problem(line)):
                say(line)

    return watch(server, copy_log)


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
    if profile in ("int8", "int8-amx") and not has_vnni():
        say(
            "warning: without VNNI, sums of products may overflow in int8: run "
            "'syncnet-export verify' on this machine, and serve fp32 if it fails"
        )
