"""A scene from file to result: the published way against `syncnet-client score` on a local server.

A talking head of 400 pixels in a room, 1080p, H.264. The published way writes every frame to disk
as JPEG, reads it back, cuts the face out where YuNet found it, and scores the crops with the Conv3d
network in PyTorch; finding the faces is not counted for it. `score` finds them itself, with YuNet
and with the Haar cascade.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.processes import BenchmarkError, Usage, measure, tree_cpu_s
from benchmarks.record import ratios, relative_error, summary
from benchmarks.scenes import Scene
from benchmarks.setup import FASTEST, FullSize, serve
from syncnet_client.contract import FRAMES_PER_SECOND
from syncnet_client.errors import NoFaceError
from syncnet_client.faces import TrackFrames, make_cropper, yunet_file
from syncnet_client.media import open_media

SCENE = Scene(1920, 1080, 400, repeats=3)
PUBLISHED = "published"
PRECISIONS = ("fp32", FASTEST)
# What the client serves with, and the detector that finds the faces.
WAYS = {
    f"{precision}, {title}": (precision, detector)
    for precision in PRECISIONS
    for title, detector in (("YuNet", "yunet"), ("Haar", "haar"))
}
# JPEG files and boxes of another detector change the crops themselves.
TOLERANCE = 0.1


def run(full_size: FullSize, folder: Path, *, rounds: int) -> dict[str, Any]:
    """Measure every way `rounds` times, in turn, after one of each that is not counted.

    Raises:
        BenchmarkError: a way failed, its answer is past the tolerance, or YuNet is not there.
    """
    if not yunet_file().is_file():
        raise BenchmarkError("this needs YuNet: run syncnet-client fetch yunet")
    clip = SCENE.write(folder / "scene.mp4")
    boxes = folder / "boxes.npy"
    np.save(boxes, _boxes(clip))
    seen: dict[str, list[tuple[Usage, float]]] = {way: [] for way in (PUBLISHED, *WAYS)}
    with ExitStack() as stack:
        urls = {
            precision: stack.enter_context(serve(full_size, precision)).grpc_url
            for precision in PRECISIONS
        }
        program = Path(sys.executable).parent / "syncnet-client"
        commands: dict[str, list[str | Path]] = {
            PUBLISHED: [
                *(sys.executable, "-m", "benchmarks.published", clip),
                *("--boxes", boxes, "--weights", full_size.weights),
            ]
        }
        for way, (precision, detector) in WAYS.items():
            commands[way] = [program, "score", clip, "--json", "--detector", detector]
            commands[way] += ["--url", urls[precision]]
        for _ in range(rounds + 1):
            for way, command in commands.items():
                before = tree_cpu_s(os.getpid())
                usage = measure(command)
                seen[way].append((usage, tree_cpu_s(os.getpid()) - before))
    return _figures({way: runs[1:] for way, runs in seen.items()})


def _boxes(clip: Path) -> npt.NDArray[np.float64]:
    """What the client cuts out of every frame, with YuNet: left, top, width and height."""
    cropper = make_cropper("auto", detector="yunet")
    events = []
    with open_media(clip) as media:
        for block in media:
            events += cropper.push(block.frames)
    try:
        events += cropper.flush()
    except NoFaceError as error:
        raise BenchmarkError(f"no face in the scene: {error}") from error
    boxes = [
        frame.box for event in events if isinstance(event, TrackFrames) for frame in event.frames
    ]
    return np.array(boxes)


def _figures(runs: dict[str, list[tuple[Usage, float]]]) -> dict[str, Any]:
    expected = json.loads(runs[PUBLISHED][0][0].stdout)["mean_distances"]
    slow = [usage.wall_s for usage, _ in runs[PUBLISHED]]
    frames = SCENE.seconds * SCENE.repeats * FRAMES_PER_SECOND
    figures: dict[str, Any] = {
        "clip": {"name": SCENE.name, "frames": frames, "head": SCENE.head},
        "precisions": PRECISIONS,
    }
    for way, seen in runs.items():
        error = max(
            relative_error(json.loads(usage.stdout)["mean_distances"], expected)
            for usage, _ in seen
        )
        if error > TOLERANCE:
            raise BenchmarkError(f"{way}: relative error {error:.2g} is past {TOLERANCE:g}")
        wall = [usage.wall_s for usage, _ in seen]
        figures[way] = {
            "wall_s": summary(wall),
            "client_cpu_s": summary([usage.cpu_s for usage, _ in seen]),
            "server_cpu_s": summary([server for _, server in seen]),
            "client_peak_mb": summary([usage.peak_mb for usage, _ in seen]),
            "times_faster_than_published": ratios(slow, wall),
            "relative_error": error,
        }
    return figures
