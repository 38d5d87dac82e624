"""The timing table of a training step, of the very code that `fit` runs.

A step is: waiting for the batch, copying it to the device, both towers forward, the loss, backward,
the optimiser. The loader's own work (frames, audio, preprocessing) goes on in other
processes meanwhile; it costs the step only what the step waits for. On a GPU parts are timed with
events on its stream, so nothing is synchronised before the last step is done.
"""

import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from syncnet_export.network import SyncNet
from syncnet_training.data import Batches, BatchShape, batch_loader, started
from syncnet_training.device import on_device
from syncnet_training.errors import TrainingError
from syncnet_training.step import StepConfig, TrainingStep
from syncnet_training.storage import Clip

__all__ = ["PartTiming", "ProfileReport", "StageTimer", "profile"]

_CLIP_WINDOWS = 32  # video windows of a clip in a batch, if the batch is large enough
_IN_STEP = ("data wait", "video CNN", "audio CNN", "loss", "backward", "optimizer")
_IN_LOADER = ("frame load", "audio load", "preprocessing")


@dataclass(frozen=True)
class PartTiming:
    """Milliseconds of one part over all measured steps."""

    name: str
    mean_ms: float
    min_ms: float
    max_ms: float
    share: float  # of the mean step; loader parts run beside it and may exceed 1

    @classmethod
    def of(cls, name: str, values_ms: Sequence[float], step_ms: float) -> "PartTiming":
        """Sum up the values of a part that takes `share` of a step of `step_ms`."""
        mean = float(np.mean(values_ms))
        return cls(name, mean, float(min(values_ms)), float(max(values_ms)), mean / step_ms)


@dataclass(frozen=True)
class ProfileReport:
    """The table, and what it was measured on."""

    device: str
    precision: str
    torch: str
    cpus: int
    workers: int
    width: float
    batch: int  # samples (video windows with their audio) of a step
    clips: int  # clips they come from
    steps: int
    samples_per_second: float
    step: PartTiming
    parts: list[PartTiming]  # these add up to the step, but for what lies between them
    forward: PartTiming  # both towers
    loader: list[PartTiming]  # per batch, in the loader's processes

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON."""
        return asdict(self)


class StageTimer:
    """Times named parts; on a GPU with events, so that the parts still overlap as they do."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._marks: dict[str, list[tuple[Any, Any]]] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the body under this name."""
        start = self._now()
        yield
        self._marks.setdefault(name, []).append((start, self._now()))

    def milliseconds(self) -> dict[str, list[float]]:
        """All measurements by name; waits for the device."""
        if self._cuda:
            torch.cuda.synchronize()
            return {
                name: [start.elapsed_time(end) for start, end in marks]
                for name, marks in self._marks.items()
            }
        return {
            name: [1e3 * (end - start) for start, end in marks]
            for name, marks in self._marks.items()
        }

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event


def batch_shape(batch: int) -> BatchShape:
    """A batch of this many samples: 32 consecutive windows of each clip, fewer if it is small.

    Raises:
        TrainingError: the number does not divide that way.
    """
    windows = min(_CLIP_WINDOWS, max(1, batch // 2))
    if batch < 2 or batch % windows:
        raise TrainingError(f"--batch must be 2 or more and a multiple of {windows}, got {batch}")
    return BatchShape(batch // windows, windows, stride=1, margin=5)


def profile(
    clips: Sequence[Clip],
    *,
    batch: int,
    steps: int,
    width: float,
    workers: int,
    device: torch.device,
    precision: torch.dtype,
    warm_up: int = 5,
) -> ProfileReport:
    """Train for some steps and time their parts.

    Args:
        clips: repeated as often as a batch needs.
        batch: samples of a step.
        steps: to time.
        width: of the network, 1 as published.
        workers: processes that make batches.
        device: where to compute.
        precision: of the products of the forward pass.
        warm_up: steps before the measured ones (compilation, allocation, filling the loader).

    Raises:
        TrainingError: the batch is of no use, or the clips are too short.
    """
    shape = batch_shape(batch)
    repeated = [clips[index % len(clips)] for index in range(max(shape.clips, len(clips)))]
    step = TrainingStep(
        SyncNet.of_width(width), StepConfig(), device, precision, compiled=device.type == "cuda"
    )
    loader = batch_loader(
        Batches(repeated, shape, seed=0),
        range(warm_up + steps),
        workers=workers,
        pin_memory=device.type == "cuda",
    )
    batches = on_device(started(loader), device)
    for _ in range(warm_up):
        step(next(batches), shape.stride, 1e-4)

    timer = StageTimer(device)
    loading = []
    if device.type == "cuda":
        torch.cuda.synchronize()
    clock = time.perf_counter()
    for _ in range(steps):
        with timer("step"):
            with timer("data wait"):
                current = next(batches)
            step(current, shape.stride, 1e-4, timer)
        loading.append(current.seconds)
    times = timer.milliseconds()  # waits for the device, so the clock may be read after it
    seconds = time.perf_counter() - clock

    step_ms = float(np.mean(times["step"]))
    forward = np.add(times["video CNN"], times["audio CNN"]).tolist()
    loader_ms = 1e3 * torch.stack(loading).numpy()
    return ProfileReport(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name(),
        precision=str(precision).removeprefix("torch."),
        torch=torch.__version__,
        cpus=torch.get_num_threads(),
        workers=workers,
        width=width,
        batch=batch,
        clips=shape.clips,
        steps=steps,
        samples_per_second=steps * shape.samples / seconds,
        step=PartTiming.of("step", times["step"], step_ms),
        parts=[PartTiming.of(name, times[name], step_ms) for name in _IN_STEP],
        forward=PartTiming.of("forward", forward, step_ms),
        loader=[
            PartTiming.of(name, column.tolist(), step_ms)
            for name, column in zip(_IN_LOADER, loader_ms.T, strict=True)
        ],
    )


def _cpu_name() -> str:
    return str(torch.cpu.get_capabilities().get("cpu_name", "")) or platform.processor() or "CPU"
