"""From a source through the server: decode, crop, cut, send, and take the answers as they come.

This is one loop for everything that is scored. What is made of the frames, the sound and the
answers is up to a ``Collector``: one gathers a clip, another the last seconds of a live source.

The log says at last which side the other one waited for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import numpy.typing as npt

from syncnet_client.chunks import Chunk, Chunker
from syncnet_client.faces import CropEvent, Cropper, TrackEnd, TrackFrames
from syncnet_client.media import Media
from syncnet_client.transport.base import ChunkAnswer, ChunkStream

__all__ = ["Collector", "feed"]

_log = logging.getLogger(__name__)


class Collector(Protocol):
    """Receives frames, samples and answers while a source is sent to the server."""

    def take_samples(self, samples: npt.NDArray[np.int16]) -> None:
        """Take the next samples of the source, int16 [n] at 16 kHz."""
        ...

    def take_frames(self, event: TrackFrames) -> None:
        """Take the next frames of a face."""
        ...

    def take_answer(self, answer: ChunkAnswer) -> None:
        """Take the distances of a chunk; chunks may be answered in any order."""
        ...


def feed(
    media: Media, cropper: Cropper, chunker: Chunker, stream: ChunkStream, collector: Collector
) -> Iterator[None]:
    """Send what a source shows, until every chunk of it is answered.

    Args:
        media: frames and samples on one clock, already open.
        cropper: finds the faces in the frames.
        chunker: cuts the chunks, and counts what the source has had so far.
        stream: a conversation with the server.
        collector: takes frames, samples and answers.

    Yields:
        Control to the caller after every block of the source.

    Raises:
        MediaError, NoFaceError: the source cannot be read, or shows no face.
        ServerError: the server cannot score it.
    """
    waits = _Waits()
    blocks = iter(media)
    while True:
        with waits.timed("frames"):
            block = next(blocks, None)
        if block is None:
            break
        chunker.push_clip(len(block.frames), block.samples)
        collector.take_samples(block.samples)
        _push_events(cropper.push(block.frames), chunker, collector)
        with waits.timed("the server"):
            _send(stream, chunker.ready())
            _take(collector, stream.received())
        block = None  # its frames are large, and the caller may take its time
        yield
    _push_events(cropper.flush(), chunker, collector)
    with waits.timed("the server"):
        _send(stream, chunker.finish())
        _take(collector, stream.finish())
    waits.log()


class _Waits:
    """Seconds that passed while one side had to wait for something."""

    def __init__(self) -> None:
        self._seconds = {"frames": 0.0, "the server": 0.0}

    @contextmanager
    def timed(self, reason: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._seconds[reason] += time.monotonic() - began

    def log(self) -> None:
        slower = max(self._seconds, key=lambda reason: self._seconds[reason])
        each = " and ".join(f"{spent:.1f} s for {name}" for name, spent in self._seconds.items())
        side = "the server" if slower == "the server" else "the client"
        _log.info("waited %s: %s is the slower side", each, side)


def _push_events(events: Iterable[CropEvent], chunker: Chunker, collector: Collector) -> None:
    for event in events:
        if isinstance(event, TrackEnd):
            chunker.end_track(event.track)
        elif isinstance(event, TrackFrames):
            collector.take_frames(event)
            first = event.frames[0].index
            chunker.push_frames(event.track, first, (frame.image for frame in event.frames))


def _send(stream: ChunkStream, chunks: Iterable[Chunk]) -> None:
    # A function of its own: the variable of a loop in `feed` would keep the last chunk alive
    # while the next block is decoded.
    for chunk in chunks:
        stream.send(chunk)


def _take(collector: Collector, answers: Iterable[ChunkAnswer]) -> None:
    for answer in answers:
        collector.take_answer(answer)
