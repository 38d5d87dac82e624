"""What MFCC cost: they are computed on one core for each process, and cap a server with a GPU.

In this process, chunk by chunk as Triton's process does it; and on a server, by perf_analyzer, with
as many processes as the default and as the profiles for GPUs have.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.perf_analyzer import PerfAnalyzer
from benchmarks.processes import timed
from benchmarks.record import percentile, summary
from syncnet_client.defaults import DEFAULT_CHUNK, DEFAULT_VSHIFT
from syncnet_export.tensorrt import LIVE_CHUNK
from syncnet_server import Server, default_model_repository, load_model_module

_CALLS = 200  # timed one by one
_AIM_MS = 2.0  # for the audio of a chunk of the default length


def run(folder: Path, *, rounds: int) -> dict[str, Any]:
    """Measure the model `mfcc` by itself, on a server with the towers that ship.

    Args:
        folder: for a copy and tensors.
        rounds: of the calls in this process.
    """
    repository = default_model_repository()
    in_process = {
        f"chunk_{chunk}": _in_process(repository, chunk, rounds)
        for chunk in (LIVE_CHUNK, DEFAULT_CHUNK)
    }
    (folder / "mfcc").mkdir()
    analyzer = PerfAnalyzer(folder / "mfcc")
    served = {}
    several = _with_gpu_profile(repository, folder / "several")
    for each, processes in ((repository, 1), (several, 4)):
        with Server(each) as server:
            load = analyzer.run(
                server.grpc_url, "mfcc", {"AUDIO": _audio(DEFAULT_CHUNK)}, concurrency=processes
            )
        served[f"processes_{processes}"] = {
            "in_flight": processes,
            "p50_ms": load.p50_ms,
            "windows_per_s": DEFAULT_CHUNK * load.requests_per_s,
        }
    chunk_ms = in_process[f"chunk_{DEFAULT_CHUNK}"]["ms"]["median"]
    return {
        "in_process": in_process,
        "served": served,
        "aim_ms": _AIM_MS,
        "within_aim": chunk_ms <= _AIM_MS,
    }


def _in_process(model_repository: Path, chunk: int, rounds: int) -> dict[str, Any]:
    module, audio = load_model_module(model_repository, "mfcc"), _audio(chunk)

    def median_ms() -> float:
        times = [timed(lambda: module.mfcc_windows(audio)) for _ in range(_CALLS)]
        return 1e3 * percentile(times, 0.5)

    spread = summary([median_ms() for _ in range(rounds)])
    return {
        "audio_windows": chunk + 2 * DEFAULT_VSHIFT,
        "ms": spread,
        "windows_per_s": 1e3 * chunk / spread["median"],
    }


def _audio(chunk: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Noise for the audio of a chunk of so many video windows; its cost does not depend on it."""
    samples = 1 + 640 * (chunk + 2 * DEFAULT_VSHIFT - 1) + 3440
    return np.random.default_rng(0).integers(-9999, 9999, samples).astype(np.int16)


def _with_gpu_profile(model_repository: Path, copy: Path) -> Path:
    shutil.copytree(model_repository, copy)
    shutil.copy(copy / "mfcc" / "configs" / "fp16.pbtxt", copy / "mfcc" / "config.pbtxt")
    return copy
