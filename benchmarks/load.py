"""Throughput and latency under load, as perf_analyzer sees them: sweeps over what can be tuned.

The ensemble: requests in flight, windows in a chunk, dynamic batching on and off, gRPC against
system shared memory. Every model by itself: requests in flight. Full-size towers; the tensors are
a chunk of the sample clip.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.perf_analyzer import PerfAnalyzer
from benchmarks.setup import FullSize, read_sample
from syncnet_client.chunks import Chunk, Chunker
from syncnet_client.contract import SAMPLES_PER_FRAME
from syncnet_client.defaults import DEFAULT_CHUNK, DEFAULT_VSHIFT
from syncnet_export.onnx_files import embed, open_session
from syncnet_export.precisions import FP32
from syncnet_export.tower_specs import AUDIO, VIDEO
from syncnet_server import Server, load_model_module

Tensors = dict[str, npt.NDArray[Any]]

FULL_CONCURRENCIES, QUICK_CONCURRENCIES = (1, 2, 4), (1, 2)
FULL_CHUNKS, QUICK_CHUNKS = (30, 60, 120, 240), (60, 120)


def run(full_size: FullSize, folder: Path, *, profile: str | None, full: bool) -> dict[str, Any]:
    """Sweep the ensemble and the models it is made of.

    Args:
        full_size: what to serve.
        folder: for copies and tensors.
        profile: to serve it with; None for the default.
        full: the whole grids, with more requests for each point.
    """
    concurrencies = FULL_CONCURRENCIES if full else QUICK_CONCURRENCIES
    requests = 6 if full else 3
    tensors = model_tensors(full_size.model_repository, DEFAULT_CHUNK)
    unbatched = _without_dynamic_batching(full_size.model_repository, folder / "unbatched")
    (folder / "perf_analyzer").mkdir()
    analyzer = PerfAnalyzer(folder / "perf_analyzer")

    def ensemble(
        server: Server, chunk: int, concurrency: int, *, shared_memory: bool = False
    ) -> dict[str, Any]:
        chunk_tensors = model_tensors(full_size.model_repository, chunk)["syncnet"]
        load = analyzer.run(
            server.grpc_url,
            "syncnet",
            chunk_tensors,
            concurrency=concurrency,
            shared_memory=shared_memory,
            requests=requests,
        )
        return {
            "chunk_windows": chunk,
            **asdict(load),
            "windows_per_s": load.requests_per_s * chunk,
        }

    with Server(full_size.model_repository, profile=profile) as server:
        by_concurrency = [ensemble(server, DEFAULT_CHUNK, count) for count in concurrencies]
        by_chunk = [ensemble(server, chunk, 2) for chunk in (FULL_CHUNKS if full else QUICK_CHUNKS)]
        shared_memory = [
            ensemble(server, DEFAULT_CHUNK, count, shared_memory=True) for count in concurrencies
        ]
        models = {
            name: [
                asdict(
                    analyzer.run(
                        server.grpc_url, name, inputs, concurrency=count, requests=requests
                    )
                )
                for count in concurrencies
            ]
            for name, inputs in tensors.items()
            if name != "syncnet"
        }
    with Server(unbatched, profile=profile) as server:
        without_batching = [ensemble(server, DEFAULT_CHUNK, count) for count in concurrencies]
    return {
        "profile": profile or "default",
        "ensemble_by_concurrency": by_concurrency,
        "ensemble_by_chunk": by_chunk,
        "ensemble_shared_memory": shared_memory,
        "ensemble_without_dynamic_batching": without_batching,
        "models_by_concurrency": models,
    }


def ensemble_tensors(windows: int) -> Tensors:
    """Inputs of the ensemble for one chunk in the middle of the sample clip, no batch dimension."""
    return _ensemble_inputs(_chunk(windows))


def _ensemble_inputs(chunk: Chunk) -> Tensors:
    padding = np.array(chunk.padding, np.int32)
    return {"FRAMES": chunk.frames, "AUDIO": chunk.audio, "AUDIO_PADDING": padding}


def _chunk(windows: int) -> Chunk:
    images, samples = read_sample()
    # Enough of it for a halo on both sides of the chunk.
    count = windows + 2 * DEFAULT_VSHIFT + 6
    frames = np.take(images, range(count), axis=0, mode="wrap")
    sound = np.take(samples, range(count * SAMPLES_PER_FRAME), mode="wrap")
    chunker = Chunker(vshift=DEFAULT_VSHIFT, chunk=windows)
    chunker.push_clip(count, sound)
    chunker.push_frames(0, DEFAULT_VSHIFT, frames[DEFAULT_VSHIFT:])
    return next(iter([*chunker.ready(), *chunker.finish()]))


def model_tensors(model_repository: Path, windows: int) -> dict[str, Tensors]:
    """Inputs of every model for one chunk in the middle of the sample clip, no batch dimension."""
    chunk = _chunk(windows)
    mfcc = load_model_module(model_repository, "mfcc").mfcc_windows(chunk.audio)
    video, audio = (
        embed(open_session(model_repository / spec.name / "1" / FP32.file_name), spec, inputs)[0]
        for spec, inputs in ((VIDEO, chunk.frames[None]), (AUDIO, mfcc[None]))
    )
    padding = np.array(chunk.padding, np.int32)
    shift_distance = load_model_module(model_repository, "shift_distance")
    distances = shift_distance.shift_distances(video, audio, *chunk.padding)
    return {
        "syncnet": _ensemble_inputs(chunk),
        "video_tower": {"FRAMES": chunk.frames},
        "mfcc": {"AUDIO": chunk.audio},
        "audio_tower": {"MFCC": mfcc},
        "shift_distance": {
            "VIDEO_EMBEDDINGS": video,
            "AUDIO_EMBEDDINGS": audio,
            "AUDIO_PADDING": padding,
        },
        "sync_metrics": {"DISTANCES": distances},
    }


def _without_dynamic_batching(model_repository: Path, copy: Path) -> Path:
    shutil.copytree(model_repository, copy)
    for config in [*copy.glob("*/config.pbtxt"), *copy.glob("*/configs/*.pbtxt")]:
        text = config.read_text(encoding="utf-8")
        config.write_text(re.sub(r"dynamic_batching \{[^}]*\}\n", "", text), encoding="utf-8")
    return copy
