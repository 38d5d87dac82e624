"""Records as lines of one text file: JSON objects, or rows of CSV."""

from __future__ import annotations

import csv
import io
import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from syncnet_client.errors import SyncNetError, UsageError
from syncnet_client.records.base import Output, lock
from syncnet_client.records.record import COLUMNS, Record

__all__ = ["CsvOutput", "JsonLinesOutput"]


class _TextOutput(Output):
    """Records as text, one after the other in one file."""

    # What becomes of the bytes of a file name that are no UTF-8; Python holds them as surrogates.
    ENCODING_ERRORS = "surrogateescape"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file = path.open("a+b")
        try:
            lock(self._file.fileno(), path)
            for record in self.records():
                self._note(record.clip, ok=record.ok)
            # Nothing is cut off a file that holds something else: reading it fails first.
            self._file.truncate(sum(len(text) for text in self._complete_texts()))
        except BaseException:
            self._file.close()
            raise

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return os.fstat(self._file.fileno()).st_size

    def records(self) -> Iterator[Record]:
        """Read what has been written, the oldest first.

        Raises:
            UsageError: the file holds something else.
        """
        try:
            for text in self._complete_texts():
                record = self._parse(text.decode(errors=self.ENCODING_ERRORS))
                if record is not None:
                    yield record
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise UsageError(f"{self._path} holds something that is not a record") from error

    def close(self) -> None:
        """Write everything to disk and close the file."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def _append_text(self, text: str) -> None:
        """Write a record past all buffers, whole or not at all.

        Raises:
            SyncNetError: there is no room for it.
        """
        descriptor, size = self._file.fileno(), self.size
        rest = memoryview(text.encode(errors=self.ENCODING_ERRORS))
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        except OSError as error:
            os.truncate(descriptor, size)
            raise SyncNetError(f"cannot write to {self._path}: {error.strerror}") from error

    def _complete_texts(self) -> Iterator[bytes]:
        """The text of each record, its line break included; without half a record at the end."""
        self._file.seek(0)
        for line in self._file:
            if line.endswith(b"\n"):
                yield line

    @abstractmethod
    def _parse(self, text: str) -> Record | None:
        """The record in a text; None for a header."""


class JsonLinesOutput(_TextOutput):
    """One JSON object per line."""

    def _write(self, record: Record) -> None:
        self._append_text(record.to_json() + "\n")

    def _parse(self, text: str) -> Record:
        return Record.from_json(text)


class CsvOutput(_TextOutput):
    """A header and one row per record."""

    HEADER = tuple(column.name for column in COLUMNS if not column.kind.startswith("list"))

    def _write(self, record: Record) -> None:
        if self.size == 0:
            self._append_row(self.HEADER)
        row = record.to_row()
        self._append_row(["" if row[name] is None else row[name] for name in self.HEADER])

    def _append_row(self, values: Iterable[Any]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerow(values)
        self._append_text(text.getvalue())

    def _complete_texts(self) -> Iterator[bytes]:
        # A line break between quotes belongs to a value: a record is complete where a line ends
        # after an even number of quotes.
        record = b""
        for line in super()._complete_texts():
            record += line
            if record.count(b'"') % 2 == 0:
                yield record
                record = b""

    def _parse(self, text: str) -> Record | None:
        (values,) = csv.reader(io.StringIO(text, newline=""), strict=True)
        if tuple(values) == self.HEADER:
            return None
        return Record.from_dict(dict(zip(self.HEADER, values, strict=True)))
