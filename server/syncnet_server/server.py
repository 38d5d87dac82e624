"""`Server`: a real tritonserver as a context manager."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from syncnet_server import guardian
from syncnet_server.errors import ServerError
from syncnet_server.locate import locate
from syncnet_server.log import startup_failure
from syncnet_server.repository import check_profile, default_model_repository

_READY_POLL_S = 0.1


class Server:
    """Starts tritonserver on entry, waits until every model is ready, stops it on exit.

        with Server() as server:
            client = tritonclient.grpc.InferenceServerClient(server.grpc_url)

    Whatever ends this process, a guardian process stops tritonserver and removes its temporary
    files and shared memory.

    Args:
        model_repository: folder to serve; `default_model_repository()` if not given.
        profile: serve `configs/<profile>.pbtxt` of the models that have one; `config.pbtxt` if
            not given.
        host: address to listen on.
        grpc_port, http_port, metrics_port: ports to listen on; a free one each if not given.
        startup_timeout_s: seconds to wait for every model to be ready.
        exit_timeout_s: seconds that requests in flight have to finish at the end.
        log_file: append tritonserver's log to this file; otherwise it goes with the server.
        verbose: level of tritonserver's verbose log, 0 for none.
        extra_arguments: more options for tritonserver, as on its command line.
    """

    def __init__(
        self,
        model_repository: str | os.PathLike[str] | None = None,
        profile: str | None = None,
        *,
        host: str = "127.0.0.1",
        grpc_port: int | None = None,
        http_port: int | None = None,
        metrics_port: int | None = None,
        startup_timeout_s: float = 180.0,
        exit_timeout_s: int = 30,
        log_file: str | os.PathLike[str] | None = None,
        verbose: int = 0,
        extra_arguments: Sequence[str] = (),
    ) -> None:
        self._model_repository = model_repository
        self._profile = profile
        self._host = host
        self._ports = (grpc_port, http_port, metrics_port)
        self._startup_timeout_s = startup_timeout_s
        self._exit_timeout_s = exit_timeout_s
        self._verbose = verbose
        self._extra_arguments = list(extra_arguments)
        self._token = f"syncnet-server-{os.getpid()}-{secrets.token_hex(4)}"
        self._work = Path(tempfile.gettempdir()) / self._token
        self.log_path = Path(log_file).resolve() if log_file else self._work / "tritonserver.log"
        self._guardian: subprocess.Popen[bytes] | None = None
        self.grpc_url = self.http_url = self.metrics_url = ""

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start tritonserver and return when every model is ready.

        Raises:
            ServerError: it cannot start, or is not ready in time; nothing is left running.
        """
        if self._guardian is not None:
            raise ServerError("the server has been started already")
        installation = locate()
        repository = Path(self._model_repository or default_model_repository()).resolve()
        check_profile(repository, self._profile)
        ports = _fill_ports(self._host, self._ports)
        job = {
            "work": str(self._work),
            "copies": {name: str(source) for name, source in installation.copies.items()},
            "links": {name: str(target) for name, target in installation.links.items()},
            "texts": dict(installation.texts),
            "command": [
                str(installation.executable),
                *self._arguments(repository, ports),
                *installation.arguments(self._work),
                *self._extra_arguments,
            ],
            "environment": installation.environment(self._work),
            "log": str(self.log_path),
            "shared_memory_prefix": self._token,
            "exit_timeout_s": self._exit_timeout_s,
        }
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for this process, which then stops the server
        )
        try:
            assert self._guardian.stdin is not None
            self._guardian.stdin.write(json.dumps(job).encode() + b"\n")
            self._guardian.stdin.flush()
            reachable = {"0.0.0.0": "127.0.0.1"}.get(self._host, self._host)
            self.grpc_url, self.http_url, self.metrics_url = (f"{reachable}:{p}" for p in ports)
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop tritonserver: requests in flight may finish, then everything is removed."""
        if self._guardian is None:
            return
        assert self._guardian.stdin is not None
        assert self._guardian.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._guardian.stdin.close()
        self._guardian.wait()
        self._guardian.stdout.close()
        self._guardian = None
        guardian.remove_traces(self._work, self._token)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until tritonserver ends by itself; return whether it has ended."""
        if self._guardian is None or self._guardian.stdout is None:
            return True
        readable, _, _ = select.select([self._guardian.stdout], [], [], timeout_s)
        return bool(readable)

    @property
    def log(self) -> str:
        """What tritonserver has logged so far."""
        with contextlib.suppress(FileNotFoundError):
            return self.log_path.read_text(encoding="utf-8", errors="replace")
        return ""

    def _arguments(self, repository: Path, ports: Sequence[int]) -> list[str]:
        grpc_port, http_port, metrics_port = ports
        arguments = [
            f"--model-repository={repository}",
            "--model-control-mode=none",
            f"--grpc-address={self._host}",
            f"--http-address={self._host}",
            f"--metrics-address={self._host}",
            f"--grpc-port={grpc_port}",
            f"--http-port={http_port}",
            f"--metrics-port={metrics_port}",
            f"--exit-timeout-secs={self._exit_timeout_s}",
            f"--backend-config=python,shm-region-prefix-name={self._token}-",
            "--metrics-config=summary_latencies=true",  # percentiles, as in the container
        ]
        if self._profile:
            arguments.append(f"--model-config-name={self._profile}")
        if self._verbose:
            arguments.append(f"--log-verbose={self._verbose}")
        return arguments

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._startup_timeout_s
        while not _is_ready(self.http_url):
            if self.wait(_READY_POLL_S):
                raise ServerError(f"tritonserver did not start: {startup_failure(self.log)}")
            if time.monotonic() > deadline:
                raise ServerError(
                    f"tritonserver was not ready within {self._startup_timeout_s:g} s; "
                    f"last line of its log: {(self.log.strip().splitlines() or ['nothing'])[-1]}"
                )


def _fill_ports(host: str, ports: Sequence[int | None]) -> list[int]:
    """Replace each missing port by a free one; all are held at once so that no two are equal."""
    with contextlib.ExitStack() as stack:
        filled = []
        for port in ports:
            if port is None:
                listener = stack.enter_context(socket.create_server((host, 0)))
                port = int(listener.getsockname()[1])
            filled.append(port)
        return filled


def _is_ready(http_url: str) -> bool:
    connection = http.client.HTTPConnection(http_url, timeout=5)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
