"""A clip on several streams: all of them work, and every chunk is answered once all the same."""

from __future__ import annotations

import grpc
import pytest
from fakes import Break, Fail, FakeTriton, Fault, assert_answered_once
from test_grpc_transport import CHUNKS, converse

from syncnet_client.errors import UsageError
from syncnet_client.transport.grpc import GrpcOptions

LOST = Break(grpc.StatusCode.UNAVAILABLE, "Socket closed")
FULL = Fail(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size")


@pytest.fixture(autouse=True)
def impatient_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncnet_client.transport.retry.FIRST_DELAY_S", 0.01)


@pytest.mark.parametrize("streams", [1, 2, 3, 6])
@pytest.mark.parametrize("in_flight", [1, 6])
def test_every_stream_gets_chunks(streams: int, in_flight: int) -> None:
    with FakeTriton() as server:
        options = GrpcOptions(streams=streams, in_flight=in_flight)
        assert_answered_once(converse(server, options=options), CHUNKS)
    assert server.streams == streams
    assert len(server.streamed) == 6
    assert server.streamed.count("0") == streams  # each stream numbers its own chunks


@pytest.mark.parametrize("faults", [[LOST], [None, LOST, LOST], [FULL, None, FULL]])
def test_a_broken_stream_does_not_disturb_the_others(faults: list[Fault | None]) -> None:
    with FakeTriton(faults) as server:
        assert_answered_once(converse(server, options=GrpcOptions(streams=2)), CHUNKS)
    assert not server.faults


def test_there_must_be_a_stream() -> None:
    with pytest.raises(UsageError, match="streams must be at least 1"):
        GrpcOptions(streams=0)
