"""A tritonserver that dies comes back, and nothing stays, whoever of its family dies first."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import tiny
import tritonclient.grpc
from test_server import COMMAND, FREE_PORTS
from tritonclient.utils import InferenceServerException

from benchmarks import restart
from syncnet_server import Server, ServingError, guardian
from syncnet_server.restarts import RestartPolicy, Restarts, keep_running, kept_running
from syncnet_server.traces import ending_servers, remove_abandoned

KINDS = ("syncnet_server.cli", "guardian.py", "bin/tritonserver", "python_backend_stub")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tiny.write_tiny(tmp_path / "repository")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary directory of this test's own, for its processes, too."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


class Command:
    """`syncnet-server` serving the tiny model."""

    def __init__(self, repository: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, f"--model-repository={repository}", *(options or FREE_PORTS)],
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.readline()

    def wait_until_serving(self) -> str:
        """Return the address of gRPC."""
        line = self.line()
        match = re.match(r"serving on gRPC (\S+),", line)
        assert match, line
        return match[1]

    def family(self, mark: str) -> list[psutil.Process]:
        """The processes with this in the first words of their command lines."""
        return [
            process
            for process in tiny.tree(self.process.pid)
            if any(mark in word for word in process.cmdline()[:5])
        ]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def serving(repository: Path, temporary: Path) -> Iterator[Command]:
    command = Command(repository)
    yield command
    command.close()
    remove_abandoned(temporary)


def answers(url: str) -> bool:
    try:
        return tiny.double(url, [0.5]) == [1.0]
    except InferenceServerException:
        return False


# --- It comes back --------------------------------------------------------------------------------


@pytest.mark.server
@pytest.mark.parametrize(
    ("mark", "words"),
    [
        ("bin/tritonserver", "tritonserver was killed by SIGKILL; starting it again"),
        ("python_backend_stub", "the process of a Python model (triton_python_b) died, and "),
        ("guardian.py", "the guardian of tritonserver was killed; starting it again"),
    ],
)
def test_it_is_started_again_on_the_same_ports(serving: Command, mark: str, words: str) -> None:
    url = serving.wait_until_serving()
    (victim,) = serving.family(mark)
    before = tiny.tree(serving.process.pid)[1:]
    victim.kill()
    assert serving.line().startswith(words)
    assert re.match(r"serving again after \d+\.\d s \(restart 1\)\n", serving.line())
    assert answers(url)
    assert tiny.gone(before)
    serving.process.send_signal(signal.SIGTERM)
    assert serving.process.wait(60) == 0


@pytest.mark.server
def test_it_is_not_ready_while_it_is_away(serving: Command, repository: Path) -> None:
    url = serving.wait_until_serving()
    tiny.write_tiny(repository, "slow", f"time.sleep(2); Path({str(repository / 'up')!r}).touch()")
    (triton,) = serving.family("bin/tritonserver")
    triton.kill()
    assert "starting it again" in serving.line()
    with tritonclient.grpc.InferenceServerClient(url) as client:
        while not (repository / "up").exists():
            with contextlib.suppress(InferenceServerException):
                assert not client.is_server_ready(client_timeout=1)
    assert serving.line().startswith("serving again")
    assert answers(url)


@pytest.mark.server
def test_it_stays_away_if_told_so(repository: Path, temporary: Path) -> None:
    command = Command(repository, *FREE_PORTS, "--no-restart")
    command.wait_until_serving()
    processes = tiny.tree(command.process.pid)
    command.family("bin/tritonserver")[0].kill()
    assert command.process.wait(60) == 1
    assert command.line() == "syncnet-server: tritonserver was killed by SIGKILL\n"
    assert tiny.gone(processes)
    assert tiny.traces(command.process.pid, temporary) == []
    command.close()


@pytest.mark.server
def test_it_stays_away_when_it_dies_too_often(repository: Path, temporary: Path) -> None:
    command = Command(repository, *FREE_PORTS, "--max-restarts=1", "--restart-window=900")
    command.wait_until_serving()
    for _ in range(2):
        command.family("bin/tritonserver")[0].kill()
        last = command.line()
        if "starting it again" in last:
            command.line()
    assert command.process.wait(60) == 1
    assert last == (
        "syncnet-server: tritonserver was killed by SIGKILL; "
        "that was once more than 1 times in 900 s\n"
    )
    assert list(temporary.iterdir()) == []
    command.close()


@pytest.mark.server
@pytest.mark.parametrize(
    ("mark", "name"),
    [
        ("bin/tritonserver", "tritonserver"),
        ("python_backend_stub", "triton_python_b"),
        ("guardian.py", "the guardian of tritonserver"),
    ],
)
def test_who_is_stopped_is_continued(serving: Command, mark: str, name: str) -> None:
    url = serving.wait_until_serving()
    (victim,) = serving.family(mark)
    victim.suspend()
    assert serving.line() == f"{name} was stopped (SIGSTOP): continued it\n"
    # On a machine that is too busy for all this to happen at once, Triton 2.51 may end itself.
    assert tiny.wait_for(lambda: answers(url))


@pytest.mark.server
def test_a_stopped_server_stops_in_order(serving: Command) -> None:
    serving.wait_until_serving()
    for mark in ("guardian.py", "bin/tritonserver"):
        serving.family(mark)[0].suspend()
    serving.process.send_signal(signal.SIGTERM)
    assert serving.process.wait(60) == 0


@pytest.mark.server
@pytest.mark.usefixtures("temporary")
def test_a_model_that_hangs_is_ended(repository: Path) -> None:
    command = Command(repository, *FREE_PORTS, "--stuck-after=2")
    url = command.wait_until_serving()
    # The first hangs, the second waits behind it.
    load = [threading.Thread(target=fails, args=(url, 600.0)) for _ in range(2)]
    for thread in load:
        thread.start()
    assert re.fullmatch(
        r"the model tiny has let requests wait and done nothing for \d+ s: ending tritonserver\n",
        command.line(),
    )
    assert command.line() == "tritonserver was killed by SIGKILL; starting it again\n"
    assert command.line().startswith("serving again after ")
    for thread in load:
        thread.join()
    assert answers(url)
    command.process.terminate()
    assert command.process.wait(60) == 0
    command.close()


@pytest.mark.server
@pytest.mark.usefixtures("temporary")
def test_a_slow_model_is_left_alone(repository: Path) -> None:
    command = Command(repository, *FREE_PORTS, "--stuck-after=1")
    url = command.wait_until_serving()
    slow: list[list[float]] = []
    load = [
        threading.Thread(target=lambda: slow.append(tiny.double(url, [-2.0]))) for _ in range(2)
    ]
    for thread in load:
        thread.start()
    for thread in load:
        thread.join()
    assert slow == [[-4.0], [-4.0]]
    command.process.terminate()
    assert command.process.wait(60) == 0
    assert command.line() == "stopped\n"
    command.close()


def fails(url: str, *values: float) -> None:
    with pytest.raises(InferenceServerException):
        tiny.double(url, list(values))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_restart_comes_at_once_and_quick_ones_wait_longer_each_time() -> None:
    clock = Clock()
    restarts = Restarts(RestartPolicy(most=100), clock=clock)
    delays = []
    for lived_s in (3600, 1, 1, 1, 1, 1, 1, 1, 1, 1, 60, 1):
        restarts.started()
        clock.now += lived_s
        delays.append(restarts.next_delay_s())
    assert delays == [0, 0, 0.5, 1, 2, 4, 8, 16, 30, 30, 0, 0]


def test_so_many_restarts_in_the_window_and_no_more() -> None:
    clock = Clock()
    restarts = Restarts(RestartPolicy(most=2, window_s=100), clock=clock)
    assert restarts.next_delay_s() is not None
    clock.now += 60
    assert restarts.next_delay_s() is not None
    clock.now += 39
    assert restarts.next_delay_s() is None
    clock.now += 1
    assert restarts.next_delay_s() is not None


def test_a_start_that_fails_is_tried_again() -> None:
    class Flaky:
        restarts = 0

        def restart(self) -> None:
            self.restarts += 1
            if self.restarts == 1:
                raise ServingError("no space")

    server, endings = Flaky(), iter(["killed", "killed again"])
    with pytest.raises(ServingError, match="killed again; that was once more than 2 times"):
        keep_running(
            server,  # type: ignore[arg-type]
            RestartPolicy(most=2),
            lambda _: next(endings),
            sleep=lambda _: None,
        )
    assert server.restarts == 2


def test_a_server_is_kept_running_from_a_thread_until_it_has_ended_too_often() -> None:
    class Short:
        """Ends as soon as it runs."""

        restarts = stops = 0

        def wait(self, _timeout_s: float) -> str:
            return "killed"

        def look_after(self) -> list[str]:
            return []

        def restart(self) -> None:
            self.restarts += 1

        def stop(self) -> None:
            self.stops += 1

    server, gave_up = Short(), threading.Event()

    def keep() -> None:
        with kept_running(
            server,  # type: ignore[arg-type]
            policy=RestartPolicy(most=2),
            gave_up=gave_up.set,
        ):
            assert gave_up.wait(30)

    with pytest.raises(ServingError, match=r"^killed; that was once more than 2 times in 600 s$"):
        keep()
    assert (server.restarts, server.stops) == (2, 1)


def test_the_state_of_a_process_is_seen_and_changed() -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        child = psutil.Process(process.pid)
        child.suspend()
        stopped = guardian.State("sleep", guardian.STOPPED)
        assert tiny.wait_for(lambda: guardian.state_of(process.pid) == stopped)
        assert guardian.continue_stopped(process.pid)
        assert tiny.wait_for(lambda: guardian.state_of(process.pid) != stopped)
        process.kill()
        dead = guardian.State("sleep", guardian.DEAD)
        assert tiny.wait_for(lambda: guardian.state_of(process.pid) == dead)
        process.wait()
        assert guardian.state_of(process.pid) is None
        assert not guardian.continue_stopped(process.pid)


# --- Nothing stays --------------------------------------------------------------------------------


@pytest.mark.server
@pytest.mark.slow
def test_nothing_stays_in_whatever_order_they_die(repository: Path, temporary: Path) -> None:
    """20 families under load: one to four members are killed in a random order."""
    source = random.Random(4)
    numbers = []
    for _ in range(20):
        command = Command(repository)
        numbers.append(command.process.pid)
        url = command.wait_until_serving()
        load = [threading.Thread(target=answers, args=(url,)) for _ in range(4)]
        for thread in load:
            thread.start()
        everyone = tiny.tree(command.process.pid)
        marks = source.sample(KINDS, source.randint(1, len(KINDS)))
        if KINDS[0] not in marks:
            marks.append(KINDS[0])  # it would start the others again
        victims = [process for mark in marks for process in command.family(mark)]
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):  # it went with another
                victim.kill()
        command.process.wait()
        assert tiny.wait_for(lambda everyone=everyone: tiny.gone(everyone)), marks
        for thread in load:
            thread.join()
        command.close()
    # What nobody was left to remove goes when the next server starts.
    with Server(repository):
        assert len(list(temporary.iterdir())) == 1
    assert list(temporary.iterdir()) == []
    for number in numbers:
        assert list(Path("/dev/shm").glob(f"syncnet-server-{number}-*")) == []


@pytest.mark.server
def test_a_server_that_runs_is_not_swept_away(repository: Path, temporary: Path) -> None:
    with Server(repository) as server:
        before = tiny.traces(os.getpid(), temporary)
        remove_abandoned(temporary)
        assert tiny.traces(os.getpid(), temporary) == before
        assert answers(server.grpc_url)
        assert ending_servers(temporary) == []  # its parent is this process


@pytest.mark.server
def test_a_start_right_after_a_kill_gets_the_same_ports(repository: Path, temporary: Path) -> None:
    first = Command(repository)
    url = first.wait_until_serving()
    with tritonclient.grpc.InferenceServerClient(url) as client:
        client.async_infer("tiny", [tiny.tensor([600.0])], callback=lambda **_: None)
        assert tiny.wait_for((repository / "tiny" / "1" / "busy").exists)
        first.process.kill()
        port = f"--grpc-port={url.rpartition(':')[2]}"
        second = Command(repository, port, "--http-port=0", "--metrics-port=0")
    line = second.line()
    if "waiting for the earlier server to end" in line:
        line = second.line()
    assert line.startswith(f"serving on gRPC {url},")
    second.close()
    first.close()
    assert tiny.wait_for(lambda: list(temporary.iterdir()) == [])


@pytest.mark.server
def test_a_stop_while_models_are_loaded_leaves_no_folder(repository: Path, temporary: Path) -> None:
    before = set(Path("/tmp").glob("python_env_*"))
    mark = repository / "loading"
    tiny.write_tiny(repository, "slow", f"Path({str(mark)!r}).touch(); time.sleep(600)")
    command = Command(repository)
    assert tiny.wait_for(mark.exists)
    command.process.send_signal(signal.SIGINT)
    assert command.process.wait(30) == 0
    assert set(Path("/tmp").glob("python_env_*")) <= before
    assert list(temporary.iterdir()) == []
    command.close()


def test_a_stop_that_comes_with_the_start_is_not_lost(temporary: Path) -> None:
    work = temporary / "syncnet-server-0-stopped"
    job = {"work": str(work), "copies": {}, "links": {}, "texts": {}, "edits": {},
           "command": ["sleep", "600"], "environment": dict(os.environ),
           "log": os.devnull, "exit_timeout_s": 1}  # fmt: skip
    told = json.dumps(job).encode() + b"\n" + guardian.STOP_SOON
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", guardian.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(told)
        process.stdin.flush()  # and it stays open, as in a parent that waits
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()
    assert not work.exists()


@pytest.mark.server
def test_shared_memory_is_for_the_owner_alone(repository: Path, temporary: Path) -> None:
    with Server(repository) as server:
        assert answers(server.grpc_url)
        files = [path for path in tiny.traces(os.getpid(), temporary) if path.is_file()]
        assert files
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_ports_that_are_none() -> None:
    for port in (99_999, -1):
        with pytest.raises(ServingError, match=f"a port is a number from 1 to 65535, not {port}"):
            Server(grpc_port=port).start()


def test_a_port_that_somebody_else_has_is_not_waited_for(repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ServingError, match=f"cannot listen on 127.0.0.1:{port}: Address"):
            Server(repository, grpc_port=port).start()


@pytest.mark.server
@pytest.mark.usefixtures("temporary")
def test_a_restart_is_timed_from_the_kill_until_every_model_answers(repository: Path) -> None:
    figures = restart.run(Server(repository), rounds=1)
    times = {name: row["median"] for name, row in figures.items()}
    assert 0 < times["noticed_s"] < times["restart_s"]
    assert times["start_s"] > 0
