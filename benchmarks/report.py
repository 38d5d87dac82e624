"""The tables of speeds in README and docs/client.md, made from the JSON of the results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS
from syncnet_client.contract import FRAMES_PER_SECOND


def table(folder: Path = RESULTS) -> str:
    """A Markdown table of what was measured; every figure is a median of the JSON in `folder`."""
    scene, end_to_end, memory, precisions, stages, concurrent = (
        _read(folder, name)
        for name in ("scene", "end_to_end", "memory", "precisions", "stages", "concurrent")
    )
    integer = list(precisions["over_fp32"])  # the last is the fastest, which has the long clip
    busiest = concurrent["by_clients"][-1]
    long_clip = end_to_end["long_clip"]
    rows = [
        (
            f"{scene['clip']['frames'] // FRAMES_PER_SECOND} s of 1080p, a talking head in a room, "
            "the published way without finding the face",
            _seconds(scene["published"]),
            "scene",
        ),
        *(
            (
                f"the same clip, `syncnet-client score`, {precision}, face found by {detector}",
                _speed(scene[f"{precision}, {detector}"]),
                "scene",
            )
            for precision in scene["precisions"]
            for detector in ("YuNet", "Haar")
        ),
        (
            "36 s clip, the published way (Conv3d in PyTorch, JPEG files)",
            _seconds(end_to_end["published"]),
            "end_to_end",
        ),
        *(
            (
                f"the same clip, `syncnet-client score`, {name}",
                _speed(end_to_end[name]),
                "end_to_end",
            )
            for name in ("fp32", *integer)
        ),
        (
            "peak memory of the client, 36 s and 10 minutes",
            f"{end_to_end[integer[-1]]['client_peak_mb']['median']:.0f} and "
            f"{long_clip['client_peak_mb']:.0f} MB",
            "end_to_end",
        ),
        (
            f"the same at 1080p and 60 fps, {memory['clip_s'] // 60} minutes, with frames in "
            "shared memory and over gRPC",
            " and ".join(
                f"{memory['ways'][way]['client_peak_mb']:.0f}" for way in ("shared_memory", "grpc")
            )
            + " MB",
            "memory",
        ),
        (
            "windows per second through a server, fp32 over Conv3d in PyTorch",
            f"{precisions['fp32_over_pytorch']['median']:.2f}x",
            "precisions",
        ),
        *(
            (
                f"the same, {name} over fp32",
                f"{precisions['over_fp32'][name]['median']:.2f}x",
                "precisions",
            )
            for name in integer
        ),
        (
            "time through the server over the same files called in one process",
            f"{stages['overhead']['median']:.2f}x",
            "stages",
        ),
        (
            f"{busiest['clients']} clips at once, {concurrent['precision']}",
            f"{busiest['windows_per_s']:.0f} windows/s, 99 % of chunks within "
            f"{busiest['chunk_ms_p99'] / 1000:.1f} s, fairness {busiest['fairness']:.2f}",
            "concurrent",
        ),
    ]
    lines = ["| what | result | `python -m benchmarks --full --only` |", "|---|---|---|"]
    lines += [f"| {what} | {result} | `{only}` |" for what, result, only in rows]
    return "\n".join(lines)


def ingest_table(folder: Path = RESULTS) -> str:
    """A Markdown table of frames per core and second; every figure is a median of `ingest.json`."""
    lines = [
        "| clip | decoding alone | with YuNet | cost over decoding | with Haar | cost |",
        "|---|---|---|---|---|---|",
    ]
    for name, clip in _read(folder, "ingest")["clips"].items():
        bare, yunet, haar = (
            f"{clip[way]['frames_per_core_s']['median']:.0f}" for way in ("bare", "yunet", "haar")
        )
        over_yunet, over_haar = (
            f"{clip[way]['over_bare']['median']:.2f}x" for way in ("yunet", "haar")
        )
        lines.append(f"| {name} | {bare} | {yunet} | {over_yunet} | {haar} | {over_haar} |")
    return "\n".join(lines)


def _read(folder: Path, name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return read


def _seconds(way: Mapping[str, Any]) -> str:
    return f"{way['wall_s']['median']:.1f} s"


def _speed(way: Mapping[str, Any]) -> str:
    faster = way["times_faster_than_published"]["median"]
    return f"{_seconds(way)}: **{faster:.1f}x faster**"


if __name__ == "__main__":
    print(table(), ingest_table(), sep="\n\n")
