"""What a benchmark writes down: figures with their spread, and the machine they were seen on."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

RESULTS = Path(__file__).parent / "results"
# Takes the figures that there are so far, after each row.
Record = Callable[[dict[str, Any]], object]

_PACKAGES = (
    "av",
    "numpy",
    "nvidia-pytriton",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python-headless",
    "syncnet-triton",
    "tensorrt",
    "torch",
    "tritonclient",
)


def summary(values: Sequence[float]) -> dict[str, float | int]:
    """Median, smallest and largest of repeated measurements.

    Raises:
        ValueError: there is none.
    """
    if not values:
        raise ValueError("no measurement to summarise")
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "runs": len(values),
    }


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> dict[str, float | int]:
    """Summary of the ratios of runs that were measured in turn, pair by pair.

    A pair sees the same state of a machine whose speed drifts, so its ratio is steadier than the
    times themselves.
    """
    return summary([a / b for a, b in zip(numerator, denominator, strict=True)])


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of the values do not exceed."""
    if not values or not 0 < share <= 1:
        raise ValueError("percentile needs values and a share above 0 and up to 1")
    ordered = sorted(values)
    return ordered[math.ceil(len(ordered) * share) - 1]


def relative_error(actual: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """Largest error of a value relative to the positive one expected in its place."""
    return float(np.abs(np.divide(actual, expected) - 1).max())


def machine() -> dict[str, Any]:
    """Processor, memory, system and the versions of what takes part."""
    versions = {}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def write(name: str, command: str, figures: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Write `<folder>/<name>.json`, whole or not at all, and return its path.

    Args:
        name: of the benchmark.
        command: what to type to see such figures again.
        figures: what was measured; units are in the keys.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    record = {
        "benchmark": name,
        "command": command,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": machine(),
        **figures,
    }
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
    return path


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
