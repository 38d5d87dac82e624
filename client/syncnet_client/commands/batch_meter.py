"""The progress of a batch on a terminal: clips, speed against real time, time left."""

from __future__ import annotations

import sys

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.text import Text

from syncnet_client.batch.threads import Tally
from syncnet_client.closing import Closing
from syncnet_programs.terminal import progress_console

__all__ = ["BatchMeter"]


class BatchMeter(Closing):
    """A bar on standard error while the context lasts; nothing where that is not a terminal."""

    def __init__(self) -> None:
        self._console = progress_console()
        self._bar: Bar | None = None
        self.tally: Tally | None = None  # once it is known what there is to do

    def start(self, tally: Tally) -> None:
        """Show the tally from now on."""
        self.tally = tally
        if not self._console.is_terminal or tally.total == 0:
            return
        self._bar = Bar(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("clips"),
            _Speed(tally),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            transient=True,
            # Rich would send what is printed to standard error, so that it appears above the bar.
            redirect_stdout=sys.stdout.isatty(),
        )
        self._task = self._bar.add_task("", total=tally.total)
        self._bar.start()

    def advance(self) -> None:
        """Count one finished clip."""
        if self._bar is not None:
            self._bar.advance(self._task)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.stop()


class _Speed(ProgressColumn):
    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    def render(self, task: Task) -> Text:  # noqa: ARG002 (rich passes it)
        return Text(f"{self._tally.speed:.1f}x real time")
