"""The formats of records, by the suffix of the file.

results.jsonl     one JSON object per line: the whole result
results.csv       one row per record, the columns of ``record.COLUMNS`` without the lists
results.parquet   a folder of Parquet parts, see ``parquet``
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from syncnet_client.errors import UsageError
from syncnet_client.records.base import Output
from syncnet_client.records.parquet import ParquetOutput
from syncnet_client.records.text import CsvOutput, JsonLinesOutput

__all__ = ["FORMATS", "open_output"]

FORMATS: dict[str, Callable[[Path], Output]] = {
    ".jsonl": JsonLinesOutput,
    ".csv": CsvOutput,
    ".parquet": ParquetOutput,
}


def open_output(path: Path, *, default: Callable[[Path], Output] | None = None) -> Output:
    """Open ``path`` for appending; its suffix chooses the format.

    Args:
        path: the file, or the folder of Parquet parts.
        default: the format for any other suffix; without one, such a suffix is an error.

    Raises:
        UsageError: the suffix is unknown, or the file holds something else.
        SyncNetError: another process writes to it, or pyarrow is not installed.
    """
    open_format = FORMATS.get(path.suffix.lower(), default)
    if open_format is None:
        raise UsageError(f"cannot write {path}: use one of the suffixes {', '.join(FORMATS)}")
    try:
        return open_format(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
