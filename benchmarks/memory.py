"""The largest memory of the client at 1080p and 60 frames a second, with the towers that ship.

Its frames lie in shared memory or go over gRPC. The clip is encoded for four seconds and repeated.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.processes import measure
from benchmarks.record import Record
from benchmarks.scenes import Scene
from syncnet_server import Server

SCENE = Scene(1920, 1080, 400, fps=60)
WAYS = {"shared_memory": (), "grpc": ("--no-shared-memory",)}
LIMIT_MB = 300


def run(folder: Path, *, seconds: int, record: Record) -> dict[str, Any]:
    """Score a clip once each way.

    Args:
        folder: for the clip.
        seconds: of the clip, a multiple of four.
        record: given the figures so far after each way.
    """
    scene = replace(SCENE, repeats=seconds // SCENE.seconds)
    clip = scene.write(folder / "long.mp4")
    program = Path(sys.executable).parent / "syncnet-client"
    ways: dict[str, Any] = {}
    figures = {"clip": scene.name, "clip_s": seconds, "peak_limit_mb": LIMIT_MB, "ways": ways}
    with Server() as server:
        for way, options in WAYS.items():
            usage = measure([program, "score", clip, "--url", server.grpc_url, "--json", *options])
            ways[way] = {
                "client_peak_mb": usage.peak_mb,
                "within_limit": usage.peak_mb <= LIMIT_MB,
                "client_cpu_s": usage.cpu_s,
                "wall_s": usage.wall_s,
            }
            record(figures)
    return figures
