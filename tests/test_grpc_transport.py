"""The way to the server: every chunk is answered once, whatever happens in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import fakes
import grpc
import numpy as np
import pytest
from fakes import (
    AnswerLate,
    AnswerTwice,
    Break,
    EndStream,
    Fail,
    FakeTriton,
    Fault,
    Silence,
    assert_answered_once,
    make_chunks,
    sync_metrics,
)
from tiny import wait_for

from syncnet_client.chunks import Chunk
from syncnet_client.errors import (
    InferenceError,
    ModelNotReadyError,
    ServerUnavailableError,
    UsageError,
)
from syncnet_client.transport.base import ChunkAnswer
from syncnet_client.transport.grpc import GrpcOptions, GrpcTransport
from syncnet_client.transport.retry import Backoff, Failure, Kind

FULL = Fail(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size")
REFUSED = Fail(grpc.StatusCode.INVALID_ARGUMENT, "[request id: 1] FRAMES must be uint8")
BROKEN = Fail(grpc.StatusCode.INTERNAL, "Stub process 'mfcc_0_0' is not healthy.")
ANONYMOUS = Fail(grpc.StatusCode.UNAVAILABLE, "something happened", named=False)
LOST = Break(grpc.StatusCode.UNAVAILABLE, "Socket closed")
RESET = Break(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")


CHUNKS = make_chunks(*[3] * 6, vshift=2)


@pytest.fixture(autouse=True)
def impatient_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the decisions of the backoff but not its length."""
    monkeypatch.setattr("syncnet_client.transport.retry.FIRST_DELAY_S", 0.01)


@pytest.fixture
def fake() -> Iterator[FakeTriton]:
    with FakeTriton() as server:
        yield server


def converse(
    server: FakeTriton, chunks: list[Chunk] = CHUNKS, options: GrpcOptions | None = None
) -> list[ChunkAnswer]:
    transport = GrpcTransport(server.url, options)
    answers: list[ChunkAnswer] = []
    try:
        with transport.open_stream() as stream:
            for chunk in chunks:
                stream.send(chunk)
                answers += stream.received()
            answers += stream.finish()
    finally:
        transport.close()
    return answers


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [FULL],
        [None, FULL, FULL, FULL, FULL, None, FULL],
        [None, BROKEN, BROKEN, None, BROKEN],
        [LOST, None, LOST, LOST],
        [None, RESET, None, RESET],
        [AnswerTwice(), None, AnswerTwice()],
        [AnswerLate(), None, AnswerLate(), None],
        [EndStream(), None, EndStream()],
        [None, ANONYMOUS, None, ANONYMOUS],
        [AnswerLate(), FULL, AnswerTwice(), EndStream(), BROKEN, LOST],
    ],
    ids=str,
)
def test_every_chunk_is_answered_once(fake: FakeTriton, faults: list[Fault | None]):
    fake.faults.extend(faults)
    assert_answered_once(converse(fake), CHUNKS)
    assert not fake.faults


def test_a_failed_chunk_does_not_disturb_the_others(fake: FakeTriton):
    fake.faults.extend([None, FULL, None, FULL])
    assert_answered_once(converse(fake), CHUNKS)
    assert fake.streams == 1
    assert len(fake.streamed) == len(CHUNKS)
    assert len(fake.calls) == 2


def test_silence_counts_as_a_broken_stream(fake: FakeTriton):
    fake.faults.extend([None, Silence()])
    assert_answered_once(converse(fake, options=GrpcOptions(timeout_s=1)), CHUNKS)
    assert fake.streams >= 2


def test_a_refusal_is_an_error_with_the_servers_sentence(fake: FakeTriton):
    fake.faults.extend([None] + [REFUSED] * 6)
    with pytest.raises(InferenceError, match="FRAMES must be uint8") as caught:
        converse(fake)
    assert isinstance(caught.value.__cause__, grpc.RpcError)
    assert fake.streams == 1


def test_a_model_that_died_is_waited_for(fake: FakeTriton):
    fake.faults.extend([None] + [BROKEN] * 5)
    assert_answered_once(converse(fake), CHUNKS)
    assert not fake.faults


def test_a_chunk_that_breaks_the_model_after_each_restart_is_given_up(fake: FakeTriton):
    fake.faults.extend([BROKEN, FULL] * 10)
    with pytest.raises(InferenceError, match="not healthy"):
        converse(fake, CHUNKS[:1])
    assert len(fake.calls) == 6


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("INTERNAL", "Failed to increase the shared memory pool size"),
        ("INTERNAL", "No space left on device"),
        ("NOT_FOUND", "Request for unknown model: 'syncnet' has no available versions"),
    ],
)
def test_faults_of_the_server_pass(code: str, sentence: str):
    assert Failure(code, sentence).kind is Kind.PASSING
    assert Failure(code, "something else").kind is not Kind.PASSING


def test_a_chunk_that_always_breaks_the_stream_is_given_up(fake: FakeTriton):
    fake.faults.extend([RESET] * 10)
    with pytest.raises(InferenceError, match="RST_STREAM"):
        converse(fake, CHUNKS[:1])
    assert fake.streams == 3


@pytest.mark.parametrize("fault", [FULL, LOST], ids=str)
def test_a_server_that_stays_away_is_given_up(fake: FakeTriton, fault: Fail | Break):
    fake.faults.extend([fault] * 1000)
    message = rf"has not answered for \d s: {fault.sentence}"
    with pytest.raises(ServerUnavailableError, match=message):
        converse(fake, options=GrpcOptions(retry_timeout_s=0.3))


def test_a_restarted_server_goes_on_where_the_other_stopped():
    with FakeTriton([None, None, Silence()]) as first:
        port = int(first.url.rpartition(":")[2])
        second = FakeTriton()

        def restart() -> None:
            wait_for(lambda: len(first.streamed) > 2, 60)
            first.stop()
            second.start(port)

        restarting = threading.Thread(target=restart)
        restarting.start()
        try:
            assert_answered_once(converse(first), CHUNKS)
        finally:
            restarting.join()
            second.stop()


def test_no_more_chunks_are_in_flight_than_allowed():
    unanswered = 0
    most = 0
    lock = threading.Lock()

    def count(_: object) -> None:
        nonlocal most
        wait_for(lambda: unanswered > 3, 0.02)  # the client runs ahead as far as it may
        with lock:
            most = max(most, unanswered)

    with FakeTriton(before_answer=count) as server:
        transport = GrpcTransport(server.url, GrpcOptions(in_flight=3))
        with transport.open_stream() as stream:
            for chunk in CHUNKS:
                stream.send(chunk)
                with lock:
                    unanswered += 1
                    unanswered -= len(stream.received())
            stream.finish()
        transport.close()
    assert 1 <= most <= 3


def test_closing_gives_up_what_is_unanswered(fake: FakeTriton):
    fake.faults.append(Silence())
    transport = GrpcTransport(fake.url)
    with transport.open_stream() as stream:
        stream.send(CHUNKS[0])
        assert stream.received() == []
        wait_for(lambda: bool(fake.streamed), 60)
    transport.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "syncnet-answers"]


@pytest.mark.parametrize("fault", [Silence(), LOST], ids=str)
def test_closing_the_transport_ends_what_others_do_with_it(fake: FakeTriton, fault: Fault):
    fake.faults.extend([fault] * 1000)
    transport = GrpcTransport(fake.url, GrpcOptions(retry_timeout_s=1000, timeout_s=1000))

    def close_soon() -> None:
        wait_for(lambda: bool(fake.streamed), 60)
        transport.close()

    closing = threading.Thread(target=close_soon)
    closing.start()
    with transport.open_stream() as stream:
        stream.send(CHUNKS[0])
        with pytest.raises(ServerUnavailableError, match="was closed"):
            stream.finish()
    closing.join()
    with pytest.raises(ServerUnavailableError, match="was closed"):
        transport.model_versions()


def test_headers_and_scope_reach_the_server(fake: FakeTriton):
    options = GrpcOptions(headers={"Authorization": "Bearer x"})
    converse(fake, CHUNKS[:1], options)
    assert fake.metadata["authorization"] == "Bearer x"

    transport = GrpcTransport(fake.url, options)
    distances = np.random.default_rng(0).random((7, 21), np.float32)
    metrics = transport.measure(distances, "clip")
    expected = sync_metrics(distances)
    assert fake.scopes == ["clip"]
    assert (metrics.offset, metrics.confidence) == pytest.approx(expected[:2])
    np.testing.assert_array_equal(metrics.frame_confidence, expected.frame_confidence)
    assert transport.model_versions() == {"video_tower": "3", "audio_tower": "3"}
    transport.close()


def test_nine_draws_of_ten_are_not_a_little_less(fake: FakeTriton, monkeypatch: pytest.MonkeyPatch):
    """FP32 holds 0.9 as a little less, and the verdict asks for 0.9."""
    real = fakes.sync_metrics
    monkeypatch.setattr(fakes, "sync_metrics", lambda *rows: real(*rows)._replace(agreement=0.9))
    transport = GrpcTransport(fake.url)
    assert transport.measure(np.ones((20, 5), np.float32), "clip").agreement == 0.9
    transport.close()


def test_a_server_that_is_not_there_is_reported_at_once():
    with FakeTriton() as server:
        url = server.url
    transport = GrpcTransport(url, GrpcOptions(retry_timeout_s=60))
    with pytest.raises(ServerUnavailableError, match=f"no Triton server answers at {url}"):
        transport.check_ready()
    transport.close()


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ((), "has not loaded model syncnet .*out of luck"),
        (("syncnet",), "has no model sync_metrics"),
    ],
)
def test_models_that_are_not_loaded_are_named(models: tuple[str, ...], message: str):
    with FakeTriton(models=models) as server:
        transport = GrpcTransport(server.url)
        with pytest.raises(ModelNotReadyError, match=message):
            transport.check_ready()
        transport.close()


@pytest.mark.parametrize("url", ["http://localhost:8000", "localhost", "", "a b:1"])
def test_addresses_that_cannot_be_meant_are_refused(url: str):
    with pytest.raises(UsageError, match="HOST:PORT"):
        GrpcTransport(url)


def test_options_are_checked(tmp_path):
    with pytest.raises(UsageError, match="in_flight"):
        GrpcOptions(in_flight=0)
    with pytest.raises(UsageError, match="needs its key"):
        GrpcOptions(cert=tmp_path / "cert.pem")
    with pytest.raises(UsageError, match=r"cannot read .*ca\.pem"):
        GrpcTransport("localhost:1", GrpcOptions(ca=tmp_path / "ca.pem"))


def test_delays_double_up_to_a_limit_and_start_again_after_an_answer(monkeypatch):
    monkeypatch.setattr("syncnet_client.transport.retry.FIRST_DELAY_S", 0.25)
    monkeypatch.setattr("random.uniform", max)
    delays: list[float] = []
    backoff = Backoff(1e9, "here", sleep=delays.append, clock=lambda: 0.0)
    failure = Failure("UNAVAILABLE", "gone")
    for _ in range(7):
        backoff.wait(failure, 0)
    backoff.answered()
    backoff.wait(failure, 0)
    assert delays == [0.25, 0.5, 1, 2, 4, 5, 5, 0.25]


def test_a_model_that_is_not_ready_is_named_even_if_the_list_of_models_is_refused() -> None:
    class Reserved(FakeTriton):
        def RepositoryIndex(self, request: object, context: grpc.ServicerContext) -> None:  # noqa: ARG002, N802
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not for you")

    with Reserved(models=()) as server:
        transport = GrpcTransport(server.url)
        with pytest.raises(ModelNotReadyError, match=r"has not loaded model syncnet$"):
            transport.check_ready()
        transport.close()


def test_versions_are_asked_in_one_call_and_kept_for_the_next_clip(fake: FakeTriton) -> None:
    transport = GrpcTransport(fake.url)
    fake.index = {"video_tower": ["1", "3"], "audio_tower": ["3"]}
    fake.questions.clear()
    assert transport.model_versions() == {"video_tower": "3", "audio_tower": "3"}
    assert fake.questions == ["RepositoryIndex"]
    fake.index = {"video_tower": ["4"], "audio_tower": ["4"]}
    assert transport.model_versions(max_age_s=1000) == {"video_tower": "3", "audio_tower": "3"}
    assert fake.questions == ["RepositoryIndex"]
    assert transport.model_versions() == {"video_tower": "4", "audio_tower": "4"}
    transport.close()


def test_versions_are_asked_of_the_models_where_the_index_is_closed(fake: FakeTriton) -> None:
    transport = GrpcTransport(fake.url)
    fake.index = None
    fake.questions.clear()
    assert transport.model_versions() == {"video_tower": fake.version, "audio_tower": fake.version}
    assert fake.questions == ["RepositoryIndex", "ModelMetadata", "ModelMetadata"]
    transport.close()
