"""Frames for a server on this machine: in shared memory where that works, and with no trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from fakes import Break, FakeTriton, Fault, Silence, assert_answered_once, make_chunks
from tritonclient.grpc import InferenceServerClient, service_pb2

from syncnet_client import SyncNetClient
from syncnet_client.chunks import Chunk
from syncnet_client.transport.grpc import GrpcOptions, GrpcTransport
from syncnet_client.transport.shared_memory import SharedMemory
from syncnet_server import Server

SHM = Path("/dev/shm")


def ask(transport: GrpcTransport, chunks: list[Chunk]) -> None:
    """Ask about the chunks and see that each is answered rightly."""
    with transport.open_stream() as stream:
        for chunk in chunks:
            stream.send(chunk)
        answers = stream.finish()
    assert_answered_once(answers, chunks)


def files() -> set[Path]:
    return set(SHM.glob("syncnet-client.*"))


@pytest.fixture
def seen() -> list[bool]:
    """Whether each request's frames were in shared memory, in the order of arrival."""
    return []


@pytest.fixture
def fake(seen: list[bool]) -> Iterator[FakeTriton]:
    def look(request: service_pb2.ModelInferRequest) -> None:
        frames = next(tensor for tensor in request.inputs if tensor.name == "FRAMES")
        seen.append("shared_memory_region" in frames.parameters)
        assert len(request.raw_input_contents) == 3 - seen[-1]

    before = files()
    with FakeTriton(before_answer=look) as server:
        yield server
    assert files() == before


def test_regions_are_used_again_and_ended(fake: FakeTriton, seen: list[bool]) -> None:
    transport = GrpcTransport(fake.url, GrpcOptions(in_flight=2))
    for _ in range(3):
        ask(transport, make_chunks(7, 7, 7, 7, 3))
    assert seen == [True] * 15
    assert len(fake.registered) == len(fake.regions) == 2
    transport.close()
    assert fake.regions == {}


def test_a_larger_chunk_gets_a_larger_region(fake: FakeTriton, seen: list[bool]) -> None:
    transport = GrpcTransport(fake.url, GrpcOptions(in_flight=1))
    ask(transport, make_chunks(3, 9, 3, 9))
    assert seen == [True] * 4
    assert [len(region) for region in fake.regions.values()] == [
        frames * 224 * 224 * 3 for frames in (7, 13)
    ]
    transport.close()


def test_a_server_that_forgot_its_regions_gets_new_ones(fake: FakeTriton, seen: list[bool]) -> None:
    transport = GrpcTransport(fake.url, GrpcOptions(in_flight=1))
    ask(transport, make_chunks(7))
    fake.regions.clear()
    ask(transport, make_chunks(7, 7, 7))
    assert len(fake.calls) == 1  # the one that the server could not find, with its frames inside
    assert seen == [True, True, True, True]
    assert len(fake.registered) == 2
    transport.close()
    assert fake.regions == {}


def test_a_server_that_forgets_each_time_is_no_longer_given_any(
    fake: FakeTriton, seen: list[bool]
) -> None:
    transport = GrpcTransport(fake.url, GrpcOptions(in_flight=1))
    for _ in range(24):
        ask(transport, make_chunks(1))
        fake.regions.clear()
    assert False in seen
    assert seen == sorted(seen, reverse=True)
    transport.close()


@pytest.mark.parametrize(
    "fault", [Silence(), Break(grpc.StatusCode.UNAVAILABLE, "Socket closed")], ids=str
)
def test_a_chunk_is_sent_again_with_its_frames(
    fake: FakeTriton, seen: list[bool], monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr("syncnet_client.transport.retry.FIRST_DELAY_S", 0.01)
    fake.faults.append(fault)
    transport = GrpcTransport(fake.url, GrpcOptions(timeout_s=1))
    ask(transport, make_chunks(7))
    assert seen == [True, False]
    transport.close()
    assert fake.regions == {}


def test_frames_go_with_the_request_where_the_server_refuses() -> None:
    with FakeTriton(shared_memory=False) as server:
        transport = GrpcTransport(server.url)
        ask(transport, make_chunks(7, 7))
        transport.close()
        assert server.registered == []


def test_frames_go_with_the_request_where_they_are_told_to(fake: FakeTriton) -> None:
    transport = GrpcTransport(fake.url, GrpcOptions(shared_memory=False))
    ask(transport, make_chunks(7, 7))
    transport.close()
    assert fake.registered == []


def test_old_servers_do_not_protect_regions_in_use(fake: FakeTriton) -> None:
    fake.triton_version = "2.49.0"
    transport = GrpcTransport(fake.url)
    ask(transport, make_chunks(7))
    transport.close()
    assert fake.registered == []


def test_others_are_left_room(fake: FakeTriton, monkeypatch: pytest.MonkeyPatch) -> None:
    space = os.statvfs(SHM)
    monkeypatch.setattr(
        "syncnet_client.transport.shared_memory._LEAVE_FREE", space.f_bavail * space.f_frsize
    )
    transport = GrpcTransport(fake.url)
    ask(transport, make_chunks(7))
    transport.close()
    assert fake.registered == []


def test_a_server_that_hangs_holds_nobody_up(fake: FakeTriton) -> None:
    class Hung(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.DEADLINE_EXCEEDED

        def details(self) -> str:
            return "Deadline Exceeded"

    asked = []

    def ask(method: str, request: object) -> object:
        asked.append(method)
        if hangs:
            raise Hung
        return getattr(fake, method)(request, None)

    hangs = False
    shared = SharedMemory(ask)
    regions = [shared.acquire(1000) for _ in range(4)]
    assert None not in regions
    hangs = True
    asked.clear()
    shared.close()
    assert asked == ["SystemSharedMemoryUnregister"]


# --- the real server -----------------------------------------------------------------------------


def regions(server: Server) -> set[str]:
    with InferenceServerClient(server.grpc_url) as triton:
        return set(triton.get_system_shared_memory_status().regions)


@pytest.fixture(scope="module")
def arrays() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(4)
    pictures = random.integers(0, 256, (100, 14, 14, 3), np.uint8)
    frames = pictures.repeat(16, axis=1).repeat(16, axis=2)
    return frames, random.integers(-6000, 6000, 100 * 640, np.int16)


@pytest.mark.server
def test_the_server_reads_the_same_frames(
    server: Server, arrays: tuple[np.ndarray, np.ndarray]
) -> None:
    before = files()
    with SyncNetClient(server.grpc_url) as client:
        shared = client.score(arrays, chunk=20)
        assert len(regions(server)) == 2
        assert files() == before
    assert regions(server) == set()
    with SyncNetClient(server.grpc_url, options=GrpcOptions(shared_memory=False)) as client:
        sent = client.score(arrays, chunk=20)
        assert regions(server) == set()
    np.testing.assert_array_equal(shared.speaker.distances, sent.speaker.distances)


@pytest.mark.server
def test_giving_up_leaves_no_region(server: Server) -> None:
    transport = GrpcTransport(server.grpc_url)
    with transport.open_stream() as stream:
        stream.send(make_chunks(20)[0])
        stream.received()  # it leaves
    transport.close()
    assert regions(server) == set()


@pytest.mark.server
def test_the_next_client_ends_what_a_killed_one_left(
    server: Server, arrays: tuple[np.ndarray, np.ndarray]
) -> None:
    script = """
import sys
from fakes import make_chunks
from syncnet_client.transport.grpc import GrpcTransport
stream = GrpcTransport(sys.argv[1]).open_stream()
stream.send(make_chunks(5)[0])
stream.finish()
print("answered", flush=True)
sys.stdin.read()
"""
    before = files()
    with subprocess.Popen(
        [sys.executable, "-c", script, server.grpc_url],
        cwd=Path(__file__).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "answered\n"
        assert len(regions(server)) == 1
        with SyncNetClient(server.grpc_url) as client:  # one that lives is left alone
            client.score(arrays, chunk=50)
        assert len(regions(server)) == 1
        victim.send_signal(signal.SIGKILL)
    assert files() == before
    assert len(regions(server)) == 1
    with SyncNetClient(server.grpc_url) as client:
        client.score(arrays, chunk=50)
    assert regions(server) == set()
