"""Drive a server with the real perf_analyzer that comes in tritonclient's wheel.

The binary wants two libraries that the pip server's wheel holds under other names; links in a
temporary folder show them to it. Input tensors are files of raw bytes, one a tensor.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.processes import BenchmarkError
from syncnet_programs.installs import install_command

_LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d*", "libcudart.so.12": "libcudart-*.so.12*"}


@dataclass(frozen=True)
class Load:
    """What perf_analyzer saw at one concurrency; latencies in ms."""

    concurrency: int
    requests_per_s: float
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    queue_ms: float
    compute_ms: float  # input, inference and output


class PerfAnalyzer:
    """The binary, ready to run.

    Args:
        work: an empty folder for links, tensors and reports.

    Raises:
        BenchmarkError: the binary or one of its libraries is missing.
    """

    def __init__(self, work: Path) -> None:
        self._binary = Path(sys.executable).parent / "perf_analyzer"
        if not self._binary.exists():
            raise BenchmarkError(f"no perf_analyzer beside this Python: {install_command('bench')}")
        self._work = work
        libraries = work / "lib"
        libraries.mkdir()
        for name, target in _bundled_libraries().items():
            (libraries / name).symlink_to(target)
        self._environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}

    def run(
        self,
        url: str,
        model: str,
        tensors: Mapping[str, npt.NDArray[np.generic]],
        *,
        concurrency: int,
        shared_memory: bool = False,
        requests: int = 20,
    ) -> Load:
        """Send the same request again and again, `concurrency` at a time, over gRPC.

        Args:
            url: HOST:PORT of the server's gRPC endpoint.
            model: its name.
            tensors: the inputs of one request, without the batch dimension.
            concurrency: requests kept in flight.
            shared_memory: pass tensors through system shared memory.
            requests: in a measurement window; perf_analyzer takes three of these.

        Raises:
            BenchmarkError: perf_analyzer failed, or a request did.
        """
        data, report = self._work / model, self._work / f"{model}.csv"
        data.mkdir(exist_ok=True)
        shapes: list[str] = []
        for name, tensor in tensors.items():
            np.ascontiguousarray(tensor).tofile(data / name)
            shapes += ["--shape", f"{name}:{','.join(map(str, tensor.shape))}"]
        command = [
            *(str(self._binary), "-m", model, "-u", url, "-i", "grpc", "-b", "1"),
            *("--input-data", str(data), *shapes),
            *("--concurrency-range", str(concurrency)),
            *("--measurement-mode", "count_windows", "--measurement-request-count", str(requests)),
            # Three windows are taken whatever their spread; the figures are their mean.
            *("--stability-percentage", "1000", "--max-trials", "3"),
            *("-f", str(report), "--verbose-csv"),
        ]
        if shared_memory:
            command += ["--shared-memory", "system", "--output-shared-memory-size", "4194304"]
        outcome = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False
        )
        if outcome.returncode != 0 or not report.exists():
            lines = (outcome.stderr + outcome.stdout).strip().splitlines() or ["no message"]
            raise BenchmarkError(f"perf_analyzer on {model}: {lines[-1]}")
        load = read_report(report)
        report.unlink()
        return load


def read_report(path: Path) -> Load:
    """Read the only row of perf_analyzer's CSV report, whose times are in microseconds."""
    with path.open(newline="", encoding="utf-8") as file:
        row = next(csv.DictReader(file))

    def ms(*columns: str) -> float:
        return sum(float(row[column]) for column in columns) / 1000

    return Load(
        concurrency=int(row["Concurrency"]),
        requests_per_s=float(row["Inferences/Second"]),
        mean_ms=ms("Avg latency"),
        p50_ms=ms("p50 latency"),
        p90_ms=ms("p90 latency"),
        p95_ms=ms("p95 latency"),
        p99_ms=ms("p99 latency"),
        queue_ms=ms("Server Queue"),
        compute_ms=ms("Server Compute Input", "Server Compute Infer", "Server Compute Output"),
    )


def _bundled_libraries() -> dict[str, Path]:
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise BenchmarkError(
            f"perf_analyzer's libraries come with the server from pip: {install_command('server')}"
        )
    folder = Path(spec.origin).parents[1] / "nvidia_pytriton.libs"
    found = {}
    for name, pattern in _LIBRARIES.items():
        candidates = sorted(folder.glob(pattern))
        if not candidates:
            raise BenchmarkError(f"perf_analyzer needs {name}: none in {folder}")
        found[name] = candidates[0]
    return found
