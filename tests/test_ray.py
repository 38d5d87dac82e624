"""A real Ray cluster of several nodes on this machine, a real server, and workers that die."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet
import pytest
from commandline import CLIENT, assert_fails, run, write_clip

from syncnet_client.records.parquet import ParquetOutput
from syncnet_client.records.record import Record
from syncnet_server import Server

pytestmark = [pytest.mark.long, pytest.mark.server, pytest.mark.timeout(900)]

NODES = 2
CLIPS = 8

# The cluster lives in a process of its own: Ray leaves sockets and warnings behind in its driver.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster()
for number in range(int(sys.argv[1])):
    cluster.add_node(num_cpus=1, object_store_memory=100_000_000, include_dashboard=False)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a cluster of nodes with one core each."""
    # Ray's sockets need a short path; its workers are otherwise starved on a busy machine.
    environment = os.environ | {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER, str(NODES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
        cwd=tmp_path_factory.mktemp("cluster"),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address
        yield address
        process.stdin.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset") / "clips"
    folder.mkdir()
    for number in range(CLIPS):
        write_clip(folder / f"{number}.mkv", frames=40 + 3 * number)
    (folder / "broken.mp4").write_text("nothing to see here\n" * 100)
    return folder


def on_ray(cluster: str, server: Server, *arguments: object) -> list[str]:
    options = ["--engine", "ray", "--ray-address", cluster, "--url", server.grpc_url]
    return [*CLIENT, "score", *map(str, arguments), *options]


def score(*arguments: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(on_ray(*arguments), capture_output=True, text=True, timeout=600)


def our_lines(stderr: str) -> list[str]:
    """The lines of the client; Ray writes some of its own."""
    return [line for line in stderr.splitlines() if line.startswith("syncnet-client: ")]


def plain(server: Server, folder: Path) -> dict[str, Record]:
    """What the client says without Ray."""
    done = run("score", folder, "--json", "--url", server.grpc_url)
    records = [Record.from_json(line) for line in done.stdout.splitlines()]
    return {record.clip: record for record in records}


def assert_complete(output: Path, expected: dict[str, Record], scratch: Path) -> None:
    """Every clip has its record once, with the same values as the plain client's."""
    table = pyarrow.parquet.read_table(output)
    rows = {row["clip"]: row for row in table.to_pylist()}
    scored = [clip for clip, record in expected.items() if record.ok]
    assert sorted(clip for clip in table["clip"].to_pylist() if clip in scored) == sorted(scored)
    with ParquetOutput(scratch) as same:
        for record in expected.values():
            same.append(record)
    assert rows == {row["clip"]: row for row in pyarrow.parquet.read_table(scratch).to_pylist()}


def workers() -> list[psutil.Process]:
    """The processes of Ray's actors that score clips."""
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        title = " ".join(process.info["cmdline"] or [])
        if title.startswith("ray::") and "ScoreActor" in title:
            found.append(process)
    return found


def test_results_are_those_of_the_plain_client_and_a_second_run_resumes(
    cluster: str, server: Server, folder: Path, tmp_path: Path
) -> None:
    manifest, output = tmp_path / "clips.jsonl", tmp_path / "out"
    lines = [json.dumps({"clip": str(path)}) for path in sorted(folder.iterdir())]
    manifest.write_text("\n".join(lines[:4]))
    first = score(cluster, server, manifest, "--output", output)
    assert first.returncode == 0, first.stderr
    assert "4 scored, 0 failed" in first.stderr

    second = score(cluster, server, folder, "--output", output, "--json")
    assert second.returncode == 1
    assert f"{CLIPS - 4} scored, 1 failed, 4 done before" in second.stderr
    (failure,) = our_lines(second.stderr)
    assert "broken.mp4" in failure
    assert len(second.stdout.splitlines()) == CLIPS - 4 + 1
    assert_complete(output, plain(server, folder), tmp_path / "same")


def test_a_worker_is_killed_in_the_middle(
    cluster: str, server: Server, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    command = on_ray(cluster, server, folder, "--output", output)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()  # the first result is there
        victims = workers()
        assert victims
        victims[0].kill()
        process.stdout.read()
        errors = process.stderr.read()
    assert process.returncode == 1, errors
    assert f"{CLIPS} scored, 1 failed" in errors
    assert_complete(output, plain(server, folder), tmp_path / "same")


def test_clips_in_an_archive_are_read_by_the_workers(
    cluster: str, server: Server, folder: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "clips.zip", "w") as archive:
        archive.write(folder / "0.mkv", "0.mkv")
    url = f"zip://0.mkv::{tmp_path / 'clips.zip'}"
    done = score(cluster, server, url, "--output", tmp_path / "out.jsonl")
    assert done.returncode == 0, done.stderr
    (record,) = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    expected = plain(server, folder)[str(folder / "0.mkv")].to_dict()
    assert record == {**expected, "clip": url}


def test_without_a_server_no_clip_is_blamed(cluster: str, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    options = ("--engine", "ray", "--ray-address", cluster, "--url", "127.0.0.1:9")
    done = run("score", folder, "--output", output, *options)
    assert done.returncode == 1
    (line,) = our_lines(done.stderr)
    assert "no Triton server answers at 127.0.0.1:9" in line
    assert done.stdout == ""
    assert output.read_text() == ""


def test_a_cluster_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    options = ("--engine", "ray", "--ray-address", "127.0.0.1:9", "--output", tmp_path / "out")
    done = run("score", folder, *options)
    assert_fails(done, "no Ray cluster answers at 127.0.0.1:9")
