"""One record for each attempt at a clip, as a JSON object and as a row of a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from syncnet_client.scoring.result import SyncResult

__all__ = ["COLUMNS", "Column", "Record"]


@dataclass(frozen=True)
class Record:
    """What became of one attempt at one clip.

    Attributes:
        clip: the clip as it was named in the input; the key by which a later run finds it.
        result: ``SyncResult.to_dict()``, or None if the attempt failed.
        error: one line that says why it failed.
        error_type: name of the error's class, such as ``NoFaceError``.
    """

    clip: str
    result: Mapping[str, Any] | None = None
    error: str | None = None
    error_type: str | None = None

    @classmethod
    def scored(cls, clip: str, result: SyncResult) -> Record:
        """The record of a success."""
        return cls(clip, result=result.to_dict())

    @classmethod
    def failed(cls, clip: str, error: Exception) -> Record:
        """The record of a failure."""
        line = " ".join(str(error).split()) or "no further details"
        return cls(clip, error=line, error_type=type(error).__name__)

    @property
    def ok(self) -> bool:
        """Whether the clip was scored."""
        return self.result is not None

    def to_dict(self) -> dict[str, Any]:
        """``clip``, ``status`` ("ok" or "failed"), then the result or the error."""
        if self.result is None:
            failure = {"error_type": self.error_type, "error": self.error}
            return {"clip": self.clip, "status": "failed", **failure}
        return {**self.result, "clip": self.clip, "status": "ok"}

    def to_json(self) -> str:
        """The object as one line."""
        text = json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)
        # Bytes of a file name that are no UTF-8 are surrogates, which JSON can only hold escaped.
        return text.encode(errors="backslashreplace").decode()

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Record:
        """The inverse of ``to_dict``; of a row, it takes the columns for the result.

        Raises:
            KeyError, ValueError: it is not a record.
        """
        if record["status"] == "ok":
            return cls(record["clip"], result={k: v for k, v in record.items() if k != "status"})
        if record["status"] == "failed":
            return cls(record["clip"], error=record["error"], error_type=record["error_type"])
        raise ValueError(f"status is {record['status']!r}")

    @classmethod
    def from_json(cls, text: str) -> Record:
        """The inverse of ``to_json``.

        Raises:
            KeyError, ValueError: it is not a record.
        """
        return cls.from_dict(json.loads(text))

    def to_row(self) -> dict[str, Any]:
        """The values of ``COLUMNS``; None where a failed clip has none."""
        record = self.to_dict()
        return {column.name: column.value(record) for column in COLUMNS}


@dataclass(frozen=True)
class Column:
    """A column of the tables (CSV and Parquet).

    Attributes:
        name: its name.
        kind: name of its Arrow type; lists are left out of CSV.
        value: how to get it from ``Record.to_dict()``.
    """

    name: str
    kind: str
    value: Callable[[Mapping[str, Any]], Any]


def _plain(name: str, kind: str) -> Column:
    return Column(name, kind, lambda record: record.get(name))


def _derived(name: str, kind: str, value: Callable[[Mapping[str, Any]], Any]) -> Column:
    """A column that only scored clips have."""
    return Column(name, kind, lambda record: value(record) if record["status"] == "ok" else None)


def _versions(record: Mapping[str, Any]) -> str:
    return json.dumps(record["model_versions"], sort_keys=True)


def _track_lse(record: Mapping[str, Any]) -> str | None:
    return json.dumps(record["track_lse"]) if "track_lse" in record else None


COLUMNS: tuple[Column, ...] = (
    _plain("clip", "string"),
    _plain("status", "string"),
    _plain("error_type", "string"),
    _plain("error", "string"),
    _plain("offset_frames", "int32"),
    _plain("offset_ms", "int32"),
    _plain("estimate_ms", "float64"),
    _derived("offset_low_ms", "float64", lambda record: record["offset_interval_ms"][0]),
    _derived("offset_high_ms", "float64", lambda record: record["offset_interval_ms"][1]),
    _plain("agreement", "float64"),
    _plain("confidence", "float64"),
    _plain("min_distance", "float64"),
    _derived("trusted", "bool_", lambda record: record["verdict"]["trusted"]),
    _derived(
        "reasons",
        "string",
        lambda record: "; ".join(reason["text"] for reason in record["verdict"]["reasons"]),
    ),
    _derived("drift", "string", lambda record: record["drift"] and record["drift"]["kind"]),
    _plain("start_s", "float64"),
    _plain("end_s", "float64"),
    _plain("windows", "int32"),
    _plain("frames", "int64"),
    _plain("audio_samples", "int64"),
    _plain("vshift", "int32"),
    _derived("faces", "int32", lambda record: 1 + len(record["other_tracks"])),
    _derived("model_versions", "string", _versions),
    _derived("weights", "string", lambda record: record["weights"]["name"]),
    _derived("offset_error_ms", "int32", lambda record: record["weights"]["offset_error_ms"]),
    _plain("detector", "string"),
    _plain("protocol", "string"),
    _plain("lossy", "bool_"),
    _plain("protocol_offset_frames", "int32"),
    _plain("lse_d", "float64"),
    _plain("lse_c", "float64"),
    _derived("track_lse", "string", _track_lse),
    _derived("warnings", "string", lambda record: "; ".join(record["warnings"])),
    _plain("box", "list_float32"),
    _plain("mean_distances", "list_float32"),
    _plain("frame_confidence", "list_float32"),
    _plain("times", "list_float64"),
)
