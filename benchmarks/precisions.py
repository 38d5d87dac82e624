"""Windows per second through a server, by precision, against the published network in PyTorch.

The same frames and samples from memory, in turn: the published network in PyTorch in batches of
20, and a server for each precision that needs no GPU. All take as many threads as there are cores.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.processes import BenchmarkError, timed
from benchmarks.published import mean_distances
from benchmarks.record import ratios, relative_error, summary
from benchmarks.setup import (
    DISTANCE_TOLERANCES,
    PRECISIONS,
    Clip,
    FullSize,
    read_sample,
    serve,
)
from syncnet_client import SyncNetClient
from syncnet_export import load_checkpoint

CLIP_WINDOWS = 240


def run(full_size: FullSize, *, rounds: int) -> dict[str, Any]:
    """Measure `rounds` times each way, in turn, after one that is not counted.

    Raises:
        BenchmarkError: an answer is past the tolerance of its precision.
    """
    images, samples = read_sample()
    frames = np.take(images, range(CLIP_WINDOWS + 5), axis=0, mode="wrap")
    sound = np.take(samples, range(640 * (CLIP_WINDOWS + 5)), mode="wrap")
    network = load_checkpoint(full_size.weights).network()
    bgr = np.ascontiguousarray(frames[..., ::-1])
    device = torch.device("cpu")

    def pytorch() -> list[float]:
        with torch.inference_mode():
            mean = mean_distances(bgr, sound, network, batch=20, device=device)
        return [float(value) for value in mean]

    seconds: dict[str, list[float]] = {"pytorch": [], **{name: [] for name in PRECISIONS}}
    with ExitStack() as stack:
        expected = np.array(pytorch())
        clients = {}
        for name in PRECISIONS:
            server = stack.enter_context(serve(full_size, name))
            clients[name] = stack.enter_context(SyncNetClient(server.grpc_url))
        errors = {
            name: _error(client, (frames, sound), expected) for name, client in clients.items()
        }
        for _ in range(rounds):
            seconds["pytorch"].append(timed(pytorch))
            for name, client in clients.items():
                seconds[name].append(timed(partial(client.score, (frames, sound), crop="none")))
    for name, error in errors.items():
        if error > DISTANCE_TOLERANCES[name]:
            raise BenchmarkError(f"{name}: relative error {error:.2g} is past its tolerance")
    rows: dict[str, dict[str, Any]] = {
        name: {"windows_per_s": summary([CLIP_WINDOWS / value for value in values])}
        for name, values in seconds.items()
    }
    for name, error in errors.items():
        rows[name] |= {"relative_error": error, "tolerance": DISTANCE_TOLERANCES[name]}
    return {
        "windows": CLIP_WINDOWS,
        "threads": torch.get_num_threads(),
        **rows,
        "fp32_over_pytorch": ratios(seconds["pytorch"], seconds["fp32"]),
        "over_fp32": {
            name: ratios(seconds["fp32"], seconds[name]) for name in PRECISIONS if name != "fp32"
        },
    }


def _error(client: SyncNetClient, clip: Clip, expected: npt.NDArray[np.float64]) -> float:
    """Largest relative error of a mean distance."""
    return relative_error(client.score(clip, crop="none").speaker.mean_distances, expected)
