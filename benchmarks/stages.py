"""Where the time goes, and what the server costs over the same files in one process.

Both on a 30 s clip, fp32, full-size towers, in chunks of 60 windows: half the default, which gives
the server twice as many requests to see to. The stage table takes Triton's own statistics and the
client's clock, with one chunk in flight so that no two stages overlap. The overhead compares
scoring through the server with a loop that calls the same ONNX files and the same mathematics in
this process, in turn.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferenceServerClient

from benchmarks.processes import BenchmarkError, timed
from benchmarks.record import ratios, relative_error, summary
from benchmarks.setup import Clip, FullSize, write_clip
from syncnet_client import GrpcOptions, SyncNetClient
from syncnet_client.chunks import Chunker
from syncnet_client.contract import FRAMES_PER_SECOND
from syncnet_client.defaults import DEFAULT_VSHIFT
from syncnet_client.faces import make_cropper
from syncnet_client.media import open_media
from syncnet_export.onnx_files import embed, open_session
from syncnet_export.precisions import FP32
from syncnet_export.tower_specs import AUDIO, VIDEO
from syncnet_server import Server, load_model_module

CLIP_S = 30
CHUNK = 60  # windows
OVERHEAD_TARGET = 1.05
DISTANCE_TOLERANCE = 1e-5  # both ways run the same files

_STAGES = {
    "mfcc": ("mfcc",),
    "video_tower": ("video_tower",),
    "audio_tower": ("audio_tower",),
    "scoring": ("shift_distance", "sync_metrics"),
}


def run(full_size: FullSize, folder: Path, *, rounds: int) -> dict[str, Any]:
    """Measure the stage table and the overhead, `rounds` times each.

    Raises:
        BenchmarkError: the two ways do not give the same distances.
    """
    path = folder / "stages.mkv"
    write_clip(path, CLIP_S * FRAMES_PER_SECOND, CLIP_S * 16_000)
    decode_s, crop_s, clip = _read(path, rounds)
    with (
        Server(full_size.model_repository) as server,
        SyncNetClient(server.grpc_url) as client,
        SyncNetClient(server.grpc_url, options=GrpcOptions(in_flight=1)) as one_by_one,
    ):
        direct = _Direct(full_size.model_repository)
        expected, actual = direct.score(clip), _through_server(client, clip)  # warms both up
        difference = relative_error(actual, expected)
        if difference > DISTANCE_TOLERANCE:
            raise BenchmarkError(f"server and direct calls differ by {difference:.2g}")
        served_s, direct_s = [], []
        for _ in range(rounds):
            direct_s.append(timed(lambda: direct.score(clip)))
            served_s.append(timed(lambda: _through_server(client, clip)))
        stages = [_stages(server, one_by_one, clip) for _ in range(rounds)]
    table = {"decode": summary(decode_s), "crop": summary(crop_s)}
    table |= {name: summary([one[name] for one in stages]) for name in stages[0]}
    overhead = ratios(served_s, direct_s)
    return {
        "clip_s": CLIP_S,
        "chunk_windows": CHUNK,
        "stages_s": table,
        "server_s": summary(served_s),
        "direct_s": summary(direct_s),
        "overhead": overhead,
        "overhead_target": OVERHEAD_TARGET,
        "overhead_within_target": overhead["median"] <= OVERHEAD_TARGET,
        "relative_difference": difference,
    }


class _Direct:
    """The ensemble's work in this process: the same files, the same mathematics, no server."""

    def __init__(self, model_repository: Path) -> None:
        self._mfcc = load_model_module(model_repository, "mfcc")
        self._shift_distance = load_model_module(model_repository, "shift_distance")
        self._sync_metrics = load_model_module(model_repository, "sync_metrics")
        self._video, self._audio = (
            open_session(model_repository / spec.name / "1" / FP32.file_name)
            for spec in (VIDEO, AUDIO)
        )

    def score(self, clip: Clip) -> npt.NDArray[np.float64]:
        """Mean distances of the clip's video to its audio at every shift."""
        images, samples = clip
        chunker = Chunker(vshift=DEFAULT_VSHIFT, chunk=CHUNK)
        chunker.push_clip(len(images), samples)
        chunker.push_frames(0, 0, images)
        rows = []
        for chunk in [*chunker.ready(), *chunker.finish()]:
            windows = self._mfcc.mfcc_windows(chunk.audio)
            video = embed(self._video, VIDEO, chunk.frames[None])[0]
            audio = embed(self._audio, AUDIO, windows[None])[0]
            rows.append(self._shift_distance.shift_distances(video, audio, *chunk.padding))
            self._sync_metrics.sync_metrics(rows[-1])
        distances = np.concatenate(rows)
        self._sync_metrics.sync_metrics(distances)
        mean: npt.NDArray[np.float64] = distances.mean(axis=0, dtype=np.float64)
        return mean


def _read(path: Path, rounds: int) -> tuple[list[float], list[float], Clip]:
    """Seconds to decode and to crop the clip, and what was decoded."""
    decode_s, crop_s = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        with open_media(path) as media:
            blocks = list(media)
        decode_s.append(time.perf_counter() - started)
        cropper = make_cropper("auto")
        started = time.perf_counter()
        for block in blocks:
            cropper.push(block.frames)
        cropper.flush()
        crop_s.append(time.perf_counter() - started)
    images = np.stack([frame.image for block in blocks for frame in block.frames])
    return decode_s, crop_s, (images, np.concatenate([block.samples for block in blocks]))


def _through_server(client: SyncNetClient, clip: Clip) -> npt.NDArray[np.float64]:
    return np.array(client.score(clip, crop="none", chunk=CHUNK).speaker.mean_distances)


def _stages(server: Server, client: SyncNetClient, clip: Clip) -> dict[str, float]:
    """Seconds in each model, and in the transport: what the client waits beyond the ensemble."""
    with InferenceServerClient(server.grpc_url) as triton:
        before = _statistics(triton)
        total_s = timed(lambda: _through_server(client, clip))
        after = _statistics(triton)
    spent = {name: after[name] - before[name] for name in after}
    stages = {stage: sum(spent[model] for model in models) for stage, models in _STAGES.items()}
    stages["transport"] = total_s - spent["syncnet"]
    stages["total_without_decode"] = total_s
    return stages


def _statistics(triton: InferenceServerClient) -> dict[str, float]:
    """Seconds of successful requests so far: whole ones of the ensemble, else in the model."""
    seconds: dict[str, float] = {}
    for model in triton.get_inference_statistics().model_stats:
        stats = model.inference_stats
        if model.name == "syncnet":
            nanoseconds = stats.success.ns
        else:
            nanoseconds = stats.compute_input.ns + stats.compute_infer.ns + stats.compute_output.ns
        seconds[model.name] = seconds.get(model.name, 0.0) + nanoseconds / 1e9
    return seconds
