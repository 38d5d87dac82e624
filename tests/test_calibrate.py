"""Thresholds from the user's own clips: the figures, and the command on a real server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from commandline import run

from syncnet_client.calibration import separate
from syncnet_server import Server


def test_numbers_that_do_not_overlap_are_told_apart() -> None:
    found = separate("agreement", np.array([0.9, 0.95, 1.0]), np.array([0.2, 0.5]), 0.02)
    assert (found.area, found.threshold) == (1, 0.9)
    assert (found.true_accepted, found.wrong_accepted) == (1, 0)


def test_the_threshold_keeps_the_wanted_share_of_wrong_pairs_out() -> None:
    true, wrong = np.linspace(0.5, 1, 50), np.linspace(0, 0.75, 100)
    found = separate("agreement", true, wrong, 0.1)
    assert found.wrong_accepted <= 0.1
    assert np.mean(wrong >= true[true < found.threshold].max()) > 0.1
    assert found.true_accepted == np.mean(true >= found.threshold)
    exact = np.mean([(t > w) + (t == w) / 2 for t in true for w in wrong])
    assert found.area == pytest.approx(exact)


def test_where_wrong_pairs_are_above_all_true_ones_nothing_is_accepted() -> None:
    found = separate("confidence", np.array([1.0, 2.0]), np.array([3.0, 4.0]), 0)
    assert (found.area, found.true_accepted, found.wrong_accepted) == (0, 0, 0)


@pytest.mark.server
def test_clips_are_tried_with_their_own_sound_and_with_others(
    server: Server, talking_clip: Path, tmp_path: Path
) -> None:
    clips = [shutil.copy(talking_clip, tmp_path / f"{name}.mp4") for name in "abc"]
    plot = tmp_path / "thresholds.svg"
    command = ["calibrate", *clips, "--crop", "none", "--plot", plot, "--url", server.grpc_url]
    done = run(*command, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    pairs = [(Path(pair["clip"]).stem, Path(pair["sound"]).stem) for pair in found["pairs"]]
    assert sorted(pairs) == [(clip, sound) for clip in "abc" for sound in "abc"]
    # The clips are copies: every pair is a true one in disguise, so nothing tells them apart.
    alone = json.loads(
        run("score", clips[0], "--crop", "none", "--json", "--url", server.grpc_url).stdout
    )
    for pair in found["pairs"]:
        assert pair["offset_frames"] == alone["offset_frames"]
    assert [each["statistic"] for each in found["separations"]] == ["agreement", "confidence"]
    assert all(each["area"] == 0.5 for each in found["separations"])
    assert "area under the curve 0.500" in plot.read_text()
    kept = run(*command)
    assert kept.returncode == 2
    assert "pass --overwrite to replace it" in kept.stderr
    shown = run(*command, "--overwrite")
    assert "3 clips with their own sound, 6 with another clip's" in shown.stdout
    assert run(*command[:2], *command[-2:]).returncode == 2
