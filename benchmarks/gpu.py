"""Windows per second of the video tower on one GPU, in every runtime that is installed.

Needs torch with CUDA and takes whatever of ONNX Runtime's CUDA and TensorRT providers is there
beside it. The published network in eager fp32 PyTorch stands at one end, a compiled bf16 tower in
channels-last at the other as the yardstick, and the exported files between them. Every
configuration takes bytes from pinned memory and the copy to the card counts. Each reports its
relative error to the fp32 network; one past the tolerance of its precision fails.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.record import summary
from benchmarks.setup import copy_repository
from syncnet_client.contract import FRAME_SIZE, WINDOW_FRAMES
from syncnet_export import build
from syncnet_export.network import SyncNet, random_checkpoint
from syncnet_export.precisions import FP16, FP32, Precision
from syncnet_export.served_tower import serving_form
from syncnet_export.tower_files import find_files
from syncnet_export.tower_specs import VIDEO

# bf16 keeps 8 bits of the significand where fp16 keeps 11; the error grows by the same factor.
BF16_TOLERANCE = 8 * FP16.embedding_tolerance
# TensorFloat-32, which PyTorch's convolutions take by default, rounds factors to 10 bits, as fp16.
TF32_TOLERANCE = FP16.embedding_tolerance


@dataclass(frozen=True)
class Configuration:
    """One way to run the video tower: frames uint8 [K+4, 224, 224, 3] in, fp32 [K, 1024] out."""

    name: str
    windows: int  # in a call
    tolerance: float  # largest relative L2 error of an embedding
    embed: Callable[[Tensor], Tensor]


def run(
    *, device: torch.device, width: float, batches: tuple[int, ...], calls: int, repeats: int
) -> dict[str, Any]:
    """Measure every configuration.

    Args:
        device: to run on.
        width: of the network, 1.0 as published.
        batches: numbers of windows in a call; the eager network also takes the published 20.
        calls: timed together, back to back.
        repeats: of those.

    Returns:
        The card, its matrix peak and a row for each configuration, as JSON takes it.
    """
    network = SyncNet.from_state_dict(random_checkpoint(width=width)).to(device)
    flops = flops_per_window(network)
    peak = matrix_peak(device, size=8192 if device.type == "cuda" else 256)
    generator = torch.Generator().manual_seed(0)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for configuration in _configurations(network, device, batches, Path(folder)):
            shape = (configuration.windows + WINDOW_FRAMES - 1, FRAME_SIZE, FRAME_SIZE, 3)
            frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
            if device.type == "cuda":
                frames = frames.pin_memory()
            error = _relative_error(configuration, frames, network, device)
            rates = [_windows_per_s(configuration, frames, device, calls) for _ in range(repeats)]
            speed = summary(rates)
            rows.append(
                {
                    "configuration": configuration.name,
                    "windows_per_call": configuration.windows,
                    "windows_per_s": speed,
                    "tflops_per_s": speed["median"] * flops / 1e12,
                    "share_of_matrix_peak": speed["median"] * flops / peak,
                    "relative_error": error,
                    "tolerance": configuration.tolerance,
                    "passed": error <= configuration.tolerance,
                }
            )
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "width": width,
        "gflop_per_window": flops / 1e9,
        "bf16_matrix_peak_tflops": peak / 1e12,
        "rows": rows,
    }


def flops_per_window(network: SyncNet) -> int:
    """Multiplications plus additions of the video tower's layers for one window."""
    window = torch.zeros(1, 3, WINDOW_FRAMES, FRAME_SIZE, FRAME_SIZE)
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        network.forward_video(window.to(next(network.parameters()).device))
    return int(counter.get_total_flops())


def matrix_peak(device: torch.device, size: int) -> float:
    """FLOP/s of a bf16 matrix product of `size`, the best of ten, on random values."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        _synchronise(device)
        started = time.perf_counter()
        torch.mm(a, b)
        _synchronise(device)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def _configurations(
    network: SyncNet, device: torch.device, batches: tuple[int, ...], folder: Path
) -> Iterator[Configuration]:
    """Yield what can run here, the published way first."""
    for windows in (20, *batches):
        yield Configuration(
            f"PyTorch, published Conv3d, eager fp32, batch {windows}",
            windows,
            FP32.embedding_tolerance if device.type == "cpu" else TF32_TOLERANCE,
            lambda frames: _published(network, frames.to(device, non_blocking=True)),
        )
    layers: Any = serving_form(network, VIDEO).layers
    compiled: Any = torch.compile(
        layers.to(device, torch.bfloat16, memory_format=torch.channels_last), dynamic=False
    )

    def yardstick(frames: Tensor) -> Tensor:
        windows = _planes(frames.to(device, non_blocking=True), torch.bfloat16)
        embeddings: Tensor = compiled(windows)
        return embeddings.float()

    for windows in batches:
        name = f"PyTorch, served form, compiled bf16 channels-last, batch {windows}"
        yield Configuration(name, windows, BF16_TOLERANCE, yardstick)

    weights = folder / "random.safetensors"
    save_file({key: value.cpu() for key, value in network.state_dict().items()}, weights)
    repository = copy_repository(folder)
    build(weights, model_repository=repository, version=1, precisions=("fp32", "fp16"))
    files = [file for file in find_files(repository, 1) if file.spec is VIDEO]
    for provider, label in _providers(device):
        for file in files:
            session = onnxruntime.InferenceSession(str(file.path), providers=[provider])
            for windows in batches:
                yield Configuration(
                    f"ONNX Runtime {label}, {file.precision.name}, batch {windows}",
                    windows,
                    _tolerance(file.precision, device),
                    _bound(session, device),
                )


def _providers(device: torch.device) -> list[tuple[str, str]]:
    if device.type == "cpu":
        return [("CPUExecutionProvider", "CPU")]
    present = onnxruntime.get_available_providers()
    known = [("CUDAExecutionProvider", "CUDA"), ("TensorrtExecutionProvider", "TensorRT")]
    return [(provider, label) for provider, label in known if provider in present]


def _tolerance(precision: Precision, device: torch.device) -> float:
    # ONNX Runtime's CUDA and TensorRT providers take TensorFloat-32 for fp32 by default.
    if precision is FP32 and device.type == "cuda":
        return TF32_TOLERANCE
    return precision.embedding_tolerance


def _published(network: SyncNet, frames: Tensor) -> Tensor:
    """The published network on every window of consecutive frames."""
    planes = frames.flip(-1).permute(3, 0, 1, 2).float()  # BGR, [3, K+4, 224, 224]
    windows = planes.unfold(1, WINDOW_FRAMES, 1).permute(1, 0, 4, 2, 3)
    return network.forward_video(windows.contiguous())


def _planes(frames: Tensor, dtype: torch.dtype) -> Tensor:
    """Windows as the served form's first convolution takes them, [K, 15, 224, 224]."""
    count = len(frames) - WINDOW_FRAMES + 1
    shifted = [frames[start : start + count] for start in range(WINDOW_FRAMES)]
    windows = torch.cat(shifted, dim=3).to(dtype)  # colours last is what channels-last wants
    return windows.permute(0, 3, 1, 2)


def _bound(
    session: onnxruntime.InferenceSession, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """Run a session on tensors that are on the card already, with no way back to the host."""

    def embed(frames: Tensor) -> Tensor:
        inputs = frames[None].to(device, non_blocking=True)
        outputs = torch.empty(
            (1, len(frames) - WINDOW_FRAMES + 1, 1024), dtype=torch.float32, device=device
        )
        _synchronise(device)  # the session works on a stream of its own
        binding = session.io_binding()
        binding.bind_input(
            VIDEO.input_name, device.type, 0, np.uint8, tuple(inputs.shape), inputs.data_ptr()
        )
        binding.bind_output(
            VIDEO.output_name, device.type, 0, np.float32, tuple(outputs.shape), outputs.data_ptr()
        )
        session.run_with_iobinding(binding)
        return outputs[0]

    return embed


def _relative_error(
    configuration: Configuration, frames: Tensor, network: SyncNet, device: torch.device
) -> float:
    """Largest relative L2 error of the embeddings of up to 64 windows spread over the call."""
    with torch.inference_mode():
        actual = configuration.embed(frames)
        rows = torch.linspace(0, len(actual) - 1, min(64, len(actual))).long().tolist()
        with torch.backends.cudnn.flags(allow_tf32=False):
            expected = torch.cat(
                [_published(network, frames[row : row + WINDOW_FRAMES].to(device)) for row in rows]
            )
        errors = (actual[rows] - expected).norm(dim=1) / expected.norm(dim=1)
        return float(errors.max())


def _windows_per_s(
    configuration: Configuration, frames: Tensor, device: torch.device, calls: int
) -> float:
    with torch.inference_mode():
        configuration.embed(frames)  # warm-up: the caches of this shape
        _synchronise(device)
        started = time.perf_counter()
        for _ in range(calls):
            configuration.embed(frames)
        _synchronise(device)
        return calls * configuration.windows / (time.perf_counter() - started)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
