"""The server's life: it starts, serves, says what is wrong, and leaves nothing behind."""

from __future__ import annotations

import http.client
import http.server
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import tiny
import tritonclient.grpc
from conftest import MODEL_REPOSITORY

from syncnet_server import Server, ServingError

pytestmark = pytest.mark.server

COMMAND = [sys.executable, "-c", "from syncnet_server.cli import main; main()"]
FREE_PORTS = ["--grpc-port=0", "--http-port=0", "--metrics-port=0"]


@pytest.fixture
def tiny_repository(tmp_path: Path) -> Path:
    return tiny.write_tiny(tmp_path / "repository")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary directory of this test's own, for its processes, too."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def run_cli(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120)


@pytest.fixture
def cli(tiny_repository: Path, temporary: Path) -> Iterator[subprocess.Popen[str]]:
    """`syncnet-server` serving the tiny model, ready."""
    del temporary  # only to be set before
    command = [*COMMAND, *FREE_PORTS, f"--model-repository={tiny_repository}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("serving on gRPC 127.0.0.1:")
        yield process
        process.kill()


# --- It serves -------------------------------------------------------------------------------


def test_serves_every_model_of_the_repository(server: Server) -> None:
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        assert client.is_server_ready()
        for config in MODEL_REPOSITORY.glob("*/config.pbtxt"):
            assert client.is_model_ready(config.parent.name)


def test_generates_nothing_in_the_repository(server: Server, narrow_repository: Path) -> None:
    assert server.grpc_url
    ours = {path.relative_to(MODEL_REPOSITORY) for path in MODEL_REPOSITORY.rglob("*.p*")}
    served = {path.relative_to(narrow_repository) for path in narrow_repository.rglob("*.p*")}
    assert served == {path for path in ours if path.suffix != ".pyc"}


def test_stops_without_a_trace(tiny_repository: Path, temporary: Path) -> None:
    others, before = set(tiny.tree(os.getpid())), set(tiny.traces(os.getpid(), temporary))
    with Server(tiny_repository) as server:
        assert tiny.double(server.grpc_url, [0.0, 0.25]) == [0.0, 0.5]
        processes = set(tiny.tree(os.getpid())) - others
        names = {process.name() for process in processes}
        assert {"tritonserver", "triton_python_backend_stub"} < names
        assert set(tiny.traces(os.getpid(), temporary)) > before
    assert tiny.gone(processes)
    assert set(tiny.traces(os.getpid(), temporary)) == before
    assert list(temporary.iterdir()) == []


def test_listens_on_loopback_alone(server: Server) -> None:
    addresses = {
        connection.laddr.ip.removeprefix("::ffff:")
        for process in tiny.tree(os.getpid())
        if process.name() == "tritonserver"
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}
    assert server.grpc_url.startswith("127.0.0.1:")


def test_can_be_started_again(tiny_repository: Path) -> None:
    server = Server(tiny_repository)
    for _ in range(2):
        with server:
            assert tiny.double(server.grpc_url, [0.5]) == [1.0]
    with server, pytest.raises(ServingError, match="started already"):
        server.start()


def test_requests_in_flight_are_answered_when_the_server_stops(tiny_repository: Path) -> None:
    answers: list[list[float]] = []
    with Server(tiny_repository) as server:
        url = server.grpc_url
        asking = threading.Thread(target=lambda: answers.append(tiny.double(url, [1.0])))
        asking.start()
        assert tiny.wait_for((tiny_repository / "tiny" / "1" / "busy").exists)
    asking.join()
    assert answers == [[2.0]]


def test_profile_chooses_configurations(tiny_repository: Path) -> None:
    configs = tiny_repository / "tiny" / "configs"
    configs.mkdir()
    (configs / "small.pbtxt").write_text(tiny.CONFIG.replace("8", "2", 1))
    with (
        Server(tiny_repository, "small") as server,
        tritonclient.grpc.InferenceServerClient(server.grpc_url) as client,
    ):
        assert client.get_model_config("tiny").config.max_batch_size == 2
    with pytest.raises(ServingError, match=r"no profile 'smal' in .*; there are: default, small$"):
        Server(tiny_repository, "smal").start()


def test_log_file_is_kept_and_appended_to(tiny_repository: Path, tmp_path: Path) -> None:
    log = tmp_path / "triton.log"
    log.write_text("earlier\n")
    with Server(tiny_repository, log_file=log, verbose=1) as server:
        assert not server.log.startswith("earlier")
        assert "successfully loaded 'tiny'" in server.log
    assert log.read_text().startswith("earlier\n")
    assert "successfully unloaded 'tiny'" in log.read_text()


def test_traces_reach_an_opentelemetry_collector(tiny_repository: Path) -> None:
    received: list[tuple[str, bytes]] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever).start()
        url = f"http://127.0.0.1:{collector.server_port}/v1/traces"
        settings = ["mode=opentelemetry", "level=TIMESTAMPS", "rate=1", f"opentelemetry,url={url}"]
        with Server(tiny_repository, trace=settings) as server:
            tiny.double(server.grpc_url, [0.0])
            assert tiny.wait_for(lambda: bool(received))
        collector.shutdown()
    assert received[0][0] == "/v1/traces"
    assert b"tiny" in b"".join(body for _, body in received)


# --- It leaves nothing behind ------------------------------------------------------------------

PARENT = """
import sys, threading, time
from syncnet_server import Server
server = Server(sys.argv[1])
# The thread that starts the server may end long before the process does.
starting = threading.Thread(target=server.start)
starting.start()
starting.join()
print(server.grpc_url, flush=True)
time.sleep(600)
"""


def test_nothing_is_left_when_the_parent_is_killed(tiny_repository: Path, temporary: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tiny_repository)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        assert tiny.double(url, [0.5]) == [1.0]
        processes = tiny.tree(parent.pid)
        assert len(processes) >= 4  # parent, guardian, tritonserver, stub
        parent.kill()
        assert tiny.wait_for(lambda: tiny.gone(processes))
    assert list(temporary.iterdir()) == []
    assert tiny.traces(parent.pid, temporary) == []


def test_nothing_is_left_when_the_guardian_is_killed(
    tiny_repository: Path, temporary: Path
) -> None:
    others, before = set(tiny.tree(os.getpid())), set(tiny.traces(os.getpid(), temporary))
    with Server(tiny_repository) as server:
        processes = set(tiny.tree(os.getpid())) - others
        (guardian,) = [p for p in processes if p.ppid() == os.getpid()]
        guardian.kill()
        assert tiny.wait_for(lambda: tiny.gone(processes))
        assert server.wait(10) == "the guardian of tritonserver was killed"
    assert set(tiny.traces(os.getpid(), temporary)) == before
    assert list(temporary.iterdir()) == []


def test_a_forked_child_does_not_keep_the_server_from_stopping(tiny_repository: Path) -> None:
    with Server(tiny_repository):
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        child.start()
    child.kill()
    child.join()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_command_stops_at_a_signal(
    cli: subprocess.Popen[str], temporary: Path, signum: signal.Signals
) -> None:
    processes = tiny.tree(cli.pid)
    cli.send_signal(signum)
    assert cli.wait(60) == 0
    assert cli.stderr is not None
    assert cli.stderr.read() == "stopped\n"
    assert tiny.gone(processes)
    assert list(temporary.iterdir()) == []
    assert tiny.traces(cli.pid, temporary) == []


def test_second_signal_does_not_wait_for_requests(
    cli: subprocess.Popen[str], tiny_repository: Path, temporary: Path
) -> None:
    processes = tiny.tree(cli.pid)
    url = _grpc_url(cli)
    with tritonclient.grpc.InferenceServerClient(url) as client:
        client.async_infer("tiny", [tiny.tensor([600.0])], callback=lambda **_: None)
        assert tiny.wait_for((tiny_repository / "tiny" / "1" / "busy").exists)
        cli.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            cli.wait(2)
        cli.send_signal(signal.SIGINT)
        assert cli.wait(20) == 0
    assert tiny.gone(processes)
    assert tiny.traces(cli.pid, temporary) == []


def _grpc_url(cli: subprocess.Popen[str]) -> str:
    (triton,) = [p for p in tiny.tree(cli.pid) if p.name() == "tritonserver"]
    (port,) = [a.removeprefix("--grpc-port=") for a in triton.cmdline() if "--grpc-port=" in a]
    return f"127.0.0.1:{port}"


def test_signal_while_models_are_loading(tiny_repository: Path, temporary: Path) -> None:
    mark = tiny_repository / "loading"
    tiny.write_tiny(tiny_repository, "slow", f"Path({str(mark)!r}).touch(); time.sleep(600)")
    command = [*COMMAND, *FREE_PORTS, f"--model-repository={tiny_repository}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as cli:
        assert tiny.wait_for(mark.exists)
        processes = tiny.tree(cli.pid)
        cli.terminate()
        assert cli.wait(30) == 0
        assert cli.stderr is not None
        assert cli.stderr.read() == "stopped\n"
    assert tiny.gone(processes)
    assert tiny.traces(cli.pid, temporary) == []


# --- It says what is wrong ---------------------------------------------------------------------


@pytest.mark.parametrize("option", ["grpc-port", "http-port", "metrics-port"])
def test_port_that_is_taken(tiny_repository: Path, option: str) -> None:
    with tiny.taken_port() as listener:
        port = listener.getsockname()[1]
        outcome = run_cli(*FREE_PORTS, f"--{option}={port}", "--model-repository", tiny_repository)
    assert outcome.returncode == 1
    assert (
        outcome.stderr
        == f"syncnet-server: cannot listen on 127.0.0.1:{port}: Address already in use\n"
    )


def test_model_that_fails_to_load(tiny_repository: Path, temporary: Path) -> None:
    tiny.write_tiny(tiny_repository, "broken", "raise ValueError('no weights today')")
    outcome = run_cli(*FREE_PORTS, "--model-repository", tiny_repository)
    assert outcome.returncode == 1
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("syncnet-server: tritonserver did not start: model broken version 1: ")
    assert line.endswith("ValueError: no weights today")
    assert [path for path in temporary.iterdir() if "syncnet" in path.name] == []


def test_server_that_is_not_ready_in_time(tiny_repository: Path, temporary: Path) -> None:
    before = tiny.traces(os.getpid(), temporary)
    tiny.write_tiny(tiny_repository, "slow", "time.sleep(600)")
    with pytest.raises(ServingError, match=r"not ready within 1 s; last line of its log: .+"):
        Server(tiny_repository, startup_timeout_s=1).start()
    assert tiny.traces(os.getpid(), temporary) == before


def test_option_that_tritonserver_does_not_know(tiny_repository: Path) -> None:
    outcome = run_cli(*FREE_PORTS, "--model-repository", tiny_repository, "--", "--no-such-option")
    assert outcome.returncode == 1
    assert outcome.stderr == (
        "syncnet-server: tritonserver did not start: unrecognized option '--no-such-option'\n"
    )


def test_options_for_tritonserver_are_passed_on(tiny_repository: Path) -> None:
    with Server(tiny_repository, extra_arguments=["--id=somebody"]) as server:
        connection = http.client.HTTPConnection(server.http_url)
        connection.request("GET", "/v2")
        assert json.load(connection.getresponse())["name"] == "somebody"
        connection.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model-repository=/nowhere"], "no model repository: no model in /nowhere"),
        (["--profile=fast"], "no profile 'fast' in "),
        (["--host=no.such.host.invalid"], "cannot listen on no.such.host.invalid: "),
        (["--log-file=/nowhere/triton.log"], "log file /nowhere/triton.log: No such file"),
        (["--admin-key=short"], "the admin key must have at least 16 characters"),
        (["--tls-cert=/nowhere/a", "--tls-key=/nowhere/b"], "TLS certificate /nowhere/a with key"),
    ],
)
def test_bad_values_are_one_line_on_stderr(
    tiny_repository: Path, arguments: list[str], message: str
) -> None:
    outcome = run_cli(f"--model-repository={tiny_repository}", *FREE_PORTS, *arguments)
    assert outcome.returncode == 1
    assert outcome.stderr.startswith(f"syncnet-server: {message}")
    assert outcome.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--tls-cert=a"],
        ["--no-such-option"],
        ["--grpc-port=x"],
        ["--grpc-port=99999"],
        ["-q", "-v"],
    ],
)
def test_usage_errors_have_status_2(arguments: list[str]) -> None:
    outcome = run_cli(*arguments)
    assert outcome.returncode == 2
    assert "Traceback" not in outcome.stderr


def test_a_port_that_is_none_is_named() -> None:
    outcome = run_cli("--grpc-port=99999")
    # The sentence itself is typer's, and another one in other releases.
    line = outcome.stderr.splitlines()[-1]
    assert "--grpc-port" in line
    assert "65535" in line


def test_version_and_help() -> None:
    assert run_cli("--version").stdout.startswith("syncnet-server ")
    assert run_cli("-h").stdout == run_cli("--help").stdout


def test_quiet_says_nothing_but_errors(tiny_repository: Path) -> None:
    command = [*COMMAND, *FREE_PORTS, f"--model-repository={tiny_repository}", "--quiet"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert tiny.wait_for(
            lambda: any(
                p.name() == "triton_python_b" or "stub" in p.name() for p in tiny.tree(process.pid)
            )
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
