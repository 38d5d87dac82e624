"""A calibration as a figure: what is accepted over each threshold."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from syncnet_client.calibration import Calibration
from syncnet_client.errors import SyncNetError
from syncnet_client.extras import require
from syncnet_client.files import replacing
from syncnet_client.render.plot import BLUE, DPI, GREY, STYLE, VERMILION, WIDTH_IN, check_plot

__all__ = ["plot_calibration"]


def plot_calibration(result: Calibration, path: Path) -> None:
    """Draw true and wrong acceptance to a PNG, PDF or SVG file, which is replaced if it exists.

    Raises:
        UsageError: the suffix is unknown, or the folder does not exist.
        SyncNetError: matplotlib is not installed, or the file cannot be written.
    """
    check_plot(path)
    matplotlib = require("matplotlib", extra="plot")
    figures = require("matplotlib.figure", extra="plot")
    with matplotlib.rc_context(STYLE):
        figure = figures.Figure(figsize=(WIDTH_IN, 3), layout="constrained")
        panels = figure.subplots(1, len(result.separations), squeeze=False)[0]
        for each, axes in zip(result.separations, panels, strict=True):
            both = [result.values(each.statistic, true=true) for true in (True, False)]
            thresholds = np.linspace(0, max(1.0, *(values.max() for values in both)), 201)
            for values, color, label in zip(
                both, (BLUE, VERMILION), ("true pairs", "wrong pairs"), strict=True
            ):
                share = (values[:, None] >= thresholds).mean(axis=0)
                axes.plot(thresholds, share, color=color, label=label)
            axes.axvline(each.threshold, color=GREY, linestyle="--", linewidth=1)
            axes.set_title(f"{each.statistic}: area under the curve {each.area:.3f}")
            axes.set_xlabel(f"least {each.statistic}")
            axes.set_ylabel("accepted")
            axes.legend()
        try:
            with replacing(path) as temporary:
                figure.savefig(temporary, dpi=DPI)
        except OSError as error:
            raise SyncNetError(f"cannot write {path}: {error.strerror}") from error
