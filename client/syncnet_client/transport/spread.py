"""Chunks of one clip over several streams, so that several servers behind a balancer share it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from syncnet_client.chunks import Chunk
from syncnet_client.closing import Closing
from syncnet_client.transport.base import ChunkAnswer
from syncnet_client.transport.stream import GrpcChunkStream

__all__ = ["SpreadStream"]


class SpreadStream(Closing):
    """A ``ChunkStream`` made of others.

    A balancer chooses a server for each stream, not for each chunk: on a single stream, one server
    gets all of a clip. Here a chunk goes to the stream that owes the fewest answers; of equals, to
    the one that has waited longest for a chunk.
    """

    def __init__(self, streams: Sequence[GrpcChunkStream]) -> None:
        self._streams = list(streams)  # the one that got the last chunk is at the end
        self._answers: list[ChunkAnswer] = []

    def send(self, chunk: Chunk) -> None:
        """Send a chunk; see ``ChunkStream``."""
        self._collect()
        stream = min(self._streams, key=lambda each: each.unanswered)
        self._streams.remove(stream)
        self._streams.append(stream)
        stream.send(chunk)

    def received(self) -> list[ChunkAnswer]:
        """The answers that have come since the last call; see ``ChunkStream``."""
        self._collect()
        answers, self._answers = self._answers, []
        return answers

    def finish(self) -> list[ChunkAnswer]:
        """Wait until every chunk is answered; see ``ChunkStream``."""
        for stream in self._streams:
            self._answers += stream.finish()
        return self.received()

    def close(self) -> None:
        """Give up what is unanswered; see ``ChunkStream``."""
        with ExitStack() as stack:
            for stream in self._streams:
                stack.callback(stream.close)

    def _collect(self) -> None:
        for stream in self._streams:
            self._answers += stream.received()
