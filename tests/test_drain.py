"""A server that is told to stop takes nothing more, and finishes what it has."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import tiny
from tritonclient.grpc import service_pb2_grpc

from benchmarks.chaos.hostile import chunk_request
from syncnet_server import Server
from syncnet_server.drain import drain, take_no_more

STREAMS, CHUNKS = 3, 3


def serve(pipe: multiprocessing.connection.Connection) -> None:
    """Tell the port and what came; when told so, answer, and tell what has come meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pipe.send(listener.getsockname()[1])
        connected, _ = listener.accept()
        with connected:
            pipe.send(connected.recv(100))
            pipe.recv()
            connected.sendall(bytes(1_000_000))
            connected.setblocking(False)
            try:
                pipe.send(connected.recv(100))
            except BlockingIOError:
                pipe.send(b"")
            pipe.recv()


@dataclass
class Served:
    """A process that runs `serve`, and a client that has sent it something."""

    pid: int
    port: int
    pipe: multiprocessing.connection.Connection
    client: socket.socket


@pytest.fixture
def served() -> Iterator[Served]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    process.start()
    assert process.pid is not None
    port = ours.recv()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"before")
        assert ours.recv() == b"before"
        yield Served(process.pid, port, ours, client)
    process.kill()
    process.join()
    ours.close()
    theirs.close()


@pytest.fixture
def closed(served: Served) -> Served:
    """The same, with its door closed."""
    if take_no_more(served.pid, served.port) == 0:
        pytest.skip("the system does not let a process borrow a socket of its child")
    return served


def test_nothing_comes_in_and_answers_get_out(closed: Served) -> None:
    closed.client.sendall(b"after")
    closed.pipe.send("answer")
    received = 0
    while received < 1_000_000:
        received += len(closed.client.recv(100_000))
    assert closed.pipe.recv() == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", closed.port), timeout=30)


def test_other_ports_stay_open(served: Served) -> None:
    assert take_no_more(served.pid, served.port + 1) == 0
    with socket.create_connection(("127.0.0.1", served.port), timeout=30):
        """It listens."""


def test_a_process_that_is_gone_is_not_waited_for() -> None:
    process = multiprocessing.get_context("spawn").Process(target=print)
    process.start()
    process.join()
    assert process.pid is not None
    assert drain(process.pid, 8001, 600.0)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.usefixtures("closed")  # where that can be done
def test_requests_in_flight_are_answered_while_clients_send_on(
    narrow_repository: Path, tmp_path: Path
) -> None:
    outcomes: Counter[str] = Counter()
    stopping = threading.Event()

    def send(url: str) -> None:
        while not stopping.is_set():
            with grpc.insecure_channel(url) as channel, contextlib.suppress(grpc.RpcError):
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                requests = [chunk_request(windows=20, vshift=5)] * CHUNKS
                for answer in stub.ModelStreamInfer(iter(requests)):
                    outcomes[answer.error_message or "answered"] += 1
            stopping.wait(0.05)

    log = tmp_path / "triton.log"
    server = Server(narrow_repository, log_file=log)
    server.start()
    clients = [threading.Thread(target=send, args=(server.grpc_url,)) for _ in range(STREAMS)]
    for client in clients:
        client.start()
    assert tiny.wait_for(lambda: outcomes["answered"] >= STREAMS * CHUNKS)
    threading.Timer(10, stopping.set).start()
    server.stop()
    stopping.set()
    for client in clients:
        client.join()
    assert "Signal (11)" not in log.read_text()
    assert outcomes.keys() == {"answered"}
