"""Pick the source frame that each tick of a 25 fps clock shows.

A tick shows the source frame whose time stamp is nearest to it, so the error in time is at most
half a source frame and zero on average. Taking the last frame at or before the tick instead would
show pictures that are late by half a source frame on average, and would show a frame twice and the
next one never where a container has rounded the time stamps up by a fraction of a millisecond.

A frame is never shown more than half a tick (20 ms) before its time: in a long gap between two
frames the earlier one stays on screen until then, as it does in a player.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

from syncnet_client.contract import FRAMES_PER_SECOND
from syncnet_client.media.time_jumps import refuse_jump

__all__ = ["TICK", "FrameSampler", "Sampled"]

T = TypeVar("T")

TICK = Fraction(1, FRAMES_PER_SECOND)  # seconds
EARLIEST = TICK / 2


@dataclass(frozen=True)
class Sampled(Generic[T]):
    """A source frame, its own time stamp in seconds, and the tick that shows it (from 0)."""

    tick: int
    time: Fraction
    item: T


class FrameSampler(Generic[T]):
    """Sample a sequence of frames at 25 fps, one frame of look-ahead.

    Tick k is at ``start + k/25`` s. The sampler does not look into the items.

    Attributes:
        start: time stamp of the first frame; None before it.
        out_of_order: frames left out because their time stamp is not after the one before.
    """

    def __init__(self) -> None:
        self.start: Fraction | None = None
        self.out_of_order = 0
        self._next_tick = 0
        self._current: tuple[Fraction, T] | None = None
        self._current_end = Fraction(0)

    @property
    def end(self) -> Fraction:
        """Time in seconds at which the last frame pushed leaves the screen."""
        return self._current_end

    def push(self, time: Fraction, duration: Fraction, item: T) -> Iterator[Sampled[T]]:
        """Take the next frame in order of display, and yield the ticks that are settled by it.

        Args:
            time: its time stamp in seconds.
            duration: how long it is shown if no other follows, in seconds.
            item: whatever the caller wants back.

        Raises:
            TimeJumpError: it comes too long after the one before.
        """
        if self._current is None:
            self.start = time
        elif time <= self._current[0]:
            self.out_of_order += 1
            return
        else:
            refuse_jump("video", self._current_end, time)
            shown, current = self._current
            while not self._better(time, shown):
                yield self._emit(shown, current)
            # Some files give nonsense for the duration of a frame; the last one's matters.
            if duration < TICK:
                duration = max(duration, min(time - shown, TICK))
        self._current = (time, item)
        self._current_end = time + duration

    def passes_over(self, before: Fraction, time: Fraction, after: Fraction) -> bool:
        """Whether a frame is shown at no tick; the same frames are shown if it is never pushed.

        Args:
            before: time stamp in seconds of an earlier frame.
            time: that of the frame.
            after: that of a later one, which is not the last.
        """
        if self.start is None or max(time - before, after - time) > TICK:
            return False
        # It is nearest to the ticks between the middles of the gaps.
        begins, ends = (before + time) / 2, (time + after) / 2
        return (begins - self.start) // TICK == (ends - self.start) // TICK

    def finish(self) -> Iterator[Sampled[T]]:
        """Yield the ticks that the last frame is shown at, for at least half a tick each."""
        if self._current is not None:
            shown, current = self._current
            while self._tick_time() + EARLIEST < self._current_end:
                yield self._emit(shown, current)

    def _better(self, new: Fraction, shown: Fraction) -> bool:
        """Whether a frame at ``new`` suits the next tick better than the one at ``shown``."""
        tick = self._tick_time()
        if new <= tick:
            return True
        early = new - tick
        return early <= EARLIEST and early < tick - shown

    def _tick_time(self) -> Fraction:
        assert self.start is not None
        return self.start + self._next_tick * TICK

    def _emit(self, time: Fraction, item: T) -> Sampled[T]:
        sampled = Sampled(self._next_tick, time, item)
        self._next_tick += 1
        return sampled
