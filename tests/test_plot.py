"""Figures of results; what they look like was looked at, what they contain is tested."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from results import result_of

from syncnet_client.errors import SyncNetError, UsageError
from syncnet_client.render.plot import BLUE, plot_result
from syncnet_client.scoring.drift import Drift, Segment
from syncnet_client.scoring.result import SyncResult


def with_drift(result: SyncResult) -> SyncResult:
    windows = tuple(
        Segment(10.0 * k, 10.0 * k + 10, 3, 120.0 + k, 4.0, 0.95, trusted=k != 1) for k in range(3)
    )
    drift = Drift("constant", 10.0, windows, None, None, "the offset stays the same")
    return replace(result, tracks=(replace(result.speaker, drift=drift),))


def words(path: Path) -> str:
    """The text of an SVG file."""
    return " ".join(re.findall(r">([^<>\n]+)</text>", path.read_text()))


def test_a_figure_says_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "figure.svg"
    plot_result(result_of("clips/take $1 & 2.mp4", windows=200), path)
    text = words(path)
    assert "take $1 &amp; 2.mp4" in text
    assert "the offset is unknown (+120 ms measured), agreement 98%, confidence 4.25" in text
    assert "not to be trusted" in text
    assert "95 % of the draws" in text
    assert "offset +3 frames" in text
    assert "median of 9 windows" in text
    assert "segments of 10 s" not in text
    assert list(tmp_path.iterdir()) == [path]


def test_drift_has_its_own_panel(tmp_path: Path) -> None:
    path = tmp_path / "figure.svg"
    plot_result(with_drift(result_of("clip", windows=800, trusted=True)), path)
    text = words(path)
    assert "Offset in segments of 10 s: the offset stays the same" in text
    assert "not trusted" in text


@pytest.mark.parametrize(("windows", "vshift"), [(1, 10), (1, 0), (3000, 25)])
def test_any_size_can_be_drawn(tmp_path: Path, windows: int, vshift: int) -> None:
    path = tmp_path / "figure.png"
    plot_result(result_of("clip", offset=0, windows=windows, vshift=vshift), path)
    with av.open(path) as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgb24")
    blue = np.array([int(BLUE[i : i + 2], 16) for i in (1, 3, 5)])
    assert (np.abs(image.astype(int) - blue).max(axis=-1) < 20).sum() > 50
    assert image.shape[1] == 1440


def test_figures_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = result_of("clip")
    with pytest.raises(UsageError, match=r"suffixes \.png, \.pdf, \.svg"):
        plot_result(result, tmp_path / "figure.jpeg")
    with pytest.raises(UsageError, match="there is no folder"):
        plot_result(result, tmp_path / "nowhere" / "figure.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SyncNetError, match=r"pip install 'matplotlib>=3\.8'"):
        plot_result(result, tmp_path / "figure.png")
    assert list(tmp_path.iterdir()) == []
