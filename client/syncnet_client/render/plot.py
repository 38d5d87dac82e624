"""A result as a figure: the distance curve, the confidence over time, the offset over time.

Made for print as well: dark lines on white that differ in strength and dash, in two colours of
the Okabe-Ito palette, which people with any kind of colour vision can tell apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from syncnet_client.contract import FRAME_MS
from syncnet_client.errors import SyncNetError, UsageError
from syncnet_client.extras import require
from syncnet_client.files import replacing
from syncnet_client.scoring.result import SyncResult

__all__ = ["PLOT_SUFFIXES", "check_plot", "plot_result"]

PLOT_SUFFIXES = (".png", ".pdf", ".svg")

BLUE = "#0072B2"
VERMILION = "#D55E00"
GREY = "#777777"
LIGHT = "#aaaaaa"
WIDTH_IN = 7.2  # a page between its margins
PANEL_IN = 2.3
DPI = 200
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "svg.fonttype": "none",
}


def check_plot(path: Path) -> None:
    """Find out before any work whether a figure can be written to ``path``.

    Raises:
        UsageError: the suffix is unknown, or the folder does not exist.
        SyncNetError: matplotlib is not installed.
    """
    if path.suffix.lower() not in PLOT_SUFFIXES:
        raise UsageError(f"cannot write {path}: use one of the suffixes {', '.join(PLOT_SUFFIXES)}")
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {path.parent}")
    require("matplotlib", extra="plot")


def plot_result(result: SyncResult, path: Path) -> None:
    """Draw the clip's distances and the speaker's curves to a PNG, PDF or SVG file.

    The file is replaced if it exists.

    Raises:
        UsageError: the suffix is unknown, or the folder does not exist.
        SyncNetError: matplotlib is not installed, or the file cannot be written.
    """
    check_plot(path)
    matplotlib = require("matplotlib", extra="plot")
    figures = require("matplotlib.figure", extra="plot")
    speaker = result.speaker
    panels = [_distances, _confidence] + ([_offsets] if speaker.drift else [])
    with matplotlib.rc_context(STYLE):
        # A figure of its own, not pyplot's: nothing global, no window system, safe in threads.
        figure = figures.Figure(
            figsize=(WIDTH_IN, 0.6 + PANEL_IN * len(panels)), layout="constrained"
        )
        figure.suptitle(_title(result), x=0.01, ha="left", fontsize=10)
        for draw, axes in zip(
            panels, figure.subplots(len(panels), squeeze=False)[:, 0], strict=True
        ):
            draw(result, axes)
            axes.grid(color="#dddddd", linewidth=0.6)
            axes.set_axisbelow(True)
        try:
            with replacing(path) as temporary:
                figure.savefig(temporary, dpi=DPI)
        except OSError as error:
            raise SyncNetError(f"cannot write {path}: {error.strerror}") from error


def _title(result: SyncResult) -> str:
    # A dollar sign would begin a formula.
    name = Path(result.clip).name.replace("$", r"\$")
    return f"{name}\n{result.headline}"


def _distances(result: SyncResult, axes: Any) -> None:
    track = result.speaker
    answer = result.answer
    vshift = result.vshift
    offsets = np.arange(-vshift, vshift + 1)
    # Column s of the distances is the offset vshift - s.
    mean = answer.mean_distances[::-1]
    low, high = np.percentile(track.distances[:, ::-1], [25, 75], axis=0)
    median = float(np.median(mean))
    best = answer.offset_frames

    axes.axvspan(*answer.offset_interval, color=VERMILION, alpha=0.12, linewidth=0,
                 label="95 % of the draws")  # fmt: skip
    axes.fill_between(offsets, low, high, color=BLUE, alpha=0.15, linewidth=0,
                      label="middle half of the windows")  # fmt: skip
    axes.plot(offsets, mean, color=BLUE, marker="o", markersize=3, label="mean")
    axes.axhline(median, color=GREY, linestyle="--", linewidth=1, label="median of the means")
    axes.plot(best, answer.min_distance, marker="D", markersize=6, color=VERMILION,
              linestyle="none", label=f"offset {best:+d} frames")  # fmt: skip
    axes.annotate(
        "", (best, median), (best, answer.min_distance),
        arrowprops={"arrowstyle": "<->", "color": VERMILION, "linewidth": 1},
    )  # fmt: skip
    axes.set_title("Distance of video to audio at every offset (the arrow is the confidence)")
    axes.set_xlabel("offset in frames of 40 ms (right: audio ahead of the video)")
    axes.set_ylabel("distance")
    axes.set_xlim(-vshift - 0.5, vshift + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)


def _confidence(result: SyncResult, axes: Any) -> None:
    track = result.speaker
    axes.plot(track.times, track.frame_confidence, color=LIGHT, linewidth=0.6,
              label="each window")  # fmt: skip
    axes.plot(track.times, track.frame_confidence_median, color=BLUE,
              label="median of 9 windows")  # fmt: skip
    axes.axhline(track.confidence, color=VERMILION, linestyle="--", linewidth=1,
                 label="whole clip")  # fmt: skip
    axes.set_title("Confidence over time")
    axes.set_xlabel("time in the source (s)")
    axes.set_ylabel("confidence")
    axes.set_xlim(track.frame_times[0], track.frame_times[-1])
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)


def _offsets(result: SyncResult, axes: Any) -> None:
    track = result.speaker
    assert track.drift is not None
    for trusted, face, label in ((True, BLUE, "trusted"), (False, "white", "not trusted")):
        segments = [each for each in track.drift.segments if each.trusted is trusted]
        if segments:
            middles = [segment.middle_s for segment in segments]
            axes.plot(middles, [segment.offset_ms for segment in segments], marker="o",
                      markersize=5, color=BLUE, markerfacecolor=face, linestyle="none",
                      label=label)  # fmt: skip
    axes.axhline(result.offset_ms, color=VERMILION, linestyle="--", linewidth=1, label="whole clip")
    low, high = axes.get_ylim()
    room = max(0.0, 3 * FRAME_MS - (high - low)) / 2  # a steady offset should look steady
    axes.set_ylim(low - room, high + room)
    axes.set_title(f"Offset in segments of {track.drift.segment_s:g} s: {track.drift.text}")
    axes.set_xlabel("time in the source (s)")
    axes.set_ylabel("offset (ms)")
    axes.set_xlim(track.frame_times[0], track.frame_times[-1])
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
