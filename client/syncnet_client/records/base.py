"""What every file of records has in common: it only grows, and tells a later run what is done.

Every record is handed to the system before the next one is begun. A kill can leave half a record
at the end; the next run cuts it off. A clip that failed is tried again, so it may have several
records: the last one counts. A clip that was scored is never scored again.
"""

from __future__ import annotations

import fcntl
from abc import abstractmethod
from pathlib import Path

from syncnet_client.closing import Closing
from syncnet_client.errors import SyncNetError
from syncnet_client.records.record import Record

__all__ = ["Output", "lock"]


class Output(Closing):
    """A destination of records, open for appending and closed to every other process.

    Attributes:
        done: clips that have been scored, in this run or an earlier one.
    """

    def __init__(self) -> None:
        self.done: set[str] = set()

    def append(self, record: Record) -> None:
        """Add a record."""
        self._write(record)
        self._note(record.clip, ok=record.ok)

    @abstractmethod
    def close(self) -> None:
        """Write everything to disk and close the file."""

    @abstractmethod
    def _write(self, record: Record) -> None: ...

    def _note(self, clip: str, *, ok: bool) -> None:
        if ok:
            self.done.add(clip)


def lock(descriptor: int, path: Path) -> None:
    """Take hold of an open file or folder until it is closed.

    Raises:
        SyncNetError: another process has it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SyncNetError(f"{path} is being written by another run") from error
