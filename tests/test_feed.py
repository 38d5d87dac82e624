"""Which side of a conversation with the server the other one waits for."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from syncnet_client.chunks import Chunk, Chunker
from syncnet_client.faces import make_cropper
from syncnet_client.media import ArrayMedia
from syncnet_client.scoring.feed import feed


class Clock:
    """Stands in for the clock, and goes on only when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


class Stream:
    """A server that takes some seconds for its last answer."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds

    def send(self, chunk: Chunk) -> None:
        """Nobody computes anything."""

    def received(self) -> Sequence[Any]:
        return ()

    def finish(self) -> Sequence[Any]:
        self._clock.now += self._seconds
        return ()


class Media(ArrayMedia):
    """A source that takes a second for every block."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(np.zeros((50, 224, 224, 3), np.uint8), np.zeros(32_000, np.int16))
        self._clock = clock

    def __next__(self) -> Any:
        block = super().__next__()
        self._clock.now += 1
        return block


class Nothing:
    """Collects nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda _: None


@pytest.mark.parametrize(("seconds", "side"), [(5.0, "server"), (1.0, "client")])
def test_the_log_says_which_side_is_slower(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seconds: float, side: str
) -> None:
    clock = Clock(monkeypatch)
    stream: Any = Stream(clock, seconds)
    with caplog.at_level(logging.INFO, "syncnet_client"):
        for _ in feed(Media(clock), make_cropper("none"), Chunker(), stream, Nothing()):
            pass
    (record,) = caplog.records
    assert record.message == (
        f"waited 2.0 s for frames and {seconds:.1f} s for the server: the {side} is the slower side"
    )
