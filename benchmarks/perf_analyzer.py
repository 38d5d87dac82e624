"""Drive a server with the real perf_analyzer that comes in tritonclient's wheel.

    python -m benchmarks.perf_analyzer -- --concurrency-range 1:4

runs it on the ensemble. The binary wants two libraries that the pip server's wheel holds under
other names; links in a temporary folder show them to it. Input tensors are files of raw bytes, one
a tensor.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.processes import BenchmarkError
from syncnet_programs.installs import install_command
from syncnet_server import Server, ServingError

_LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d*", "libcudart.so.12": "libcudart-*.so.12*"}
# A chunk takes seconds on a CPU: windows of time, which are the default, would often see none end.
# Three windows are taken whatever their spread; the figures are their mean.
_THREE_WINDOWS = ("--measurement-mode", "count_windows", "--stability-percentage", "1000",
                  "--max-trials", "3")  # fmt: skip
_REQUESTS = 20  # in a window


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
        requests: int = _REQUESTS,
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
        report = self._work / f"{model}.csv"
        command = [
            *self._command(url, model, tensors),
            *("--concurrency-range", str(concurrency)),
            *(*_THREE_WINDOWS, "--measurement-request-count", str(requests)),
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

    def pass_on(
        self,
        url: str,
        model: str,
        tensors: Mapping[str, npt.NDArray[np.generic]],
        options: Sequence[str],
    ) -> int:
        """Run it as a user would, with these options; its exit status.

        They come last, so they replace those that it gets here. What it prints goes where this
        process prints.
        """
        count = ("--measurement-request-count", str(_REQUESTS))
        command = [*self._command(url, model, tensors), *_THREE_WINDOWS, *count, *options]
        return subprocess.run(command, env=self._environment, check=False).returncode

    def _command(
        self, url: str, model: str, tensors: Mapping[str, npt.NDArray[np.generic]]
    ) -> list[str]:
        data = self._work / model
        data.mkdir(exist_ok=True)
        shapes: list[str] = []
        for name, tensor in tensors.items():
            np.ascontiguousarray(tensor).tofile(data / name)
            shapes += ["--shape", f"{name}:{','.join(map(str, tensor.shape))}"]
        return [
            *(str(self._binary), "-m", model, "-u", url, "-i", "grpc", "-b", "1"),
            *("--input-data", str(data), *shapes),
        ]


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run perf_analyzer on the ensemble; return its exit status."""
    from benchmarks.load import ensemble_tensors
    from syncnet_client.defaults import DEFAULT_CHUNK

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.perf_analyzer",
        description="Run perf_analyzer on the ensemble with a chunk of the sample clip.",
        epilog="example: python -m benchmarks.perf_analyzer -- --concurrency-range 1:4",
    )
    parser.add_argument(
        "--url", metavar="HOST:PORT", help="gRPC address of a server (default: start one here)"
    )
    parser.add_argument(
        "--profile", default="default", metavar="NAME", help="of the server that is started"
    )
    parser.add_argument(
        "--windows", type=int, default=DEFAULT_CHUNK, metavar="N", help="in the chunk (%(default)s)"
    )
    parser.add_argument(
        "options", nargs="*", metavar="OPTION", help="after --, options of perf_analyzer itself"
    )
    chosen = parser.parse_args(arguments)
    try:
        with ExitStack() as stack:
            work = stack.enter_context(tempfile.TemporaryDirectory(prefix="syncnet-benchmarks-"))
            analyzer = PerfAnalyzer(Path(work))
            url = chosen.url
            if url is None:
                print("starting a local server ...", file=sys.stderr)
                url = stack.enter_context(Server(profile=chosen.profile)).grpc_url
            tensors = ensemble_tensors(chosen.windows)
            return analyzer.pass_on(url, "syncnet", tensors, chosen.options)
    except (BenchmarkError, ServingError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("benchmarks: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
