"""`Server`: a real tritonserver as a context manager."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from syncnet_server import guardian
from syncnet_server.drain import drain
from syncnet_server.errors import ServingError
from syncnet_server.locate import Installation, locate
from syncnet_server.log import port_taken, some_failed, startup_failure
from syncnet_server.plans import check_plans
from syncnet_server.ports import fill_ports, resolve
from syncnet_server.repository import check_profile, default_model_repository
from syncnet_server.security import Tls, restrictions
from syncnet_server.traces import WORK_FOLDERS, remove_abandoned
from syncnet_server.watchdog import Observer, Watchdog

_READY_POLL_S = 0.02
_ATTEMPTS = 3
_LOADED_AT_ONCE = 8  # models; with Triton's 4, the last of five would begin when the first is done
_LOOPBACK = "127.0.0.1"
_EVERYWHERE = "0.0.0.0"
STUCK_AFTER_S = 10.0


class Server:
    """Starts tritonserver on entry, waits until every model is ready, stops it on exit.

        with Server() as server:
            client = tritonclient.grpc.InferenceServerClient(server.grpc_url)

    Whatever ends this process, a guardian process stops tritonserver and removes its temporary
    files and shared memory.

    Args:
        model_repository: folder to serve; `default_model_repository()` if not given.
        profile: serve `configs/<profile>.pbtxt` of the models that have one; `config.pbtxt` if
            not given, or "default".
        host: IPv4 address or name to listen on.
        http_host: the same for HTTP; `host` if not given, but 127.0.0.1 with TLS.
        grpc_port, http_port, metrics_port: ports to listen on; a free one each if not given.
        startup_timeout_s: seconds to wait for every model to be ready.
        exit_timeout_s: seconds that requests in flight have to finish at the end.
        stuck_after_s: `look_after` ends a tritonserver that has stood still for so many seconds
            though it has requests, or has not answered; 0: never.
        tls: certificates for gRPC; without, it is not encrypted.
        admin_key: what administrative calls must show; see `syncnet_server.security`.
        http_inference: let everybody infer over HTTP, too, with the faults of Triton's JSON parser;
            see `syncnet_server.security`.
        trace: settings of Triton's tracing, each as `--trace-config` takes it.
        log_file: append tritonserver's log to this file; otherwise it goes with the server.
        verbose: level of tritonserver's verbose log, 0 for none.
        extra_arguments: more options for tritonserver, as on its command line.

    Attributes:
        grpc_url, http_url, metrics_url: HOST:PORT of each once started.
        log_path: file with tritonserver's log.
        log_start: where in that file the log of this server starts, in bytes.
        restarts: how often tritonserver was started again.
    """

    def __init__(
        self,
        model_repository: str | os.PathLike[str] | None = None,
        profile: str | None = None,
        *,
        host: str = _LOOPBACK,
        http_host: str | None = None,
        grpc_port: int | None = None,
        http_port: int | None = None,
        metrics_port: int | None = None,
        startup_timeout_s: float = 180.0,
        exit_timeout_s: int = 30,
        stuck_after_s: float = STUCK_AFTER_S,
        tls: Tls | None = None,
        admin_key: str | None = None,
        http_inference: bool = False,
        trace: Sequence[str] = (),
        log_file: str | os.PathLike[str] | None = None,
        verbose: int = 0,
        extra_arguments: Sequence[str] = (),
    ) -> None:
        self._model_repository = model_repository
        self._profile = None if profile == "default" else profile
        self._host = host
        self._http_host = http_host or (_LOOPBACK if tls else host)
        self._ports = (grpc_port, http_port, metrics_port)
        self._startup_timeout_s = startup_timeout_s
        self._exit_timeout_s = exit_timeout_s
        self._stuck_after_s = stuck_after_s
        self._tls = tls
        self._admin_key = admin_key
        self._http_inference = http_inference
        self._trace = list(trace)
        self._verbose = verbose
        self._extra_arguments = list(extra_arguments)
        self._log_file = Path(log_file).resolve() if log_file else None
        self._name_work_folder()
        self._guardian: subprocess.Popen[bytes] | None = None
        self._group: int | None = None
        self._ending: str | None = None
        self._notes: list[str] = []
        self._watchdog = Watchdog(stuck_after_s)
        self._next_look = 0.0
        self.restarts = 0
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
            ServingError: it cannot start, or is not ready in time; nothing is left running.
        """
        if self._guardian is not None:
            raise ServingError("the server has been started already")
        self.restarts = 0
        self._start(self._ports)

    def restart(self) -> None:
        """Start tritonserver again after it has ended by itself, on the ports that it had.

        Raises:
            ServingError: as of `start`; the server can be restarted again.
        """
        bound = [int(url.rpartition(":")[2]) for url in self._urls()]
        self._end(guardian.STOP_SOON)
        self.restarts += 1
        self._start(bound)

    def _start(self, wanted: Sequence[int | None]) -> None:
        installation = locate()
        repository = Path(self._model_repository or default_model_repository()).resolve()
        check_profile(repository, self._profile)
        if self._profile is not None:
            check_plans(repository, self._profile)
        hosts = [resolve(host) for host in (self._host, self._http_host, self._host)]
        remove_abandoned(Path(tempfile.gettempdir()))
        for attempt in range(1, _ATTEMPTS + 1):
            self._name_work_folder()
            ports = fill_ports(hosts, wanted)
            arguments = self._arguments(repository, hosts, ports)
            try:
                self.grpc_url, self.http_url, self.metrics_url = (
                    f"{_LOOPBACK if host == _EVERYWHERE else host}:{port}"
                    for host, port in zip(hosts, ports, strict=True)
                )
                self._launch(installation, arguments)
                self._wait_until_ready()
                return
            except _PortTakenError:
                self._end(guardian.STOP_SOON)
                # Somebody else took a port that was free a moment ago.
                if None not in wanted or attempt == _ATTEMPTS:
                    raise
            except BaseException:
                self._end(guardian.STOP_SOON)
                raise

    def _urls(self) -> tuple[str, str, str]:
        return self.grpc_url, self.http_url, self.metrics_url

    def stop(self) -> None:
        """Stop tritonserver: requests in flight may finish, then everything is removed.

        Interrupted by an exception, as of a second Ctrl-C, it does not wait for requests.
        """
        self._end(guardian.STOP)

    def _end(self, how: bytes) -> None:
        process = self._guardian
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        guardian.continue_stopped(process.pid)
        try:
            if how == guardian.STOP and self.wait(0) is None and self._group is not None:
                port = int(self.grpc_url.rpartition(":")[2])
                if not drain(self._group, port, self._exit_timeout_s):
                    how = guardian.STOP_NOW  # requests have had their time
            # A byte, because a forked child of this process may hold the pipe open.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(how)
                process.stdin.flush()
            process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.stdout.close()
            self._guardian = None
            # The guardian has done this, unless somebody killed it.
            guardian.kill_family(self._group, self._work)
            guardian.remove_traces(self._work)

    def wait(self, timeout_s: float | None = None) -> str | None:
        """Wait for tritonserver to end by itself.

        Returns:
            how it has ended, in words; None if it still runs after `timeout_s`.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self._ending is None and self._guardian is not None:
            left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            line = self._report(left_s)
            if line is None:
                break
            if line.startswith(guardian.STARTED):
                self._group = int(line.removeprefix(guardian.STARTED))
            elif line.startswith(guardian.NOTED):
                self._notes.append(line.removeprefix(guardian.NOTED))
            else:
                self._ending = line or "the guardian of tritonserver was killed"
        return self._ending

    def look_after(self) -> list[str]:
        """Let the guardian go on if it was stopped, and kill a tritonserver that is stuck.

        To be called now and then while tritonserver runs; where nothing answers it takes seconds.
        `wait` tells how a tritonserver ended that was killed.

        Returns:
            what was done since the last call, by the guardian, too: a line each.
        """
        notes, self._notes = self._notes, []
        if self._guardian is None or self._group is None or self._ending is not None:
            return notes
        state = guardian.state_of(self._guardian.pid)
        if state is not None and state.letter == guardian.STOPPED:
            guardian.continue_stopped(self._guardian.pid)
            notes.append("the guardian of tritonserver was stopped (SIGSTOP): continued it")
        if self._stuck_after_s and time.monotonic() >= self._next_look:
            observer = Observer(self.metrics_url, self.http_url, self._group)
            sign = self._watchdog.stuck(observer.look())
            self._next_look = time.monotonic() + self._watchdog.pause_s
            if sign is not None:
                notes.append(f"{sign}: ending tritonserver")
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._group, signal.SIGKILL)
        return notes

    def _report(self, timeout_s: float | None) -> str | None:
        """Return the next line of the guardian, "" when it is dead, None if there is none yet."""
        assert self._guardian is not None
        assert self._guardian.stdout is not None
        readable, _, _ = select.select([self._guardian.stdout], [], [], timeout_s)
        if not readable:
            return None
        return self._guardian.stdout.readline().decode("utf-8", errors="replace").strip()

    @property
    def log(self) -> str:
        """What tritonserver has logged since it was started."""
        with contextlib.suppress(FileNotFoundError), self.log_path.open("rb") as log:
            log.seek(self.log_start)
            return log.read().decode("utf-8", errors="replace")
        return ""

    def _arguments(self, repository: Path, hosts: Sequence[str], ports: Sequence[int]) -> list[str]:
        arguments = [
            f"--model-repository={repository}",
            "--model-control-mode=none",
            # Without, Triton quits when a model fails to load, and leaves a folder in /tmp.
            "--exit-on-error=false",
            f"--model-load-thread-count={_LOADED_AT_ONCE}",
            f"--exit-timeout-secs={self._exit_timeout_s}",
            f"--backend-config=python,shm-region-prefix-name={self._work.name}-",
            "--metrics-config=summary_latencies=true",  # percentiles, as in the container
        ]
        for service, host, port in zip(("grpc", "http", "metrics"), hosts, ports, strict=True):
            arguments += [f"--{service}-address={host}", f"--{service}-port={port}"]
        if self._profile:
            arguments.append(f"--model-config-name={self._profile}")
        if self._verbose:
            arguments.append(f"--log-verbose={self._verbose}")
        if self._tls:
            arguments += self._tls.arguments()
        arguments += restrictions(
            hosts[0],
            tls=bool(self._tls),
            admin_key=self._admin_key,
            http_inference=self._http_inference,
        )
        arguments += [f"--trace-config={setting}" for setting in self._trace]
        return arguments + self._extra_arguments

    def _name_work_folder(self) -> None:
        """Choose a new name, so that nothing meets what an earlier tritonserver has left."""
        token = f"{WORK_FOLDERS}{os.getpid()}-{secrets.token_hex(4)}"
        self._work = Path(tempfile.gettempdir()) / token
        self.log_path = self._log_file or self._work / "tritonserver.log"
        self.log_start = 0

    def _launch(self, installation: Installation, arguments: list[str]) -> None:
        self._ending = self._group = None
        self._watchdog = Watchdog(self._stuck_after_s)
        self._next_look = 0.0
        if self._log_file is not None:
            try:
                with self.log_path.open("ab") as log:
                    self.log_start = log.tell()
            except OSError as error:
                raise ServingError(f"log file {self.log_path}: {error.strerror}") from error
        job = {
            "work": str(self._work),
            "copies": {name: str(source) for name, source in installation.copies.items()},
            "links": {name: str(target) for name, target in installation.links.items()},
            "texts": dict(installation.texts),
            "edits": dict(installation.edits),
            "command": [
                str(installation.executable),
                *installation.arguments(self._work),
                *arguments,
            ],
            "environment": {
                **installation.environment(self._work),
                "SYNCNET_RESTARTS": str(self.restarts),  # a metric of the model shift_distance
            },
            "log": str(self.log_path),
            "exit_timeout_s": self._exit_timeout_s,
        }
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for this process, which then stops the server
        )
        assert self._guardian.stdin is not None
        self._guardian.stdin.write(json.dumps(job).encode() + b"\n")
        self._guardian.stdin.flush()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._startup_timeout_s
        while (ready := _is_ready(self.http_url)) is None:
            if ending := self.wait(_READY_POLL_S):
                log = self.log
                failure = _PortTakenError if port_taken(log) else ServingError
                raise failure(f"tritonserver did not start: {startup_failure(log) or ending}")
            if time.monotonic() > deadline:
                raise ServingError(
                    f"tritonserver was not ready within {self._startup_timeout_s:g} s; "
                    f"last line of its log: {(self.log.strip().splitlines() or ['nothing'])[-1]}"
                )
        if not ready or some_failed(self.log):
            raise ServingError(f"tritonserver did not start: {startup_failure(self.log)}")


class _PortTakenError(ServingError):
    """Another process listens on a port."""


def _is_ready(http_url: str) -> bool | None:
    """Return whether every model was loaded; None while tritonserver does not answer.

    Without model control, it answers only when it has tried to load all.
    """
    connection = http.client.HTTPConnection(http_url, timeout=5)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
