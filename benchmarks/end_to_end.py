"""A clip from file to result: the published way against `syncnet-client score` on a local server.

The same 36 s clip, in turn, several times: wall time, processor time of client and server, peak
memory of the client, times real time. The answers are compared with those of the fp32 network in
PyTorch on the decoded frames; one past the tolerance of its precision fails.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import published
from benchmarks.processes import BenchmarkError, Usage, measure, tree_cpu_s
from benchmarks.record import ratios, relative_error, summary
from benchmarks.setup import (
    CLIP_FRAMES,
    CLIP_SAMPLES,
    DISTANCE_TOLERANCES,
    FASTEST,
    PRECISIONS,
    FullSize,
    serve,
    write_clip,
)
from syncnet_client.contract import FRAMES_PER_SECOND
from syncnet_export import load_checkpoint

# Ways to score on a server: the precision it serves, and options of the client. A server on the
# same machine gets frames in shared memory, unless told otherwise.
WAYS: dict[str, tuple[str, tuple[str, ...]]] = {name: (name, ()) for name in PRECISIONS}
WAYS[f"{FASTEST}, frames sent over gRPC"] = (FASTEST, ("--no-shared-memory",))
WAYS["fp32, chunks of 60 windows"] = ("fp32", ("--chunk", "60"))

# JPEG files, which only the published way takes, change the frames themselves.
TOLERANCES = {"published": 5e-2} | {
    way: DISTANCE_TOLERANCES[precision] for way, (precision, _) in WAYS.items()
}

# The client holds a bounded number of frames, so this must hold for a clip of any length.
CLIENT_PEAK_LIMIT_MB = 300
LONG_CLIP_S = 600


@dataclass(frozen=True)
class _Run:
    usage: Usage
    server_cpu_s: float
    error: float


def run(full_size: FullSize, folder: Path, *, rounds: int, long_clip: bool) -> dict[str, Any]:
    """Measure `rounds` times each way.

    Args:
        full_size: what to score with.
        folder: for clips.
        rounds: of the published way and each of `WAYS` in turn, after one of each of these that
            is not counted.
        long_clip: also score a clip of ten minutes, for the peak memory of the client.

    Raises:
        BenchmarkError: a way failed, or its answer is past its tolerance.
    """
    clip = folder / "clip.mkv"
    write_clip(clip, CLIP_FRAMES, CLIP_SAMPLES)
    reference = _reference(clip, full_size)
    runs: dict[str, list[_Run]] = {"published": [], **{way: [] for way in WAYS}}
    with ExitStack() as stack:
        urls = {name: stack.enter_context(serve(full_size, name)).grpc_url for name in PRECISIONS}
        for precision, options in WAYS.values():
            _score(clip, urls[precision], *options)
        for _ in range(rounds):
            command = [sys.executable, "-m", "benchmarks.published", str(clip)]
            usage = measure([*command, "--weights", full_size.weights])
            runs["published"].append(_Run(usage, 0.0, _error(usage, reference)))
            for way, (precision, options) in WAYS.items():
                before = tree_cpu_s(os.getpid())
                usage = _score(clip, urls[precision], *options)
                server_cpu_s = tree_cpu_s(os.getpid()) - before
                runs[way].append(_Run(usage, server_cpu_s, _error(usage, reference)))
        figures = _figures(runs)
        if long_clip:
            figures["long_clip"] = _long_clip(folder, urls[FASTEST])
    _check(figures)
    return figures


def _reference(clip: Path, full_size: FullSize) -> list[float]:
    network = load_checkpoint(full_size.weights).network()
    images, samples = published.decode(clip)
    cpu = torch.device("cpu")
    with torch.inference_mode():
        mean = published.mean_distances(images, samples, network, batch=20, device=cpu)
    return [float(value) for value in mean]


def _score(clip: Path, url: str, *options: str) -> Usage:
    program = Path(sys.executable).parent / "syncnet-client"
    return measure([program, "score", clip, "--url", url, "--json", *options])


def _error(usage: Usage, reference: Sequence[float]) -> float:
    """Largest relative error of a mean distance."""
    return relative_error(json.loads(usage.stdout)["mean_distances"], reference)


def _figures(runs: dict[str, list[_Run]]) -> dict[str, Any]:
    seconds = CLIP_FRAMES / FRAMES_PER_SECOND
    figures: dict[str, Any] = {"clip": {"frames": CLIP_FRAMES, "samples": CLIP_SAMPLES}}
    for name, seen in runs.items():
        wall = [one.usage.wall_s for one in seen]
        figures[name] = {
            "wall_s": summary(wall),
            "times_real_time": summary([seconds / value for value in wall]),
            "client_cpu_s": summary([one.usage.cpu_s for one in seen]),
            "server_cpu_s": summary([one.server_cpu_s for one in seen]),
            "client_peak_mb": summary([one.usage.peak_mb for one in seen]),
            "relative_error": max(one.error for one in seen),
            "tolerance": TOLERANCES[name],
        }
    slow = [one.usage.wall_s for one in runs["published"]]
    for way in WAYS:
        figures[way]["times_faster_than_published"] = ratios(
            slow, [one.usage.wall_s for one in runs[way]]
        )
    return figures


def _long_clip(folder: Path, url: str) -> dict[str, Any]:
    clip = folder / "long.mkv"
    frames = LONG_CLIP_S * FRAMES_PER_SECOND
    write_clip(clip, frames, LONG_CLIP_S * 16_000)
    usage = _score(clip, url)
    return {
        "frames": frames,
        "wall_s": usage.wall_s,
        "client_peak_mb": usage.peak_mb,
        "times_real_time": LONG_CLIP_S / usage.wall_s,
    }


def _check(figures: dict[str, Any]) -> None:
    for name in ("published", *WAYS):
        error = figures[name]["relative_error"]
        if error > TOLERANCES[name]:
            raise BenchmarkError(f"{name}: relative error {error:.2g} is past {TOLERANCES[name]:g}")
    peaks = [figures[name]["client_peak_mb"]["max"] for name in WAYS]
    if "long_clip" in figures:
        peaks.append(figures["long_clip"]["client_peak_mb"])
    figures["client_peak_limit_mb"] = CLIENT_PEAK_LIMIT_MB
    figures["client_peak_within_limit"] = max(peaks) <= CLIENT_PEAK_LIMIT_MB
