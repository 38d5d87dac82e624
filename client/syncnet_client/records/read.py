"""Read files of records, also while a batch is writing them: the newest record of each clip."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from syncnet_client.errors import UsageError
from syncnet_client.extras import require
from syncnet_client.records.open import FORMATS
from syncnet_client.records.record import COLUMNS, Record

__all__ = ["read_rows"]

_KINDS = {column.name: column.kind for column in COLUMNS}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a file or folder of records.

    Args:
        path: what ``score --output`` wrote, as its suffix says; a folder without one is Parquet.

    Returns:
        The values of ``COLUMNS`` for each clip, in the order in which the clips first came. Of
        several attempts at a clip the last one counts. CSV files have no lists.

    Raises:
        UsageError: there is no such file, or it holds something else.
        SyncNetError: pyarrow is not installed.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file")
    suffix = ".parquet" if path.is_dir() else path.suffix.lower()
    if suffix not in _READERS:
        raise UsageError(f"{path} is not a file of records: it is none of {', '.join(FORMATS)}")
    rows: dict[str, dict[str, Any]] = {}
    try:
        for row in _READERS[suffix](path):
            rows[row["clip"]] = row
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise UsageError(f"{path} holds something that is not a record") from error
    if not rows:
        raise UsageError(f"{path} holds no records")
    return list(rows.values())


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):  # a record that is being written, or that a kill cut off
                yield Record.from_json(line.decode()).to_row()


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        for texts in csv.DictReader(file):
            if None in texts or None in texts.values():
                continue  # half a row at the end
            yield {name: _value(_KINDS[name], text) for name, text in texts.items()}


def _value(kind: str, text: str) -> Any:
    if kind == "string":
        return text
    if text == "":
        return None
    if kind == "bool_":
        return text == "True"
    return int(text) if kind.startswith("int") else float(text)


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    parquet = require("pyarrow.parquet", extra="parquet")
    arrow = require("pyarrow", extra="parquet")
    try:
        for part in sorted(path.glob("part-*.parquet")):
            yield from parquet.read_table(part).to_pylist()
    except arrow.ArrowException as error:
        raise ValueError(str(error)) from error
    for journal in sorted(path.glob("_journal-*.jsonl")):
        yield from _json_lines(journal)


_READERS = {".jsonl": _json_lines, ".csv": _csv, ".parquet": _parquet}
