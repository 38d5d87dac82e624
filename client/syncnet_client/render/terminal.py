"""A result for people: a few lines that say what was found and whether it can be trusted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table
from rich.text import Text

from syncnet_client.scoring.curves import FULL_CONFIDENCE
from syncnet_client.scoring.protocols import Lse, Protocol
from syncnet_client.scoring.result import ClipAnswer, SyncResult, TrackResult
from syncnet_client.scoring.verdict import Verdict
from syncnet_programs.terminal import show

__all__ = ["print_result"]

_BARS = "▁▂▃▄▅▆▇█"
CURVE_COLUMNS = 48  # of per-frame confidence


def print_result(result: SyncResult) -> None:
    """Print the clip's result, then the faces and warnings, to standard output."""
    speaker = result.speaker
    faces = f", {len(result.tracks)} faces" if len(result.tracks) > 1 else ""
    title = Text(result.clip, style="bold").append(
        f" ({result.duration_s:.1f} s{faces})", style="not bold"
    )

    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim")
    lines.add_column(overflow="fold")
    answer = result.answer
    lines.add_row("offset", _offset(result))
    lines.add_row("agreement", _agreement(answer))
    lines.add_row(
        "confidence",
        f"{answer.confidence:.2f}, minimum distance {answer.min_distance:.2f}",
    )
    if result.protocol is not None and result.lse is not None:
        lines.add_row("protocol", _protocol(result.protocol, result.lse, result))
    lines.add_row("verdict", _verdict(result.verdict))
    above_minimum = answer.mean_distances - answer.min_distance
    lines.add_row("distances", f"{_bars(above_minimum)}  {_range(result.vshift)}")
    over_time = _shorten(speaker.frame_confidence_median, CURVE_COLUMNS)
    lines.add_row("over time", f"{_bars(over_time)}  confidence of the frames")
    if speaker.drift is not None:
        drift = speaker.drift
        lines.add_row(
            "drift", f"{drift.text} ({len(drift.segments)} segments of {drift.segment_s:g} s)"
        )
    if result.several is not None:
        for track in result.tracks:
            lines.add_row("speaker" if track is speaker else "other face", _face(track))
    if result.detector is not None:
        lines.add_row("detector", result.detector)
    lines.add_row("weights", _weights(result))
    for warning in result.warnings:
        lines.add_row("warning", Text(warning, style="yellow"))
    show(title, lines)


def _protocol(protocol: Protocol, lse: Lse, result: SyncResult) -> str:
    detector = result.detector
    faces = "the frames as they are" if detector is None else f"faces by {detector}"
    losses = ", with the script's losses" if result.lossy else ""
    return (
        f"{protocol.name}: LSE-D {protocol.printed(lse.lse_d)}, LSE-C "
        f"{protocol.printed(lse.lse_c)}, offset {lse.offset_frames:+d} frames, {faces}{losses}"
    )


def _offset(result: SyncResult) -> Text:
    answer = result.answer
    text = Text(result.meaning, style="bold")
    text.append(f" ({answer.offset_frames:+d} frames", style="not bold")
    if answer.estimate_ms is not None:
        text.append(f", between frames {answer.estimate_ms:+.0f} ms", style="not bold")
    return text.append(")", style="not bold")


def _agreement(answer: ClipAnswer) -> str:
    low, high = answer.offset_interval_ms
    return (
        f"{answer.agreement:.0%} of the draws give this offset; 95 % of them lie between "
        f"{low:+.0f} and {high:+.0f} ms"
    )


def _verdict(verdict: Verdict) -> Text:
    if verdict.trusted:
        return Text(verdict.text, style="green")
    reasons = "; ".join(reason.text for reason in verdict.reasons)
    return Text(f"{verdict.text}: ", style="bold red").append(reasons, style="not bold")


def _face(track: TrackResult) -> str:
    x, y, width, height = np.median(track.boxes, axis=0)
    return (
        f"{track.offset_frames:+d} frames, agreement {track.agreement:.0%}, confidence "
        f"{track.confidence:.2f}, {track.frame_times[0]:.1f} to {track.frame_times[-1]:.1f} s, "
        f"around pixel {x + width / 2:.0f},{y + height / 2:.0f}"
    )


def _weights(result: SyncResult) -> str:
    versions = (f"{model} version {version}" for model, version in result.model_versions.items())
    name = f"{result.weights.name}: " if result.weights.name else ""
    return name + ", ".join(versions)


def _range(vshift: int) -> str:
    return f"audio ahead by {vshift:+d} to {-vshift:+d} frames" if vshift else "at no shift"


def _shorten(values: npt.NDArray[np.float32], columns: int) -> npt.NDArray[np.floating[Any]]:
    """Means over at most so many equal parts."""
    parts = np.array_split(values, min(columns, len(values)))
    return np.array([part.mean() for part in parts])


def _bars(values: npt.NDArray[np.floating[Any]]) -> str:
    """One character for each value, all on one scale."""
    levels = np.clip(values / FULL_CONFIDENCE, 0, 1) * (len(_BARS) - 1)
    return "".join(_BARS[round(float(level))] for level in levels)
