"""Chunks of one clip over one bidirectional gRPC stream, which is replaced when it breaks."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc

from syncnet_client.chunks import Chunk
from syncnet_client.closing import Closing
from syncnet_client.transport.base import ChunkAnswer
from syncnet_client.transport.messages import chunk_distances, chunk_request, with_frames_inside
from syncnet_client.transport.retry import Backoff, Doubt, Failure
from syncnet_client.transport.shared_memory import SharedMemory, SharedRegion
from syncnet_client.waiting import get

__all__ = ["GrpcChunkStream"]

# For the server to answer what it owes when a stream ends early. Triton 24.10 may die of streams of
# an ensemble that are cancelled, and does not of those that are ended and read to their end.
ORDERLY_CLOSE_S = 3.0


@dataclass
class _Pending:
    """A chunk without an answer: its request, which can be sent again, in place of its frames."""

    track: int
    first_window: int
    windows: int
    request: bytes
    region: SharedRegion | None  # holds the frames that the request does not
    doubt: Doubt = field(default_factory=Doubt)


class _Call:
    """One stream RPC: requests go in at one end, a thread puts what comes back into a queue."""

    def __init__(self, start: Callable[[Iterator[bytes]], Any]) -> None:
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()  # responses, at last a Failure
        self._rpc = start(iter(self._requests.get, None))
        self._reader = threading.Thread(target=self._read, name="syncnet-answers", daemon=True)
        self._reader.start()

    def send(self, request: bytes) -> None:
        self._requests.put(request)

    def end(self) -> None:
        """Send nothing more; the server then answers what it owes and ends the stream."""
        self._requests.put(None)

    def wait(self, timeout_s: float) -> None:
        """Wait for the server to end the stream."""
        self._reader.join(timeout_s)

    def close(self, *, wait_s: float) -> None:
        """End the stream; cancel it if the server has not ended it within `wait_s`."""
        self.end()
        self.wait(wait_s)
        self._rpc.cancel()
        self._reader.join()

    def _read(self) -> None:
        try:
            for response in self._rpc:
                self.events.put(response)
        except grpc.RpcError as error:
            self.events.put(Failure.of_rpc(error))
        else:
            self.events.put(Failure("UNAVAILABLE", "the server ended the stream"))


class GrpcChunkStream(Closing):
    """A ``ChunkStream``; see there for its methods.

    Each chunk is kept until its answer is there. When the stream breaks for a reason that may
    pass, a new one is opened after a while and everything unanswered is sent again. Chunks hold
    no state in the server, so it does not matter whether it had seen them, and an answer
    that comes twice is dropped.

    A request that fails inside a stream comes back as a sentence without a status code, and
    nobody can tell a full queue from a wrong shape. So it is repeated as a call of its own, whose
    status says whether to go on. (Triton's header ``triton_grpc_error`` would give the stream a
    status, but also end it for the chunks that are being computed.)

    Whatever is sent a second time carries its frames with it: a server that has restarted knows
    no shared memory.

    Args:
        start: opens the RPC for an iterator of serialised requests.
        infer: answers one request outside of the stream, with new attempts where these help.
        backoff: decides about further attempts.
        shared_memory: where frames go if the server can read them there.
        in_flight: chunks that may be unanswered; bounds the memory.
        timeout_s: a stream that owes answers and gives none for so long counts as broken.
    """

    def __init__(
        self,
        start: Callable[[Iterator[bytes]], Any],
        infer: Callable[[bytes], Any],
        backoff: Backoff,
        shared_memory: SharedMemory,
        *,
        in_flight: int,
        timeout_s: float,
    ) -> None:
        self._start = start
        self._infer = infer
        self._backoff = backoff
        self._shared_memory = shared_memory
        self._in_flight = in_flight
        self._timeout_s = timeout_s
        self._ids = itertools.count()
        self._pending: dict[str, _Pending] = {}
        self._answers: list[ChunkAnswer] = []
        self._call: _Call | None = None
        self._unsent: bytes | None = None

    @property
    def unanswered(self) -> int:
        """Chunks whose answers have not been seen yet."""
        return len(self._pending)

    def send(self, chunk: Chunk) -> None:
        """Send a chunk; see ``ChunkStream``.

        It leaves with the next ``send``, ``received`` or ``finish``, once the caller has let go of
        the chunk: gRPC copies the request, and the frames need not be in memory a third time then.
        """
        self._send_unsent()
        while len(self._pending) >= self._in_flight:
            self._wait_for_event()
        request_id = str(next(self._ids))
        region = self._shared_memory.acquire(chunk.frames.nbytes)
        request = chunk_request(request_id, chunk, region)
        pending = _Pending(chunk.track, chunk.first_window, chunk.windows, request, region)
        self._pending[request_id] = pending
        self._unsent = request

    def received(self) -> list[ChunkAnswer]:
        """The answers that have come since the last call; see ``ChunkStream``."""
        self._send_unsent()
        while self._call is not None and not self._call.events.empty():
            self._wait_for_event()
        answers, self._answers = self._answers, []
        return answers

    def finish(self) -> list[ChunkAnswer]:
        """Wait until every chunk is answered; see ``ChunkStream``."""
        self._send_unsent()
        while self._pending:
            self._wait_for_event()
        return self.received()

    def close(self) -> None:
        """Give up what is unanswered; see ``ChunkStream``."""
        self._unsent = None
        if self._call is not None:
            self._call.close(wait_s=ORDERLY_CLOSE_S)
            self._call = None
        for pending in self._pending.values():
            self._release(pending)
        self._pending.clear()

    def end(self) -> None:
        """Send nothing more; for another thread, which then waits with `wait_for_end`."""
        if (call := self._call) is not None:
            call.end()

    def wait_for_end(self, timeout_s: float) -> None:
        """Wait for the server to answer what it owes and to end the stream."""
        if (call := self._call) is not None:
            call.wait(timeout_s)

    def _send_unsent(self) -> None:
        if self._unsent is not None:
            if self._call is None:
                self._call = _Call(self._start)
            self._call.send(self._unsent)
            self._unsent = None

    def _whole_request(self, pending: _Pending) -> bytes:
        """The request to repeat after a failure."""
        if pending.region is not None:
            pending.request = with_frames_inside(pending.request, pending.region)
            self._shared_memory.invalidate(pending.region)
            self._release(pending)
        return pending.request

    def _release(self, pending: _Pending) -> None:
        if pending.region is not None:
            self._shared_memory.release(pending.region)
            pending.region = None

    def _wait_for_event(self) -> None:
        assert self._call is not None, "chunks are pending only on an open stream"
        try:
            event = get(self._call.events, self._timeout_s)
        except queue.Empty:
            event = Failure("DEADLINE_EXCEEDED", f"no answer within {self._timeout_s:g} s")
        if isinstance(event, Failure):
            self._reopen(event)
        elif not event.error_message:
            self._take(event.infer_response)
        elif failed := self._pending.get(event.infer_response.id):
            self._take(self._infer(self._whole_request(failed)))
        else:
            self._reopen(Failure("UNKNOWN", event.error_message))

    def _take(self, response: Any) -> None:
        pending = self._pending.get(response.id)
        if pending is None:
            return  # a second answer to the same chunk
        distances = chunk_distances(response, pending.windows)
        self._release(self._pending.pop(response.id))
        self._answers.append(ChunkAnswer(pending.track, pending.first_window, distances))
        self._backoff.answered()

    def _reopen(self, failure: Failure) -> None:
        """Send what is pending over a new stream, unless the failure is there to stay."""
        assert self._call is not None
        self._call.close(wait_s=0)
        self._call = None
        if not self._pending:
            return  # all was answered before the stream broke
        for pending in self._pending.values():
            pending.doubt.note(failure)
        self._backoff.wait(failure, max(pending.doubt.count for pending in self._pending.values()))
        self._call = _Call(self._start)
        for pending in self._pending.values():
            self._call.send(self._whole_request(pending))
