"""What is under attack: servers that are started again, a balancer, a client, a probe."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import psutil
from tritonclient.grpc import service_pb2_grpc

from benchmarks.balancer import running_balancer
from benchmarks.chaos.hostile import chunk_request

__all__ = ["Client", "Probe", "Replica", "Site", "free_ports", "wait_until"]

_POLL_S = 0.05
_PROBE_EVERY_S = 0.2
_PROBE_TIMEOUT_S = 60.0
_STOP_S = 60.0


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on."""
    with contextlib.ExitStack() as stack:
        listeners = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [int(listener.getsockname()[1]) for listener in listeners]


def wait_until(condition: Callable[[], object], timeout_s: float) -> bool:
    """Poll until the condition is true; return whether it became so in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


class Replica:
    """`syncnet-server` on fixed ports, started again whenever it ends, as by a service manager."""

    def __init__(self, repository: Path, log: Path) -> None:
        grpc_port, http_port, metrics_port = free_ports(3)
        self.grpc_url = f"127.0.0.1:{grpc_port}"
        self.http_url = f"127.0.0.1:{http_port}"
        self.log = log
        self._command = [
            sys.executable,
            "-c",
            "from syncnet_server.cli import main; main()",
            f"--model-repository={repository}",
            f"--grpc-port={grpc_port}",
            f"--http-port={http_port}",
            f"--metrics-port={metrics_port}",
            "--exit-timeout=5",
            "--max-restarts=1000",
        ]
        self._ending = threading.Event()
        self.process = self._start()
        self._keeper = threading.Thread(target=self._keep)
        self._keeper.start()

    def family(self, kind: str) -> list[psutil.Process]:
        """Return the running processes of a kind: server, guardian, tritonserver or stub."""
        with contextlib.suppress(psutil.NoSuchProcess):
            server = psutil.Process(self.process.pid)
            everyone = [server, *server.children(recursive=True)]
            return [process for process in everyone if _kind(process, server) == kind]
        return []

    @property
    def is_ready(self) -> bool:
        """Whether it has loaded every model."""
        try:
            url = f"http://{self.http_url}/v2/health/ready"
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, http.client.HTTPException):
            return False

    def memory_mb(self) -> float:
        """Return the resident memory of all its processes, 10^6 bytes."""
        total = 0.0
        for kind in ("server", "guardian", "tritonserver", "stub"):
            for process in self.family(kind):
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += process.memory_info().rss / 1e6
        return total

    def stop(self) -> None:
        """End it in order, for good."""
        self._ending.set()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._keeper.join()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(self._command, stderr=log)

    def _keep(self) -> None:
        while True:
            self.process.wait()
            if self._ending.is_set():
                return
            time.sleep(_POLL_S)
            self.process = self._start()


def _kind(process: psutil.Process, server: psutil.Process) -> str:
    try:
        words = " ".join(process.cmdline())
    except psutil.Error:
        return "gone"
    if process == server:
        return "server"
    for kind, mark in (
        ("guardian", "guardian.py"),
        ("stub", "triton_python_backend_stub"),
        ("tritonserver", "bin/tritonserver"),
    ):
        if mark in words.partition(" --")[0]:
            return kind
    return "other"


class Probe:
    """Asks for the score of one window over and over.

    Attributes:
        answered: when there was an answer, rising, in seconds.
    """

    def __init__(self, url: str) -> None:
        self.answered: list[float] = []
        self._asked = 0.0  # when, for the last answer
        self._url = url
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        self._thread.join()

    def wait_for_answer(self, since: float, timeout_s: float) -> bool:
        """Wait for an answer to what was asked after `since`; return whether it came in time."""
        return wait_until(lambda: self._asked > since, timeout_s)

    def _ask(self) -> None:
        request = chunk_request(windows=1, vshift=0)
        options = [
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
        ]
        with grpc.insecure_channel(self._url, options=options) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            while not self._ending.wait(_PROBE_EVERY_S):
                asked = time.monotonic()
                with contextlib.suppress(grpc.RpcError):
                    # No short time limit: a request that is given up is a fault of its own.
                    stub.ModelInfer(request, timeout=_PROBE_TIMEOUT_S)
                    self.answered.append(time.monotonic())
                    self._asked = asked


class Client:
    """`syncnet-client score` on a folder that fills, run until every clip in it is scored.

    Clips come into the folder by and by, so that there is work while faults last.
    """

    def __init__(self, url: str, clips: Sequence[Path], folder: Path, jobs: int) -> None:
        self.results = folder / "results.jsonl"
        self.runs = 0
        self._url = url
        self._waiting = list(clips)
        self._released = 0
        self._inbox = folder / "inbox"
        self._inbox.mkdir()
        self._log = folder / "client.log"
        self._jobs = jobs
        self._ending = threading.Event()
        self.process: subprocess.Popen[bytes] | None = None
        self._lines_at_start = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def release(self, count: int) -> None:
        """Let the client see `count` clips in all."""
        while self._released < count and self._waiting:
            clip = self._waiting.pop(0)
            os.link(clip, self._inbox / clip.name)
            self._released += 1

    @property
    def is_scoring(self) -> bool:
        """Whether a client runs that has scored a clip already, and has some before it."""
        running = self.process is not None and self.process.poll() is None
        return running and self._lines() > self._lines_at_start

    @property
    def is_done(self) -> bool:
        return not self._waiting and len(self._scored()) >= self._released

    def records(self) -> list[dict[str, Any]]:
        """Return what was written, without a last line that is not whole."""
        if not self.results.exists():
            return []
        lines = self.results.read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def stop(self) -> None:
        self._ending.set()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self._thread.join()

    def _scored(self) -> set[str]:
        return {record["clip"] for record in self.records() if "error" not in record}

    def _lines(self) -> int:
        return self.results.read_bytes().count(b"\n") if self.results.exists() else 0

    def _run(self) -> None:
        while not self._ending.wait(_POLL_S):
            if len(self._scored()) >= self._released:
                continue
            self._lines_at_start = self._lines()
            with self._log.open("ab") as log:
                self.process = subprocess.Popen(
                    [
                        *(sys.executable, "-m", "syncnet_client", "score", self._inbox),
                        *("--output", self.results, "--jobs", str(self._jobs)),
                        *("--url", self._url, "--crop", "none", "--chunk", "20"),
                    ],
                    stdout=log,
                    stderr=log,
                )
            self.runs += 1
            self.process.wait()


class Site:
    """Servers, what is in front of them, and what asks them.

    Attributes:
        paused: (start, end) of the times in which a fault held a disk full, in seconds.
        faults: when each began that has hit it, and its kind.
    """

    def __init__(
        self,
        name: str,
        url: str,
        replicas: Sequence[Replica],
        clips: Sequence[Path],
        folder: Path,
        jobs: int,
    ) -> None:
        self.name = name
        self.replicas = list(replicas)
        self.url = url
        self.paused: list[tuple[float, float]] = []
        self.faults: list[tuple[float, str]] = []
        self.probe = Probe(url)
        self.clips = list(clips)
        self._folder, self._jobs = folder, jobs
        self.client: Client | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every replica is ready."""
        return all(replica.is_ready for replica in self.replicas)

    def start_client(self) -> Client:
        self.client = Client(self.url, self.clips, self._folder, self._jobs)
        return self.client

    def memory_mb(self) -> float:
        return sum(replica.memory_mb() for replica in self.replicas)

    @classmethod
    @contextlib.contextmanager
    def running(
        cls, name: str, repository: Path, clips: Sequence[Path], folder: Path, jobs: int
    ) -> Iterator[Site]:
        """Start a site; on leaving, everything ends in order.

        Args:
            name: "alone" for one server, "replicas" for two behind nginx.
            folder: for its results, logs and configuration; made here.
        """
        folder.mkdir()
        with contextlib.ExitStack() as stack:
            count = 1 if name == "alone" else 2
            replicas = []
            for number in range(count):
                replicas.append(Replica(repository, folder / f"server-{number}.log"))
                stack.callback(replicas[-1].stop)
            url = replicas[0].grpc_url
            if count > 1:
                if not shutil.which("nginx"):
                    raise FileNotFoundError("nginx")
                balancer = folder / "nginx"
                balancer.mkdir()
                urls = [replica.grpc_url for replica in replicas]
                url = stack.enter_context(running_balancer(balancer, urls)).url
            site = cls(name, url, replicas, clips, folder, jobs)
            stack.callback(site.probe.stop)
            yield site
            if site.client is not None:
                site.client.stop()
