"""Pictures of results: throughput against latency, and where the time goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

# Okabe and Ito's colours, which also colour-blind readers tell apart; markers differ as well.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_STAGE_LABELS = {
    "decode": "decode",
    "crop": "face crop",
    "transport": "transport",
    "mfcc": "MFCC",
    "video_tower": "video tower",
    "audio_tower": "audio tower",
    "scoring": "scoring",
}


def throughput_against_latency(
    curves: Mapping[str, Sequence[Mapping[str, Any]]], path: Path
) -> None:
    """One curve for each way of asking; a point for each number of requests in flight.

    Args:
        curves: label to rows with `windows_per_s`, `p50_ms`, `p99_ms` and `concurrency`.
        path: PNG file to write.
    """
    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for index, (label, rows) in enumerate(curves.items()):
        median = [row["p50_ms"] for row in rows]
        tail = [max(0.0, row["p99_ms"] - row["p50_ms"]) for row in rows]
        axes.errorbar(
            median,
            [row["windows_per_s"] for row in rows],
            xerr=[[0.0] * len(rows), tail],
            label=label,
            color=_COLOURS[index % len(_COLOURS)],
            marker=_MARKERS[index % len(_MARKERS)],
            capsize=3,
        )
        for row in rows:
            axes.annotate(
                str(row["concurrency"]),
                (row["p50_ms"], row["windows_per_s"]),
                textcoords="offset points",
                xytext=(4, 5),
                fontsize=8,
            )
    axes.set_xlabel("time of a chunk in ms: median, bar to the 99th percentile")
    axes.set_ylabel("windows per second")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.15 * max(row["windows_per_s"] for rows in curves.values() for row in rows))
    axes.grid(alpha=0.3)
    axes.legend(title="numbers: requests in flight", fontsize=9, title_fontsize=9)
    _save(figure, path)


def stage_bars(stages_s: Mapping[str, Mapping[str, float]], clip_s: float, path: Path) -> None:
    """Seconds of each stage as horizontal bars, the smallest and largest run as whiskers."""
    names = [name for name in _STAGE_LABELS if name in stages_s]
    medians = [stages_s[name]["median"] for name in names]
    below = [stages_s[name]["median"] - stages_s[name]["min"] for name in names]
    above = [stages_s[name]["max"] - stages_s[name]["median"] for name in names]
    figure, axes = pyplot.subplots(figsize=(7, 3.2), layout="constrained")
    bars = axes.barh(
        [_STAGE_LABELS[name] for name in names],
        medians,
        xerr=[below, above],
        color=_COLOURS[0],
        error_kw={"capsize": 3},
    )
    total = sum(medians)
    axes.bar_label(bars, [f"{m:.2f} s, {m / total:.0%}" for m in medians], padding=6, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(right=max(medians) * 1.3)
    axes.set_xlabel(f"seconds for a clip of {clip_s:g} s")
    axes.grid(axis="x", alpha=0.3)
    _save(figure, path)


def ingest_costs(clips: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """What each way costs over bare decoding, for every clip; bars show smallest and largest.

    Args:
        clips: name to ways, each with `over_bare`, and the `limit` for YuNet.
        path: PNG file to write.
    """
    ways = {"clock": "clock", "yunet": "with YuNet", "haar": "with Haar", "whole": "--crop none"}
    figure, axes = pyplot.subplots(figsize=(8, 4.2), layout="constrained")
    for index, (way, label) in enumerate(ways.items()):
        costs = [clip[way]["over_bare"] for clip in clips.values()]
        medians = [cost["median"] for cost in costs]
        spread = [
            [cost["median"] - cost["min"] for cost in costs],
            [cost["max"] - cost["median"] for cost in costs],
        ]
        places = [place + 0.2 * (index - 1.5) for place in range(len(costs))]
        axes.bar(places, medians, 0.2, yerr=spread, label=label, color=_COLOURS[index], capsize=2)
    for place, clip in enumerate(clips.values()):
        if clip["limit"] is not None:
            axes.hlines(clip["limit"], place - 0.4, place + 0.4, color="black", linestyle=":")
    axes.set_xticks(range(len(clips)), list(clips), rotation=20, ha="right", fontsize=8)
    axes.set_ylabel("processor time over that of bare decoding")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
