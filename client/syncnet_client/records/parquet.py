"""Records as a folder of Parquet parts, which grows by whole files.

A Parquet file cannot be appended to: its index stands at the end. So ``results.parquet`` is a
folder, which pandas, pyarrow, DuckDB, Polars and Spark read as one table::

    part-000001.parquet     up to 1000 records; written under another name, then renamed
    part-000002.parquet
    _journal-000003.jsonl   the records of the next part, one per line, as they come

When the journal is full, or at the end of a run, it becomes the part of its number. A kill at any
moment leaves either the journal or the part of a number; if it leaves both, the part is complete
and the journal is deleted. Readers of Parquet skip names that begin with an underscore.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from syncnet_client.errors import SyncNetError, UsageError
from syncnet_client.extras import require
from syncnet_client.records.base import Output, lock
from syncnet_client.records.record import COLUMNS, Record
from syncnet_client.records.text import JsonLinesOutput

__all__ = ["ParquetOutput"]

PART_RECORDS = 1000
PART_BYTES = 32 << 20  # of journal: hours of video have large records


class ParquetOutput(Output):
    """A folder of parts, open for appending.

    Raises:
        UsageError: the path is a file, or the folder holds something else.
        SyncNetError: another process writes to it, or pyarrow is not installed.
    """

    def __init__(self, folder: Path, *, part_records: int = PART_RECORDS) -> None:
        super().__init__()
        self._arrow = require("pyarrow", extra="parquet")
        self._parquet = require("pyarrow.parquet", extra="parquet")
        self._folder = folder
        self._part_records = part_records
        if folder.is_file():
            raise UsageError(f"{folder} is a file; records are written to a folder of that name")
        folder.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(folder, os.O_RDONLY)
        try:
            lock(self._descriptor, folder)
            self._number = self._recover()
            self._journal = JsonLinesOutput(self._journal_path)
            self._pending = sum(1 for _ in self._journal.records())
        except BaseException:
            os.close(self._descriptor)
            raise
        self.done |= self._journal.done
        self._closed = False

    def _write(self, record: Record) -> None:
        self._journal.append(record)
        self._pending += 1
        if self._pending >= self._part_records or self._journal.size >= PART_BYTES:
            self._finish_part()

    def close(self) -> None:
        """Turn the journal into the last part and unlock the folder."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._pending:
                self._finish_part()
            self._journal.close()
            self._journal_path.unlink(missing_ok=True)
        finally:
            os.close(self._descriptor)

    @property
    def _journal_path(self) -> Path:
        return self._folder / f"_journal-{self._number:06}.jsonl"

    def _part_path(self, number: int) -> Path:
        return self._folder / f"part-{number:06}.parquet"

    def _recover(self) -> int:
        """Note what the parts hold, remove what a kill left over; the number of the next part."""
        parts = sorted(self._folder.glob("part-*.parquet"))
        for part in parts:
            for clip, ok in self._read_part(part):
                self._note(clip, ok=ok)
        numbers = [int(part.stem.removeprefix("part-")) for part in parts]
        number = max(numbers, default=0) + 1
        for leftover in self._folder.glob("_*"):
            if leftover.name != f"_journal-{number:06}.jsonl":
                leftover.unlink()
        return number

    def _read_part(self, part: Path) -> Iterator[tuple[str, bool]]:
        try:
            table = self._parquet.read_table(part, columns=["clip", "status"])
        except (self._arrow.ArrowException, OSError) as error:
            raise UsageError(f"{part} is not a part of records: {error}") from error
        for clip, status in zip(*(column.to_pylist() for column in table.columns), strict=True):
            yield _restored(clip), status == "ok"

    def _finish_part(self) -> None:
        rows = [_storable(record.to_row()) for record in self._journal.records()]
        table = self._arrow.Table.from_pylist(rows, schema=self._schema())
        temporary = self._folder / f"_part-{self._number:06}.tmp"
        try:
            with temporary.open("wb") as file:
                self._parquet.write_table(table, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._part_path(self._number))
        except OSError as error:
            raise SyncNetError(f"cannot write to {self._folder}: {error.strerror}") from error
        self._journal.close()
        self._journal_path.unlink()
        self._pending = 0
        self._number += 1
        self._journal = JsonLinesOutput(self._journal_path)

    def _schema(self) -> Any:
        arrow = self._arrow
        kinds = {
            "list_float32": arrow.list_(arrow.float32()),
            "list_float64": arrow.list_(arrow.float64()),
        }
        fields = [
            (column.name, kinds.get(column.kind) or getattr(arrow, column.kind)())
            for column in COLUMNS
        ]
        return arrow.schema(fields)


def _storable(row: dict[str, Any]) -> dict[str, Any]:
    r"""A row whose texts are UTF-8: a byte of a file name that is none becomes ``\udcXX``."""
    return {
        name: value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for name, value in row.items()
    }


def _restored(name: str) -> str:
    """The file name that ``_storable`` was given."""
    return re.sub(r"\\udc([89a-f][0-9a-f])", lambda byte: chr(0xDC00 + int(byte[1], 16)), name)
