"""A report of many clips: one HTML file that needs no network and no server.

The page is in ``render/page``, with Chart.js, which draws it. Everything that
a clip could have put into its name or its errors stays data: the page never makes HTML of it.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from syncnet_client.contract import FRAME_MS, FRAMES_PER_SECOND
from syncnet_client.defaults import DEFAULT_MIN_AGREEMENT
from syncnet_client.errors import SyncNetError, UsageError
from syncnet_client.files import check_target, replacing
from syncnet_client.records.read import read_rows
from syncnet_client.render.thumbnails import face_thumbnail
from syncnet_programs.installs import package_version

__all__ = ["LiveReport", "check_report", "is_report", "write_report"]

PAGE = Path(__file__).with_name("page")
CURVE_POINTS = 80  # of confidence over time
REFRESH_S = 20.0
REFRESH_SHARE = 0.05  # of a batch's time, at the most, goes into the page while it runs
_HEAD_BYTES = 2048  # in which a report says what it is
SHOWN = ("clip", "error", "error_type", "offset_frames", "offset_ms", "offset_low_ms",
         "offset_high_ms", "agreement", "confidence", "min_distance", "trusted", "reasons",
         "drift", "faces", "vshift", "warnings")  # fmt: skip
COMMON = ("protocol", "weights", "detector", "model_versions", "vshift")


def check_report(path: Path, inputs: Iterable[str | Path] = (), *, overwrite: bool = False) -> None:
    """Find out before any work whether a report can be written to ``path``.

    Raises:
        UsageError: the suffix is not .html, the folder does not exist, or the file does, or is one
            of the inputs.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"cannot write {path}: a report is an .html file")
    check_target(path, inputs, overwrite=overwrite)


def is_report(path: Path) -> bool:
    """Whether a file is a page that ``write_report`` wrote."""
    try:
        with path.open("rb") as file:
            return b'name="generator" content="syncnet-client report"' in file.read(_HEAD_BYTES)
    except OSError:
        return False


def write_report(
    rows: Sequence[Mapping[str, Any]],
    path: Path,
    *,
    title: str,
    note: str = "",
    thumbnails: bool = True,
    overwrite: bool = False,
) -> None:
    """Write the report.

    Args:
        rows: values of ``records.record.COLUMNS``, one row for each clip.
        path: the file; it appears complete or not at all.
        title: heading of the page.
        note: a sentence that stands below it.
        thumbnails: show the faces; reads a frame of each clip that is a file here.
        overwrite: replace ``path`` if it exists.

    Raises:
        UsageError: ``path`` cannot be used.
        SyncNetError: it cannot be written.
    """
    check_report(path, overwrite=overwrite)
    data = {
        "title": title,
        "note": note,
        "version": package_version(),
        "frame_ms": FRAME_MS,
        "min_agreement": DEFAULT_MIN_AGREEMENT,
        "common": {name: _distinct(rows, name) for name in COMMON},
        "clips": [_clip(row, thumbnails) for row in rows],
    }
    # "</script" inside a text would end the element that holds it.
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("</", "<\\/")
    page = (PAGE / "report.html").read_text(encoding="utf-8")
    parts = {
        "style": (PAGE / "report.css").read_text(encoding="utf-8"),
        "data": text,
        "library": (PAGE / "chart.umd.min.js").read_text(encoding="utf-8"),
        "script": (PAGE / "report.js").read_text(encoding="utf-8"),
    }
    before, *after = page.split("<!--@")
    html = [before]
    for piece in after:  # each begins with NAME@-->
        name, _, rest = piece.partition("@-->")
        html += [parts[name], rest]
    try:
        with replacing(path) as temporary:
            temporary.write_text("".join(html), encoding="utf-8")
    except OSError as error:
        raise SyncNetError(f"cannot write {path}: {error.strerror}") from error


class LiveReport:
    """The report of a batch that runs: written again every so often, and at the end.

    Args:
        records: the file to which the batch adds a record for each clip.
        path: the page; every version of it appears complete.
        every_s: pause between two versions. It grows with the time that a version takes.
    """

    def __init__(self, records: Path, path: Path, *, every_s: float = REFRESH_S) -> None:
        self._records = records
        self._path = path
        self._every_s = every_s
        self._next = time.monotonic() + every_s

    def refresh(self, done: int, total: int) -> None:
        """Write a version if it is time for one.

        Args:
            done: clips of this batch that are finished.
            total: clips of this batch.
        """
        began = time.monotonic()
        if began < self._next:
            return
        with contextlib.suppress(SyncNetError):  # the last version tells what is wrong
            self.write(done, total)
        now = time.monotonic()
        self._next = now + max(self._every_s, (now - began) / REFRESH_SHARE)

    def write(self, done: int, total: int) -> None:
        """Write a version now; see ``refresh``.

        Raises:
            SyncNetError: the records cannot be read, or the page cannot be written.
        """
        unfinished = f"{done} of {total} clips: the batch had not ended when this was written."
        write_report(
            read_rows(self._records),
            self._path,
            title=self._records.name,
            note="" if done == total else unfinished,
            overwrite=True,
        )


def _distinct(rows: Sequence[Mapping[str, Any]], column: str) -> list[str]:
    return sorted({str(row[column]) for row in rows if row.get(column) not in (None, "")})


def _clip(row: Mapping[str, Any], thumbnails: bool) -> dict[str, Any]:
    clip = {name: row[name] for name in SHOWN if row.get(name) not in (None, "")}
    clip["ok"] = row["status"] == "ok"
    if row.get("frames"):
        clip["duration_s"] = round(row["frames"] / FRAMES_PER_SECOND, 2)
    if row.get("mean_distances"):
        clip["curve"] = [round(float(value), 3) for value in row["mean_distances"]]
    if row.get("frame_confidence") and row.get("times"):
        clip["over_time"] = _shortened(row["frame_confidence"])
        clip["times"] = [round(float(row["times"][end]), 2) for end in (0, -1)]
    if clip["ok"] and row["trusted"] and row["offset_frames"]:
        source = Path(row["clip"])
        fixed = source.with_name(f"{source.stem}-in-sync{source.suffix}")
        clip["repair"] = shlex.join(["syncnet-client", "align", str(source), str(fixed)])
    if thumbnails and row.get("box") and row.get("start_s") is not None:
        middle = (row["start_s"] + row["end_s"]) / 2
        if (jpeg := _thumbnail(row["clip"], tuple(row["box"]), middle)) is not None:
            clip["face"] = base64.b64encode(jpeg).decode()
    return clip


@functools.lru_cache(maxsize=10_000)  # a live report shows the same faces again and again
def _thumbnail(clip: str, box: tuple[float, ...], time_s: float) -> bytes | None:
    return face_thumbnail(clip, box, time_s)


def _shortened(values: Sequence[float]) -> list[float]:
    """Means over at most ``CURVE_POINTS`` equal parts."""
    parts = np.array_split(np.asarray(values, float), min(CURVE_POINTS, len(values)))
    return [round(float(part.mean()), 2) for part in parts]
