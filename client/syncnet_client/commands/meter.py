"""The progress of one clip, on standard error if that is a terminal."""

from __future__ import annotations

import time

from rich.status import Status
from typing_extensions import Self

from syncnet_client.closing import Closing
from syncnet_client.contract import FRAMES_PER_SECOND
from syncnet_client.scoring.clip import Progress
from syncnet_programs.terminal import progress_console

__all__ = ["ClipMeter"]


class ClipMeter(Closing):
    """A line with the seconds of video scored so far, gone when the clip is done."""

    def __init__(self, clip: str) -> None:
        self._clip = clip
        self._started = time.monotonic()
        console = progress_console()
        self._status = Status(clip, console=console) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def close(self) -> None:
        """Take the line away."""
        if self._status is not None:
            self._status.stop()

    def update(self, progress: Progress) -> None:
        """Show how far the clip is."""
        if self._status is None:
            return
        seconds = progress.frames / FRAMES_PER_SECOND
        total = progress.total_frames
        of_total = "" if total is None else f" of {total / FRAMES_PER_SECOND:.0f}"
        speed = seconds / max(time.monotonic() - self._started, 1e-3)
        self._status.update(f"{self._clip}: {seconds:.0f}{of_total} s, {speed:.1f}x real time")
