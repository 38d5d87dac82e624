"""What the client costs beside decoding: clock, faces and crops, in processor time on one core.

Bare decoding, the clock alone and the crops with each detector take turns, each in a process of its
own that is bound to one core, so that neither FFmpeg nor OpenCV starts threads. How near the crops
are to those of a detection in every frame is measured besides.

    python -m benchmarks.ingest CLIP WAY      # one measurement, as JSON
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av

from benchmarks import fidelity
from benchmarks.processes import BenchmarkError, measure
from benchmarks.record import ratios, summary
from benchmarks.scenes import Scene
from syncnet_client.errors import NoFaceError
from syncnet_client.faces import Cropper, TrackFrames, make_cropper, yunet_file
from syncnet_client.media import open_media
from syncnet_client.scoring.options import parse_detector

SCENES = [
    Scene(width, height, head, codec)
    for width, height, head in ((512, 512, 300), (1280, 720, 340), (1920, 1080, 400))
    for codec in ("libx264", "libx265")
]
# More than half of its frames are never shown.
FAST = Scene(1920, 1080, 400, fps=60)

WAYS = ("bare", "clock", "yunet", "haar", "whole")
# Largest cost over bare decoding with YuNet, by the shorter side of the picture in pixels.
LIMITS = {512: 3.0, 844: 2.5, 1080: 1.7}
PEAK_LIMIT_MB = 300


def run(folder: Path, clips: Sequence[Path], *, rounds: int) -> dict[str, Any]:
    """Measure every way of every clip `rounds` times, in turn.

    Args:
        folder: for the clips that are made here.
        clips: others to measure in their place.
        rounds: of all ways, after one that is not counted.

    Raises:
        BenchmarkError: a clip cannot be read, or YuNet is not there.
    """
    if not yunet_file().is_file():
        raise BenchmarkError("this needs YuNet: run syncnet-client fetch yunet")
    named = {clip.name: clip for clip in clips}
    if not named:
        for index, scene in enumerate([*SCENES, FAST]):
            print(f"encoding {scene.name}", file=sys.stderr)
            named[scene.name] = scene.write(folder / f"scene-{index}.mp4")
    return {"clips": {name: _clip(path, rounds) for name, path in named.items()}}


def _clip(path: Path, rounds: int) -> dict[str, Any]:
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(rounds + 1):
        for way in WAYS:
            usage = measure([sys.executable, "-m", "benchmarks.ingest", str(path), way])
            runs[way].append(json.loads(usage.stdout) | {"peak_mb": usage.peak_mb})
    counted = {way: seen[1:] for way, seen in runs.items()}
    bare = [run["cpu_s"] for run in counted["bare"]]
    side = counted["bare"][0]["side"]
    figures: dict[str, Any] = {"frames": counted["clock"][0]["frames"]}
    for way, seen in counted.items():
        figures[way] = {
            "frames_per_core_s": summary([run["frames"] / run["cpu_s"] for run in seen]),
            "over_bare": ratios([run["cpu_s"] for run in seen], bare),
            "peak_mb": max(run["peak_mb"] for run in seen),
            "cropped": seen[0]["cropped"],
        }
    limit = next((LIMITS[least] for least in sorted(LIMITS, reverse=True) if side >= least), None)
    figures["limit"] = limit
    figures["within_limit"] = limit is None or figures["yunet"]["over_bare"]["median"] <= limit
    figures["peak_within_limit"] = figures["yunet"]["peak_mb"] <= PEAK_LIMIT_MB
    figures["fidelity"] = fidelity.errors(path)
    return figures


def _once(path: Path, way: str) -> dict[str, Any]:
    """Measure one way in this process, with all that it loads before left out."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if way == "bare":
        return _bare(path)
    cropper: Cropper | None = None
    if way == "whole":
        cropper = make_cropper("none")
    elif way != "clock":
        cropper = make_cropper("auto", detector=parse_detector(way))
    frames = cropped = side = 0
    began = time.process_time()
    with open_media(path) as media:
        for block in media:
            frames += len(block.frames)
            if cropper is not None:
                cropped += _count(cropper.push(block.frames))
        side = min(media.info.width, media.info.height)
    if cropper is not None:
        try:
            cropped += _count(cropper.flush())
        except NoFaceError:
            cropped = 0
    return {
        "cpu_s": time.process_time() - began,
        "frames": frames,
        "cropped": cropped,
        "side": side,
    }


def _bare(path: Path) -> dict[str, Any]:
    frames = 0
    began = time.process_time()
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        for _ in container.decode(video):
            frames += 1
        side = min(video.codec_context.width, video.codec_context.height)
    return {
        "cpu_s": time.process_time() - began,
        "frames": frames,
        "cropped": 0,
        "side": side,
    }


def _count(events: Sequence[Any]) -> int:
    return sum(len(event.frames) for event in events if isinstance(event, TrackFrames))


if __name__ == "__main__":
    print(json.dumps(_once(Path(sys.argv[1]), sys.argv[2])))
