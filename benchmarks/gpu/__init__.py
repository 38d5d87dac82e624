"""Windows per second of the video tower on one GPU, in every runtime that loads there.

Needs PyTorch with CUDA alone. The published network in eager fp32 PyTorch stands at one end,
compiled bf16 and fp16 towers in channels-last, with and without a CUDA graph, at the other; the
exported files in ONNX Runtime and TensorRT stand between them, where those are installed and load.

Each way takes bytes. Its rate is given without copies, with the copy from pinned memory before each
call, and with copies that go on beside the computing. Each reports its relative error to the
network in fp32; one past the tolerance of its precision fails.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.clock import matrix_peak, rates
from benchmarks.gpu.pytorch import as_published, pytorch_ways
from benchmarks.gpu.runtimes import runtime_ways
from benchmarks.gpu.way import Embed, MissingError, Way
from benchmarks.record import Record, summary
from syncnet_client.contract import FRAME_SIZE, WINDOW_FRAMES
from syncnet_export.network import SyncNet, random_checkpoint

_COMPARED = 64  # windows of a call, spread evenly over it


def run(
    *,
    device: torch.device,
    width: float,
    windows: tuple[int, ...],
    calls: int,
    repeats: int,
    record: Record,
) -> dict[str, Any]:
    """Measure every way there is.

    Args:
        device: to run on.
        width: of the network, 1.0 as published.
        windows: numbers of windows in a call.
        calls: timed together, back to back.
        repeats: of those.
        record: given the figures so far after each way.

    Returns:
        The card, its matrix peak and a row for each way, as JSON takes it.
    """
    network = SyncNet.from_state_dict(random_checkpoint(width=width)).to(device)
    flops = flops_per_window(network)
    peak = matrix_peak(device, size=8192 if device.type == "cuda" else 256)
    rows: list[dict[str, Any]] = []
    figures = {
        "device": _describe(device),
        "width": width,
        "gflop_per_window": flops / 1e9,
        "bf16_matrix_peak_tflops": peak / 1e12,
        "rows": rows,
    }
    ways = chain(pytorch_ways(network, device, windows), runtime_ways(network, device, windows))
    for way in ways:
        row: dict[str, Any] = {"way": way.name, "windows_per_call": way.batch * way.windows}
        try:
            # Not inference mode, whose tensors the compiler takes for another kind.
            with torch.no_grad():
                row |= _measured(way, way.prepare(), network, device, calls, repeats)
        except MissingError as missing:
            row["missing"] = str(missing)
        # Whatever one runtime raises, the others are still to be measured.
        except Exception as error:
            row["failed"] = " ".join(f"{type(error).__name__}: {error}".split())
        else:
            best = max(rate["median"] for rate in row["windows_per_s"].values())
            row["tflops_per_s"] = best * flops / 1e12
            row["share_of_matrix_peak"] = best * flops / peak
        rows.append(row)
        record(figures)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return figures


def failures(figures: dict[str, Any]) -> list[str]:
    """The ways of `run` that failed, or are past the tolerance of their precision."""
    return [row["way"] for row in figures["rows"] if "failed" in row or not row.get("passed", True)]


def flops_per_window(network: SyncNet) -> int:
    """Multiplications plus additions of the video tower's layers for one window."""
    window = torch.zeros(1, 3, WINDOW_FRAMES, FRAME_SIZE, FRAME_SIZE)
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        network.forward_video(window.to(next(network.parameters()).device))
    return int(counter.get_total_flops())


def _describe(device: torch.device) -> dict[str, Any]:
    """The card and the libraries that PyTorch uses on it."""
    if device.type == "cpu":
        return {"name": "cpu"}
    major, minor = torch.cuda.get_device_capability(device)
    return {
        "name": torch.cuda.get_device_name(device),
        "compute_capability": f"{major}.{minor}",
        "memory_gib": round(torch.cuda.get_device_properties(device).total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }


def _measured(
    way: Way, embed: Embed, network: SyncNet, device: torch.device, calls: int, repeats: int
) -> dict[str, Any]:
    shape = (way.batch, way.windows + WINDOW_FRAMES - 1, FRAME_SIZE, FRAME_SIZE, 3)
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    if device.type == "cuda":
        frames = frames.pin_memory()
    error = _relative_error(embed(frames.to(device)), frames, network, device)
    measured = [rates(embed, frames, device, calls) for _ in range(repeats)]
    count = way.batch * way.windows
    return {
        "windows_per_s": {
            name: summary([count * each[name] for each in measured]) for name in measured[0]
        },
        "relative_error": error,
        "tolerance": way.tolerance,
        "passed": error <= way.tolerance,
    }


def _relative_error(
    actual: Tensor, frames: Tensor, network: SyncNet, device: torch.device
) -> float:
    """Largest relative L2 error of the embeddings of some windows to those in fp32 proper."""
    batch, windows, _ = actual.shape
    chosen = torch.linspace(0, batch * windows - 1, min(_COMPARED, batch * windows)).long().tolist()
    errors = []
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for entry, first in (divmod(index, windows) for index in chosen):
            window = frames[entry : entry + 1, first : first + WINDOW_FRAMES].to(device)
            expected = as_published(network, window)[0, 0]
            errors.append((actual[entry, first] - expected).norm() / expected.norm())
    return float(torch.stack(errors).max())
