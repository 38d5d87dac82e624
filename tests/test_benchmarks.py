"""The benchmarks' own arithmetic, and the real perf_analyzer on the real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from benchmarks import gpu, memory, plots, published, record, report
from benchmarks.gpu import runtimes
from benchmarks.gpu.way import Embed, MissingError, Way
from benchmarks.load import model_tensors
from benchmarks.perf_analyzer import PerfAnalyzer, read_report
from benchmarks.processes import BenchmarkError, measure, tree_cpu_s
from benchmarks.scenes import Scene
from benchmarks.setup import write_clip
from syncnet_client.media import open_media
from syncnet_export.network import SyncNet, random_checkpoint
from syncnet_server import Server


def test_summary_is_median_and_spread() -> None:
    assert record.summary([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0, "runs": 3}
    with pytest.raises(ValueError, match="no measurement"):
        record.summary([])


def test_ratios_are_taken_pair_by_pair() -> None:
    assert record.ratios([10.0, 40.0], [5.0, 10.0])["median"] == 3.0
    with pytest.raises(ValueError, match="zip"):
        record.ratios([1.0], [1.0, 2.0])


def test_relative_error_is_the_largest() -> None:
    assert record.relative_error([9.0, 10.5], [10.0, 10.0]) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.01, 1), (0.1, 1), (0.5, 5), (0.51, 6), (0.99, 10), (1.0, 10)]
)
def test_percentile_is_a_value_seen(share: float, expected: int) -> None:
    assert record.percentile(list(range(10, 0, -1)), share) == expected


def test_a_record_names_machine_versions_and_command(tmp_path: Path) -> None:
    path = record.write("speed", "python -m benchmarks", {"windows_per_s": 3}, tmp_path)
    written = json.loads(path.read_text())
    assert written["command"] == "python -m benchmarks"
    assert written["windows_per_s"] == 3
    assert written["machine"]["cores"] >= 1
    assert "onnxruntime" in written["machine"]["versions"]
    assert list(tmp_path.iterdir()) == [path]


def test_measure_sees_time_memory_and_output_of_a_process() -> None:
    program = "data = bytearray(150_000_000); print(sum(range(3_000_000)))"
    usage = measure([sys.executable, "-c", program])
    assert usage.stdout == f"{sum(range(3_000_000))}\n"
    assert usage.peak_mb > 150
    assert usage.cpu_s > 0
    assert usage.wall_s > 0


def test_measure_passes_a_failure_on() -> None:
    with pytest.raises(BenchmarkError, match="not today"):
        measure([sys.executable, "-c", "raise SystemExit('not today')"])


def test_tree_cpu_counts_this_process() -> None:
    before = tree_cpu_s(os.getpid())
    sum(range(5_000_000))
    assert tree_cpu_s(os.getpid()) > before


def test_clip_has_the_frames_and_samples_asked_for(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mkv", 60, 37_000)
    images, samples = published.decode(tmp_path / "clip.mkv")
    assert images.shape == (60, 224, 224, 3)
    assert samples.shape == (37_000,)


def test_files_on_the_published_way_keep_the_audio(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mkv", 10, 6400)
    folder = tmp_path / "files"
    folder.mkdir()
    images, samples = published.decode(tmp_path / "clip.mkv")
    read, heard = published.through_files(images, samples, folder)
    assert (heard == samples).all()
    assert read.shape == images.shape
    assert abs(read.astype(int) - images.astype(int)).mean() < 5  # JPEG


def test_flops_of_a_window_are_those_of_the_layers() -> None:
    flops = gpu.flops_per_window(SyncNet().eval())
    assert flops == pytest.approx(3.12e9, rel=0.01)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")  # of torch's own
def test_gpu_benchmark_compares_every_configuration_with_the_network() -> None:
    recorded: list[int] = []
    figures = gpu.run(
        device=torch.device("cpu"),
        width=1 / 16,
        windows=(2,),
        calls=1,
        repeats=1,
        record=lambda so_far: recorded.append(len(so_far["rows"])),
    )
    assert recorded == [1, 2, 3, 4, 5, 6]
    assert gpu.failures(figures) == []
    for row in figures["rows"]:
        assert row["passed"], row
        assert row["windows_per_s"]["on_card"]["median"] > 0


def test_a_way_that_fails_is_recorded_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Embed:
        raise RuntimeError("out of\nmemory")

    def lack() -> Embed:
        raise MissingError("tensorrt is not installed")

    def wrong() -> Embed:
        return lambda frames: torch.ones(1, frames.shape[1] - 4, 1024)

    ways = [
        Way(name, 1, 2, 1e-3, prepare)
        for name, prepare in (("fails", refuse), ("lacks", lack), ("is wrong", wrong))
    ]
    monkeypatch.setattr(gpu, "pytorch_ways", lambda *_: ways)
    monkeypatch.setattr(gpu, "runtime_ways", lambda *_: ())
    figures = gpu.run(
        device=torch.device("cpu"),
        width=0.01,
        windows=(2,),
        calls=1,
        repeats=1,
        record=lambda _: None,
    )
    failing, missing, different = figures["rows"]
    assert failing["failed"] == "RuntimeError: out of memory"
    assert missing["missing"] == "tensorrt is not installed"
    assert different["passed"] is False
    assert gpu.failures(figures) == ["fails", "is wrong"]


def test_a_provider_that_does_not_load_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = "CUDAExecutionProvider"
    network = SyncNet.from_state_dict(random_checkpoint(width=0.01))
    cuda, *_ = runtimes.runtime_ways(network, torch.device("cuda"), (2,))
    with pytest.raises(MissingError, match=f"built without {provider}"):
        cuda.prepare()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [provider])
    with pytest.raises(MissingError, match=f"{provider} is part of .* but does not load here"):
        cuda.prepare()


def test_tensorrt_is_missing_where_it_is_not_installed() -> None:
    network = SyncNet.from_state_dict(random_checkpoint(width=0.01))
    *_, tensorrt = runtimes.runtime_ways(network, torch.device("cuda"), (2,))
    with pytest.raises(MissingError, match="tensorrt is not installed"):
        tensorrt.prepare()


def test_a_report_of_perf_analyzer_is_read(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    path.write_text(
        "Concurrency,Inferences/Second,Client Send,Server Queue,Server Compute Input,"
        "Server Compute Infer,Server Compute Output,p50 latency,p90 latency,p95 latency,"
        "p99 latency,Avg latency\n"
        "2,10.5,100,3000,1000,150000,2000,190000,200000,201000,250000,191000\n"
    )
    load = read_report(path)
    assert (load.concurrency, load.requests_per_s) == (2, 10.5)
    assert (load.mean_ms, load.p50_ms, load.p99_ms) == (191, 190, 250)
    assert (load.queue_ms, load.compute_ms) == (3, 153)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("model", ["syncnet", "video_tower", "mfcc", "shift_distance"])
@pytest.mark.parametrize("shared_memory", [False, True])
def test_perf_analyzer_drives_every_model(
    server: Server, narrow_repository: Path, tmp_path: Path, model: str, shared_memory: bool
) -> None:
    tensors = model_tensors(narrow_repository, windows=10)[model]
    load = PerfAnalyzer(tmp_path).run(
        server.grpc_url,
        model,
        tensors,
        concurrency=2,
        shared_memory=shared_memory,
        requests=4,
    )
    assert load.concurrency == 2
    assert load.requests_per_s > 0
    assert load.p50_ms <= load.p99_ms


@pytest.mark.server
def test_perf_analyzer_says_why_it_fails(server: Server, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="no_such_model"):
        PerfAnalyzer(tmp_path).run(server.grpc_url, "no_such_model", {}, concurrency=1)


@pytest.mark.server
def test_perf_analyzer_runs_on_the_ensemble_by_one_command(server: Server) -> None:
    command = [sys.executable, "-m", "benchmarks.perf_analyzer", "--windows", "10"]
    options = ["--", "--concurrency-range", "2", "--measurement-request-count", "2"]
    done = subprocess.run(
        [*command, "--url", server.grpc_url, *options],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=Path(__file__).parents[1],
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Minimum number of samples in each window: 2\n" in done.stdout
    assert "\nConcurrency: 2, throughput: " in done.stdout
    assert "video_tower, version: 1" in done.stdout


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Two seconds, of which the second is the first once more."""
    return Scene(320, 240, 200, seconds=1, repeats=2).write(tmp_path / "scene.mp4")


def test_a_scene_shows_again_what_is_encoded_once(scene: Path) -> None:
    with open_media(scene) as media:
        frames = [frame for block in media for frame in block.frames]
    assert [frame.time for frame in frames] == [Fraction(index, 25) for index in range(50)]
    for first, second in zip(frames[:25], frames[25:], strict=True):
        assert np.array_equal(first.image, second.image)
    assert not np.array_equal(frames[0].image, frames[24].image)
    assert media.summary.warnings == ()


def test_ingest_is_measured_on_a_scene_with_a_head(scene: Path) -> None:
    ways = ("bare", "clock", "haar", "whole")
    usage = measure([sys.executable, "-m", "benchmarks.ingest", scene, "2", *ways])
    seen = json.loads(usage.stdout)
    assert tuple(seen) == ways
    for way, runs in seen.items():
        assert min(run.pop("cpu_s") for run in runs) > 0
        cropped = 50 if way in ("haar", "whole") else 0
        assert runs == [{"decoded": 50, "frames": 50, "cropped": cropped, "side": 240}] * 2


@pytest.mark.long
@pytest.mark.server
def test_the_client_stays_below_300_mb_at_1080p_and_60_fps(tmp_path: Path) -> None:
    figures = memory.run(tmp_path, seconds=20, record=lambda _: None)
    peaks = {way: seen["client_peak_mb"] for way, seen in figures["ways"].items()}
    assert peaks.keys() == {"shared_memory", "grpc"}
    assert max(peaks.values()) < 300, peaks


def test_plots_are_pictures(tmp_path: Path) -> None:
    rows = [
        {"concurrency": n, "p50_ms": 10.0 * n, "p99_ms": 15.0 * n, "windows_per_s": 100.0}
        for n in (1, 2)
    ]
    plots.throughput_against_latency({"gRPC": rows}, tmp_path / "load.png")
    stage = {"median": 1.0, "min": 0.9, "max": 1.2}
    plots.stage_bars({"decode": stage, "video_tower": stage}, 30, tmp_path / "stages.png")
    cost = {"over_bare": stage}
    ways = {"clock": cost, "yunet": cost, "haar": cost, "whole": cost, "limit": 3.0}
    plots.ingest_costs({"clip": ways}, tmp_path / "ingest.png")
    for name in ("load.png", "stages.png", "ingest.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_readme_and_docs_show_what_was_measured() -> None:
    root = Path(__file__).parents[1]
    assert report.table() in (root / "README.md").read_text()
    assert report.ingest_table() in (root / "docs" / "client.md").read_text()


def test_every_upload_must_end_in_the_same_result_or_a_clear_error() -> None:
    from benchmarks.gateway import Answer, problems

    right, expected = Answer("result", [0, 12.5], 1.0), [0, 12.5]
    away = Answer("server-unavailable", "localhost:8001 does not answer", 120.0)
    allowed = frozenset({"result", "server-unavailable"})
    assert problems([right, away], allowed, expected, []) == []
    wrong = [
        Answer("result", [1, 12.5], 1.0),
        Answer("internal", "see the gateway's log", 1.0),
        Answer("server-unavailable", "", 1.0),
    ]
    assert problems(wrong, allowed, expected, ["file /tmp/a.mp4"]) == [
        "left over: file /tmp/a.mp4",
        "upload 0: [1, 12.5] in place of [0, 12.5]",
        "upload 1: internal: see the gateway's log",
        "upload 2: server-unavailable without a sentence",
    ]
