"""Several clips on the command line, files of records, figures and overlays."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import pytest
from commandline import CLIENT, assert_fails, run, write_clip
from fakes import FakeTriton, Silence
from rich.console import Console
from tiny import wait_for

from syncnet_client.batch.threads import Tally
from syncnet_client.commands import batch_meter

NAMES = ["a.mkv", "b.mkv", "c.mkv"]


@pytest.fixture
def fake() -> Iterator[FakeTriton]:
    with FakeTriton() as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three good clips and one that is none."""
    folder = tmp_path_factory.mktemp("many") / "clips"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        write_clip(folder / name, frames=40 + number)
    (folder / "broken.mp4").write_text("nothing to see here\n" * 100)
    return folder


def test_a_line_for_each_clip_and_a_summary(fake: FakeTriton, folder: Path) -> None:
    done = run("score", folder, "--url", fake.url)
    assert done.returncode == 1
    lines = sorted(done.stdout.splitlines())
    assert [line.split(": ")[0] for line in lines] == [str(folder / name) for name in NAMES]
    assert all("confidence" in line and "trusted" in line for line in lines)
    failure, summary = done.stderr.splitlines()
    assert failure.startswith(f"syncnet-client: {folder / 'broken.mp4'}")
    assert summary.startswith("3 scored, 1 failed; 5 s of video in ")


def test_json_lines_of_several_clips(fake: FakeTriton, folder: Path) -> None:
    done = run("score", folder / "*.mkv", folder / "broken.mp4", "--json", "--url", fake.url)
    records = {Path(r["clip"]).name: r for r in map(json.loads, done.stdout.splitlines())}
    assert records.keys() == {*NAMES, "broken.mp4"}
    assert records["broken.mp4"]["status"] == "failed"
    one = run("score", folder / "b.mkv", "--json", "--url", fake.url)
    assert records["b.mkv"] == {**json.loads(one.stdout), "status": "ok"}


def test_a_second_run_tries_only_what_failed(
    fake: FakeTriton, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "results.csv"
    command = ("score", folder, "--output", path, "--jobs", 2, "--url", fake.url)
    assert run(*command).returncode == 1
    requests = len(fake.streamed)
    again = run(*command)
    assert again.returncode == 1
    assert "0 scored, 1 failed, 3 done before" in again.stderr
    assert len(fake.streamed) == requests
    with path.open(newline="") as file:
        rows = [(Path(row["clip"]).name, row["status"]) for row in csv.DictReader(file)]
    assert sorted(rows) == [
        ("a.mkv", "ok"), ("b.mkv", "ok"),
        ("broken.mp4", "failed"), ("broken.mp4", "failed"), ("c.mkv", "ok"),
    ]  # fmt: skip


def test_killed_in_the_middle_and_run_again(folder: Path, tmp_path: Path) -> None:
    """The client dies, by a signal that it cannot see, while a clip is with the server."""
    path = tmp_path / "results.jsonl"
    options = ("--output", str(path), "--jobs", "1")
    with FakeTriton([None, Silence()]) as server:
        command = [*CLIENT, "score", str(folder), *options, "--url", server.url]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert wait_for(lambda: len(server.streamed) > 1 or process.poll() is not None, 120)
        process.kill()
        process.wait()
    with path.open("ab") as file:
        file.write(b'{"clip": "half of a rec')
    with FakeTriton() as server:
        done = run("score", folder, *options, "--url", server.url)
    assert "2 scored, 1 failed, 1 done before" in done.stderr
    records = [json.loads(line) for line in path.read_text().splitlines()]
    scored = [Path(record["clip"]).name for record in records if record["status"] == "ok"]
    assert sorted(scored) == NAMES


def test_ctrl_c_ends_a_batch_at_once(folder: Path) -> None:
    with FakeTriton([None, Silence(), Silence()]) as server:
        command = [*CLIENT, "score", str(folder), "--jobs", "2", "--url", server.url]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert wait_for(lambda: len(server.streamed) > 2 or process.poll() is not None, 120)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(stdout.splitlines()) == 1
    assert "Traceback" not in stderr


def test_without_a_server_no_clip_is_blamed(folder: Path, tmp_path: Path) -> None:
    with FakeTriton() as server:
        url = server.url
    path = tmp_path / "results.jsonl"
    assert_fails(run("score", folder, "--output", path, "--url", url), "no Triton server answers")
    assert path.read_text() == ""


def test_a_bar_on_a_terminal(fake: FakeTriton, folder: Path) -> None:
    """Standard error is a terminal; results still go to standard output alone."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [*CLIENT, "score", str(folder), "--json", "--url", fake.url],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    with process, ThreadPoolExecutor(1) as pool:
        screen = pool.submit(_read_terminal, ours)  # it blocks the writer when nobody reads
        assert process.stdout is not None
        records = [json.loads(line) for line in process.stdout]
        shown = screen.result()
    os.close(ours)
    assert process.returncode == 1
    assert len(records) == 4
    assert b"4/4" in shown
    assert b"x real time" in shown


def _read_terminal(descriptor: int) -> bytes:
    shown = b""
    with contextlib.suppress(OSError):  # Linux reports the end of a terminal as an error
        while data := os.read(descriptor, 4096):
            shown += data
    return shown


def test_figure_and_overlay(fake: FakeTriton, folder: Path, tmp_path: Path) -> None:
    figure, overlay = tmp_path / "figure.png", tmp_path / "overlay.mkv"
    done = run("score", folder / "a.mkv", "--plot", figure, "--overlay", overlay, "--url", fake.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(folder / "a.mkv"))
    with av.open(figure) as container:
        assert next(container.decode(video=0)).width > 1000
    with av.open(overlay) as container:
        assert sum(1 for _ in container.decode(video=0)) == 40


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{folder}", "--plot", "p.png"), "--plot and --overlay draw one clip"),
        (("{folder}/a.mkv", "--overlay", "o.mp4", "--output", "r.jsonl"), "without --output"),
        (("{folder}/a.mkv", "--plot", "p.bmp"), "suffixes .png, .pdf, .svg"),
        (("{folder}/a.mkv", "--overlay", "o.avi"), "suffixes .mp4, .mov, .mkv"),
        (("{folder}", "--output", "r.txt"), "suffixes .jsonl, .csv, .parquet"),
        (("{folder}/*.webm",), "no file matches"),
        (("{folder}", "--jobs", "0"), "--jobs"),
    ],
)
def test_usage_errors(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    done = run("score", *(argument.format(folder=folder) for argument in arguments))
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[-1]
    assert done.stdout == ""


def test_the_bar_ends_with_no_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    clock = itertools.count(step=5)  # s
    console = Console(
        file=shown,
        force_terminal=True,
        width=100,
        color_system=None,
        get_time=lambda: float(next(clock)),
    )
    monkeypatch.setattr(batch_meter, "progress_console", lambda: console)
    tally = Tally(2)
    with batch_meter.BatchMeter() as meter:
        meter.start(tally)
        meter.advance()
        meter.advance()
    last = [line for line in re.split(r"[\r\n]", shown.getvalue()) if "clips" in line][-1]
    assert "2/2 clips" in last
    assert last.rstrip().endswith("0:00:00 left")
