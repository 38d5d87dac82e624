"""The short chaos run, and the arithmetic that judges it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.chaos.faults import FAULTS, FILLING
from benchmarks.chaos.hostile import hostile_http
from benchmarks.chaos.schedule import SITES, WEIGHTS, plan
from benchmarks.chaos.verdict import Outcome, judge, longest_outage_s, longest_outages_s

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "chaos.json"
CLIPS, FAULTS_IN_ALL = 60, 20


def test_a_schedule_depends_on_its_seed_alone() -> None:
    assert plan(50, 1) == plan(50, 1)
    assert plan(50, 1) != plan(50, 2)


def test_a_schedule_has_every_kind_on_every_site() -> None:
    schedule = plan(200, 0)
    assert len(schedule) == 200
    assert {fault.kind for fault in schedule} == WEIGHTS.keys() == FAULTS.keys()
    assert Counter(fault.site for fault in schedule) == dict.fromkeys(SITES, 100)
    assert FAULTS.keys() > FILLING


def test_lost_doubled_and_different_clips_are_counted() -> None:
    quiet = {name: {"clip": name, "offset": 0} for name in "abcdef"}
    records = [
        {"clip": "a", "offset": 0},
        {"clip": "b", "offset": 0},
        {"clip": "b", "offset": 0},
        {"clip": "c", "offset": 1},
        {"clip": "d", "error": {"type": "InferenceError"}},
        {"clip": "e", "error": {"type": "InferenceError"}},
        {"clip": "e", "offset": 0},
    ]
    assert judge(records, quiet) == Outcome(
        clips=6, lost=2, doubled=1, different=1, false_failures=2
    )


def test_an_outage_is_the_time_between_answers_less_what_was_held() -> None:
    assert longest_outage_s([0, 1, 6, 7]) == 5
    assert longest_outage_s([0, 1, 6, 10], [(0.5, 4), (7, 8)]) == 3
    assert longest_outage_s([]) == 0


def test_an_outage_is_that_of_the_last_fault_before_its_end() -> None:
    answered = [0, 1, 6, 7, 8, 20, 21, 23]
    faults = [(1.5, "kill"), (7.5, "cancel"), (20.5, "kill")]
    assert longest_outages_s(answered, [(9, 11)], faults) == {"kill": 5, "cancel": 10}


def test_hostile_requests_leave_this_machine_alone() -> None:
    with pytest.raises(ValueError, match=r"go to 127\.0\.0\.1 alone"):
        hostile_http("example.org:8000", 0)


def assert_nothing_is_wrong(figures: dict[str, object], clips: int, faults: int) -> None:
    assert figures["faults"] == faults
    sites = figures["sites"]
    assert isinstance(sites, list)
    assert sum(site["clips"] for site in sites) == clips
    for site in sites:
        assert site["failures"] == {}
        for count in ("lost", "doubled", "different", "false_failures"):
            assert site[count] == 0, (site, count)
    # Not known where the system gives no namespaces.
    assert figures["leftovers"] == (None if figures["skipped_kinds"] else [])
    assert figures["problems"] == []


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.timeout(700)
@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx (package nginx-light)")
def test_a_short_run_loses_nothing(narrow_repository: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.chaos", "--results", tmp_path, "--frames", "30"),
            *("--clips", str(CLIPS), "--faults", str(FAULTS_IN_ALL)),
            *("--limit", "600", "--longest-outage", "600"),  # on a busy machine, too
            *("--model-repository", narrow_repository),
        ],
        capture_output=True,
        text=True,
        timeout=660,
        cwd=RESULTS.parents[2],
    )
    assert (tmp_path / "chaos.json").exists(), done.stderr
    figures = json.loads((tmp_path / "chaos.json").read_text())
    assert_nothing_is_wrong(figures, CLIPS, FAULTS_IN_ALL)
    assert done.returncode == 0


def test_the_long_run_lost_nothing() -> None:
    figures = json.loads(RESULTS.read_text())
    assert (figures["clips"], figures["faults"]) == (1000, 200)
    assert figures["faults_by_kind"].keys() == WEIGHTS.keys()
    assert figures["leftovers"] == []
    for site in figures["sites"]:
        for count in ("lost", "doubled", "different", "false_failures"):
            assert site[count] == 0
    operations = (RESULTS.parents[2] / "docs" / "operations.md").read_text()
    assert figures["command"] in operations
    for site in figures["sites"]:
        assert f"{site['longest_outage_s']} s" in operations
