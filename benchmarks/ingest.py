"""What the client costs beside decoding: clock, faces and crops, in processor time on one core.

Bare decoding, the clock alone and the crops with each detector take turns in one process for each
clip, which is bound to one core, so that neither FFmpeg nor OpenCV starts threads. How near crops
and scores are to those of a detection in every frame is measured besides; the scores come from the
towers that ship.

    python -m benchmarks.ingest CLIP ROUNDS WAY...     # the runs of one clip, as JSON
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av

from benchmarks import fidelity
from benchmarks.processes import BenchmarkError, measure
from benchmarks.record import Record, ratios, summary
from benchmarks.scenes import Scene
from syncnet_client import SyncNetClient
from syncnet_client.errors import NoFaceError
from syncnet_client.faces import Cropper, TrackFrames, make_cropper, yunet_file
from syncnet_client.media import open_media
from syncnet_client.scoring.options import parse_detector
from syncnet_server import Server

SCENES = [
    Scene(width, height, head, codec, repeats=3)
    for width, height, head in ((512, 512, 300), (1280, 720, 340), (1920, 1080, 400))
    for codec in ("libx264", "libx265")
]
# More than half of its frames are never shown.
FAST = Scene(1920, 1080, 400, fps=60, repeats=2)

WAYS = ("bare", "clock", "yunet", "haar", "whole")
# Largest cost over bare decoding with YuNet, by the shorter side of the picture in pixels.
LIMITS = {512: 3.0, 844: 2.5, 1080: 1.7}


@dataclass(frozen=True)
class Run:
    """One way through one clip.

    Attributes:
        cpu_s: processor time, without the loading of modules.
        decoded: frames of the source that were decoded.
        frames: that came out.
        cropped: faces that were cut out.
        side: the shorter one of the picture, in pixels.
    """

    cpu_s: float
    decoded: int
    frames: int
    cropped: int
    side: int


def run(
    folder: Path,
    clips: Sequence[Path],
    *,
    rounds: int,
    record: Record,
) -> dict[str, Any]:
    """Measure every way of every clip `rounds` times, in turn.

    Args:
        folder: for the clips that are made here.
        clips: others to measure in their place.
        rounds: of all ways, after one that is not counted.
        record: given the figures so far after each clip.

    Raises:
        BenchmarkError: a clip cannot be read, or YuNet is not there.
    """
    if not yunet_file().is_file():
        raise BenchmarkError("this needs YuNet: run syncnet-client fetch yunet")
    rows: dict[str, Any] = {}
    figures = {"rounds": rounds, "clips": rows}
    with Server() as server, SyncNetClient(server.grpc_url) as client:
        for clip in clips:
            rows[clip.name] = _clip(clip, rounds, client)
            record(figures)
        for scene in [] if clips else [*SCENES, FAST]:
            rows[scene.name] = _clip(scene.write(folder / "scene.mp4"), rounds, client)
            record(figures)
    return figures


def _clip(path: Path, rounds: int, client: SyncNetClient) -> dict[str, Any]:
    usage = measure([sys.executable, "-m", "benchmarks.ingest", path, str(rounds), *WAYS])
    runs = {way: [Run(**one) for one in seen] for way, seen in json.loads(usage.stdout).items()}
    bare = [run.cpu_s for run in runs["bare"]]
    side = runs["bare"][0].side
    frames = runs["clock"][0].frames  # at 25 a second, whatever the source has
    figures: dict[str, Any] = {"frames": frames}
    for way, seen in runs.items():
        figures[way] = {
            "frames_per_core_s": summary([frames / run.cpu_s for run in seen]),
            "over_bare": ratios([run.cpu_s for run in seen], bare),
            "decoded": seen[0].decoded,
            "cropped": seen[0].cropped,
        }
    limit = next((LIMITS[least] for least in sorted(LIMITS, reverse=True) if side >= least), None)
    figures["limit"] = limit
    figures["within_limit"] = limit is None or figures["yunet"]["over_bare"]["median"] <= limit
    dense = fidelity.look_at_every_frame(path)
    figures["fidelity"] = fidelity.errors(path, dense)
    figures["scores"] = fidelity.scores(path, dense, client)
    return figures


def measured(path: Path, ways: Sequence[str], rounds: int) -> dict[str, list[Run]]:
    """Measure ways in turn in this process, on one core.

    Args:
        path: of the clip.
        ways: some of `WAYS`.
        rounds: after one that is not counted.
    """
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    runs: dict[str, list[Run]] = {way: [] for way in ways}
    for counted in range(rounds + 1):
        for way, seen in runs.items():
            began = time.process_time()
            what = _bare(path) if way == "bare" else _client(path, way)
            if counted:
                seen.append(Run(time.process_time() - began, *what))
    return runs


def _client(path: Path, way: str) -> tuple[int, int, int, int]:
    """What a `Run` says but for the time."""
    cropper: Cropper | None = None
    if way == "whole":
        cropper = make_cropper("none")
    elif way != "clock":
        cropper = make_cropper("auto", detector=parse_detector(way))
    frames = cropped = 0
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
    return media.summary.source_frames, frames, cropped, side


def _bare(path: Path) -> tuple[int, int, int, int]:
    frames = 0
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        for _ in container.decode(video):
            frames += 1
        side = min(video.codec_context.width, video.codec_context.height)
    return frames, frames, 0, side


def _count(events: Sequence[Any]) -> int:
    return sum(len(event.frames) for event in events if isinstance(event, TrackFrames))


if __name__ == "__main__":
    clip, rounds, *ways = sys.argv[1:]
    seen = measured(Path(clip), ways, int(rounds))
    print(json.dumps({way: [asdict(run) for run in runs] for way, runs in seen.items()}))
