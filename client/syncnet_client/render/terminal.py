"""A result for people: a few lines that say what was found and whether it can be trusted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from rich.text import Text

from syncnet_client.scoring.result import SyncResult, TrackResult

__all__ = ["print_result"]

_BARS = "▁▂▃▄▅▆▇█"
CURVE_COLUMNS = 48  # of per-frame confidence
PIPE_COLUMNS = 120  # where there is no terminal to say how wide it is


def print_result(result: SyncResult, console: Console | None = None) -> None:
    """Print the speaker's result, then other faces and warnings, to standard output."""
    if console is None:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=PIPE_COLUMNS)
    speaker = result.speaker
    faces = f", {len(result.tracks)} faces" if len(result.tracks) > 1 else ""
    console.print(Text(result.clip, style="bold"), f"({result.duration_s:.1f} s{faces})")

    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim")
    lines.add_column(overflow="fold")
    lines.add_row("offset", _offset(speaker))
    lines.add_row(
        "confidence",
        f"{speaker.confidence:.2f} (LSE-C), minimum distance {speaker.min_distance:.2f} (LSE-D)",
    )
    lines.add_row("verdict", _verdict(speaker))
    lines.add_row("distances", f"{_bars(speaker.mean_distances)}  {_range(result.vshift)}")
    over_time = _shorten(speaker.frame_confidence_median, CURVE_COLUMNS)
    lines.add_row("over time", f"{_bars(over_time)}  confidence of the frames")
    if speaker.drift is not None:
        drift = speaker.drift
        lines.add_row(
            "drift", f"{drift.text} ({len(drift.segments)} segments of {drift.segment_s:g} s)"
        )
    for track in result.tracks[1:]:
        lines.add_row("other face", _other(track))
    if result.detector is not None:
        lines.add_row("detector", result.detector)
    versions = (f"{model} version {version}" for model, version in result.model_versions.items())
    lines.add_row("weights", ", ".join(versions))
    for warning in result.warnings:
        lines.add_row("warning", Text(warning, style="yellow"))
    console.print(lines)


def _offset(track: TrackResult) -> Text:
    text = Text(track.meaning, style="bold")
    text.append(f" ({track.offset_frames:+d} frames", style="not bold")
    if track.estimate_ms is not None:
        text.append(f", between frames {track.estimate_ms:+.0f} ms", style="not bold")
    return text.append(")", style="not bold")


def _verdict(track: TrackResult) -> Text:
    if track.verdict.trusted:
        return Text(track.verdict.text, style="green")
    reasons = "; ".join(reason.text for reason in track.verdict.reasons)
    return Text(f"{track.verdict.text}: ", style="bold red").append(reasons, style="not bold")


def _other(track: TrackResult) -> str:
    x, y, width, height = np.median(track.boxes, axis=0)
    return (
        f"{track.offset_frames:+d} frames, confidence {track.confidence:.2f}, "
        f"{track.frame_times[0]:.1f} to {track.frame_times[-1]:.1f} s, around pixel "
        f"{x + width / 2:.0f},{y + height / 2:.0f}"
    )


def _range(vshift: int) -> str:
    return f"audio ahead by {vshift:+d} to {-vshift:+d} frames" if vshift else "at no shift"


def _shorten(values: npt.NDArray[np.float32], columns: int) -> npt.NDArray[np.floating[Any]]:
    """Means over at most so many equal parts."""
    parts = np.array_split(values, min(columns, len(values)))
    return np.array([part.mean() for part in parts])


def _bars(values: npt.NDArray[np.floating[Any]]) -> str:
    """One character for each value, from the lowest to the highest."""
    low, high = float(values.min()), float(values.max())
    if high == low:
        return _BARS[0] * len(values)
    levels = (values - low) / (high - low) * (len(_BARS) - 1)
    return "".join(_BARS[round(float(level))] for level in levels)
