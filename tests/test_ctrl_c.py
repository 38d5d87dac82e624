"""Ctrl-C in what takes long: exit status 130, and one line of what was done and how to go on.

As a terminal does it, the signal goes to the program and to all processes that it has started.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commandline import write_clip
from conftest import copy_model_repository
from fakes import FakeTriton, Silence
from tiny import wait_for

from syncnet_export.tower_specs import TOWERS
from syncnet_training.synthesis import write_clips

_LIMIT_S = 120.0


def interrupted(program: str, *arguments: object, begun: Callable[[], object]) -> str:
    """Start a program, press Ctrl-C once it has begun; return its line, which must be one."""
    with subprocess.Popen(
        [Path(sys.executable).parent / program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert wait_for(lambda: bool(begun()) or process.poll() is not None, _LIMIT_S)
        assert process.poll() is None, process.communicate()
        os.killpg(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=_LIMIT_S)
    assert process.returncode == 130, stderr
    assert stdout == ""
    (line,) = stderr.splitlines()
    return line


@pytest.mark.parametrize(
    "program",
    ["syncnet-client", "syncnet-export", "syncnet-gateway", "syncnet-server", "syncnet-train"],
)
def test_a_program_that_is_still_imported(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All import typer before they do anything; this one never ends."""
    (tmp_path / "typer.py").write_text(
        "import pathlib, time\npathlib.Path(__file__).with_name('begun').touch()\ntime.sleep(600)"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    line = interrupted(program, begun=(tmp_path / "begun").exists)
    assert line == f"{program}: stopped"


@pytest.mark.parametrize("jobs", [1, 2])
def test_synthesize(tmp_path: Path, jobs: int) -> None:
    out = tmp_path / "clips"
    command = ("synthesize", out, "--clips", 5000, "--seconds", 0.4, "--jobs", jobs)
    line = interrupted("syncnet-train", *command, begun=(out / "clip_000001/clip.json").exists)
    said = re.fullmatch(
        r"syncnet-train: stopped: (\d+) of 5000 clips are made; the same command makes the rest",
        line,
    )
    assert said, line
    assert int(said[1]) <= len(list(out.glob("clip_*/clip.json")))


def test_fit_goes_on_with_the_steps_that_are_kept(tmp_path: Path) -> None:
    data, run = tmp_path / "clips", tmp_path / "run"
    for _ in write_clips(data, clips=3, seed=0, frames=30, jobs=1):
        pass
    small = ("--width", 0.03, "--clips", 2, "--windows", 2, "--stride", 1, "--margin", 1)
    small += ("--held-out", 1, "--workers", 1, "--ramp-steps", 0, "--report-steps", 1)
    fit = ("fit", data, "--run", run, *small)
    line = interrupted(
        "syncnet-train", *fit, "--steps", 100_000, begun=(run / "checkpoint.pt").exists
    )
    said = re.fullmatch(
        rf"syncnet-train: stopped: (\d+) of 100000 steps are in {re.escape(str(run))}; "
        r"the same command with --resume goes on",
        line,
    )
    assert said, line
    logged = [json.loads(each)["step"] for each in (run / "log.jsonl").read_text().splitlines()]
    assert int(said[1]) in logged

    again = interrupted(
        "syncnet-train",
        *(*fit, "--steps", 100_000, "--resume"),
        begun=lambda: len((run / "log.jsonl").read_text().splitlines()) > len(logged),
    )
    assert int(re.search(r"stopped: (\d+) of", again)[1]) >= int(said[1])


def test_prepare(tmp_path: Path) -> None:
    clips = [write_clip(tmp_path / f"{n}.mkv", frames=60) for n in range(2)]
    with FakeTriton([Silence()] * 50) as server:
        line = interrupted(
            "syncnet-train",
            *("prepare", tmp_path / "set", *clips, "--url", server.url),
            begun=lambda: server.streamed,
        )
    done = "0 of 2 sources were finished; the same command goes on with the rest"
    assert line == f"syncnet-train: stopped: {done}"


def test_build_installs_nothing(tmp_path: Path, narrow_checkpoint: Path) -> None:
    repository = copy_model_repository(tmp_path)
    models = [repository / spec.name for spec in TOWERS]
    before = [sorted(path.name for path in model.iterdir()) for model in models]
    line = interrupted(
        "syncnet-export",
        *("build", "--weights", narrow_checkpoint, "--model-repository", repository),
        *("--precision", "fp32,fp16,int8,int8-amx"),
        begun=lambda: any(models[0].glob(".export-*")),
    )
    said = "no version was installed; the same command starts again"
    assert line == f"syncnet-export: stopped: {said}"
    assert [sorted(path.name for path in model.iterdir()) for model in models] == before
