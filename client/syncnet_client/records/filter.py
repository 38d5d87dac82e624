"""Which clips of a batch meet an expression, and which condition each of the others fails.

DuckDB parses the expression and evaluates it, in a database that holds the records alone and opens
neither files nor extensions.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncnet_client.errors import SyncNetError, UsageError
from syncnet_client.extras import require
from syncnet_client.files import replacing
from syncnet_client.records.record import COLUMNS
from syncnet_client.records.text import CsvOutput

__all__ = ["Selection", "check_kept", "select", "write_kept"]

Row = Mapping[str, Any]

# Lists are not for conditions on a clip.
_TYPES = {"string": "VARCHAR", "bool_": "BOOLEAN", "int32": "INTEGER", "int64": "BIGINT",
          "float64": "DOUBLE"}  # fmt: skip
_COLUMNS = {column.name: _TYPES[column.kind] for column in COLUMNS if column.kind in _TYPES}
_CLOSED = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "lock_configuration": "true",
}


@dataclass(frozen=True)
class Selection:
    """What an expression keeps.

    Attributes:
        kept: the rows that meet it, in their order.
        clips: how many rows there were.
        unscored: clips not kept because they could not be scored, by the type of the error.
        failing: scored clips that do not meet a condition, by the condition; a clip may fail
            several. The conditions are the parts of the expression between ``and``.
    """

    kept: tuple[Row, ...]
    clips: int
    unscored: Mapping[str, int]
    failing: Mapping[str, int]

    @property
    def summary(self) -> str:
        """The counts, a line each."""
        lines = [f"{self.clips} clips: {len(self.kept)} kept, {self.clips - len(self.kept)} not"]
        lines += [f"{count:>7} not scored: {kind}" for kind, count in self.unscored.items()]
        lines += [f"{count:>7} not {condition}" for condition, count in self.failing.items()]
        return "\n".join(lines)


def select(rows: Sequence[Row], where: str) -> Selection:
    """Find the clips that meet an expression.

    Args:
        rows: values of ``records.record.COLUMNS``, one row for each clip.
        where: a condition over the columns in SQL, such as
            ``abs(offset_frames) <= 3 and trusted``. Where a value is missing, a comparison with it
            is not met.

    Raises:
        UsageError: it is no such condition.
        SyncNetError: DuckDB is not installed.
    """
    duckdb = require("duckdb", extra="filter")
    with duckdb.connect(":memory:", config=_CLOSED) as database:
        names = list(_COLUMNS)
        database.execute(
            f"CREATE TABLE clips AS SELECT {', '.join(map(_unnested, names))}",
            {name: [_plain(row.get(name)) for row in rows] for name in names},
        )
        try:
            query = _conditions(database, where)
            result = database.execute(query)
            conditions = [(name, str(kind)) for name, kind, *_ in result.description]
            met = result.fetchall()
        except duckdb.Error as error:
            reason, _, rest = str(error).partition("\n")
            raise UsageError(f"--where {where!r}: {reason} {rest.partition(chr(10))[0]}") from error
    for name, kind in conditions:
        if kind != "BOOLEAN":
            raise UsageError(f"--where {where!r}: {name} is not a condition, but a {kind}")
    kept = []
    unscored: Counter[str] = Counter()
    failing: Counter[str] = Counter()
    for row, answers in zip(rows, met, strict=True):
        if all(answers):
            kept.append(row)
        elif row["status"] != "ok":
            unscored[row["error_type"]] += 1
        else:
            failing.update(
                name for (name, _), yes in zip(conditions, answers, strict=True) if not yes
            )
    by_count = [dict(counts.most_common()) for counts in (unscored, failing)]
    return Selection(tuple(kept), len(rows), *by_count)


def check_kept(output: Path, results: Path) -> None:
    """Find out before any work whether the kept clips can be written in that format.

    Raises:
        UsageError: the suffix is another.
    """
    whole = results.suffix.lower() == ".jsonl"
    if output.suffix.lower() not in ([".csv", ".jsonl"] if whole else [".csv"]):
        raise UsageError(
            f"cannot write {output}: clips are kept as .csv, or as .jsonl out of a .jsonl"
        )


def write_kept(selection: Selection, output: Path, results: Path) -> None:
    """Write the records of the clips that were kept; ``output`` appears complete or not at all.

    Args:
        selection: of the records in ``results``.
        output: a .csv, which gets the columns of ``score --output``; or a .jsonl, which gets the
            whole records, where ``results`` is one.
        results: what the rows were read from.

    Raises:
        SyncNetError: it cannot be written.
    """
    try:
        with replacing(output) as temporary:
            if output.suffix.lower() == ".csv":
                _write_csv(selection, temporary)
            else:
                _copy_lines(selection, results, temporary)
    except OSError as error:
        raise SyncNetError(f"cannot write {output}: {error.strerror}") from error


def _plain(value: Any) -> Any:
    r"""A value as DuckDB takes it; bytes of a file name that are no UTF-8 become ``\udcXX``."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def _unnested(name: str) -> str:
    return f"unnest(CAST(${name} AS {_COLUMNS[name]}[])) AS {name}"


def _conditions(database: Any, where: str) -> str:
    """A query for each condition of the expression, in columns named as the conditions."""
    # On lines of its own, so that no comment in it swallows the rest.
    text = f"SELECT (\n{where}\n) FROM clips"
    (parsed,) = database.execute("SELECT json_serialize_sql(?)", [text]).fetchone()
    tree = json.loads(parsed)
    if tree["error"]:
        raise UsageError(f"--where {where!r}: {tree['error_message']}")
    node = tree["statements"][0]["node"]
    selected = node.get("select_list", ())
    if len(tree["statements"]) != 1 or len(selected) != 1:
        raise UsageError(f"--where {where!r} is more than one expression")
    (expression,) = selected
    is_and = expression["type"] == "CONJUNCTION_AND"
    node["select_list"] = expression["children"] if is_and else [expression]
    (query,) = database.execute(
        "SELECT json_deserialize_sql(CAST(? AS JSON))", [json.dumps(tree)]
    ).fetchone()
    return str(query)


def _write_csv(selection: Selection, path: Path) -> None:
    with path.open("w", encoding="utf-8", errors=CsvOutput.ENCODING_ERRORS, newline="") as file:
        writer = csv.DictWriter(file, CsvOutput.HEADER, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(selection.kept)


def _copy_lines(selection: Selection, results: Path, path: Path) -> None:
    """Copy the newest line of each clip that was kept."""
    newest: dict[str, bytes | None] = dict.fromkeys(row["clip"] for row in selection.kept)
    with results.open("rb") as file:
        for line in file:
            if line.endswith(b"\n") and (clip := json.loads(line)["clip"]) in newest:
                newest[clip] = line
    path.write_bytes(b"".join(line for line in newest.values() if line is not None))
