"""Train a SyncNet on a folder of clips, resumably.

A run is a folder: `checkpoint.pt` (to resume from), `log.jsonl` (a line for every report) and, at
the end, `weights.safetensors` (what `syncnet-export build` takes).
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from syncnet_export.checkpoint import load_checkpoint, save_checkpoint
from syncnet_export.network import SyncNet
from syncnet_training.data import Batch, Batches, BatchShape, batch_loader, started
from syncnet_training.device import on_device
from syncnet_training.embedding import embed_audio, embed_video, video_windows
from syncnet_training.errors import CheckpointError, DatasetError
from syncnet_training.finish import finish
from syncnet_training.step import (
    FRESH_LOG_SCALE,
    PUBLISHED_LOG_SCALE,
    StepConfig,
    TrainingStep,
    one_cycle,
)
from syncnet_training.storage import Clip

__all__ = ["FitConfig", "Progress", "Report", "fit", "steps_kept"]

CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"
WEIGHTS = "weights.safetensors"

_FINISH_STEPS = 16  # batches that the published scale and shift are measured on


@dataclass(frozen=True)
class FitConfig:
    """All that decides what a run learns, apart from the clips."""

    steps: int
    width: float = 0.25
    seed: int = 0
    shape: BatchShape = field(default_factory=BatchShape)
    step: StepConfig = field(default_factory=StepConfig)
    initial: Path | None = None  # checkpoint to start from; its width holds
    ramp_steps: int = 0  # over which augmentation grows to full strength
    held_out: int = 16  # clips at the end of the data to measure on, never trained on


@dataclass(frozen=True)
class Report:
    """The mean over the steps since the last one."""

    step: int
    loss: float
    in_clip_loss: float
    jaw_loss: float
    accuracy: float  # in-clip, of training batches
    samples_per_second: float
    learning_rate: float


Progress = Callable[[Report], None]


def fit(
    clips: Sequence[Clip],
    run: Path,
    config: FitConfig,
    *,
    device: torch.device,
    precision: torch.dtype,
    workers: int,
    validation: Sequence[Clip] = (),
    resume: bool = False,
    half: bool = False,
    report_steps: int = 50,
    progress: Progress = lambda _: None,
) -> Path:
    """Train, and write the run's weights.

    Args:
        clips: to train on, but for those at the end that the configuration holds out.
        run: the run's folder, made if need be.
        config: what to train, and for how long.
        device: where to compute.
        precision: of the products of the forward pass.
        workers: processes that make batches.
        validation: clips to measure on, in place of holding some out.
        resume: go on from the run's checkpoint. Another number of steps than before resizes the
            cycle of the learning rate from there on; the number that is done already writes the
            weights of the checkpoint.
        report_steps: steps from one checkpoint and line of the log to the next.
        half: keep the weights of the layers as fp16 in the result.
        progress: called with every report.

    Returns:
        the path of the weights.

    Raises:
        DatasetError: too few clips, or unusable ones.
        CheckpointError: nothing to resume from, or something else; or a run is there already and
            `resume` was not asked for.
    """
    held_out = 0 if validation else config.held_out
    if len(clips) <= held_out:
        raise DatasetError(
            f"{len(clips)} clips, of which {held_out} are to be held out (--held-out, --validation)"
        )
    training = Batches(
        clips[: len(clips) - held_out],
        config.shape,
        seed=config.seed,
        ramp=config.ramp_steps,
    )
    torch.manual_seed(config.seed)
    step = TrainingStep(
        _initial_network(config),
        config.step,
        device,
        precision,
        compiled=device.type == "cuda",
        log_scale=PUBLISHED_LOG_SCALE if config.initial else FRESH_LOG_SCALE,
    )
    run.mkdir(parents=True, exist_ok=True)
    first = _resume(run / CHECKPOINT, step, config) if resume else 0
    if not resume and (run / CHECKPOINT).exists():
        raise CheckpointError(f"{run} holds a run already: --resume goes on with it")
    if not resume:
        (run / LOG).unlink(missing_ok=True)

    loader = batch_loader(
        training,
        range(first, config.steps),
        workers=workers,
        pin_memory=device.type == "cuda",
    )
    for report in _train(step, on_device(started(loader), device), first, config, report_steps):
        with (run / LOG).open("a") as log:
            log.write(json.dumps(asdict(report)) + "\n")
        _save(run / CHECKPOINT, step, report.step, config)
        progress(report)

    measured = validation or clips[len(clips) - held_out :] or clips
    state = _finished(step, measured, config)
    save_checkpoint(run / WEIGHTS, state, half=half)
    return run / WEIGHTS


def steps_kept(run: Path) -> int:
    """The steps that are in a run's checkpoint; 0 if there is none."""
    path = run / CHECKPOINT
    if not path.is_file():
        return 0
    done: int = torch.load(path, map_location="cpu", weights_only=True)["step"]
    return done


def _initial_network(config: FitConfig) -> SyncNet:
    if config.initial is not None:
        return load_checkpoint(config.initial).network()
    network = SyncNet.of_width(config.width)
    _look_at_motion(cast(nn.Conv3d, network.netcnnlip[0]).weight)
    return network


@torch.no_grad()
def _look_at_motion(kernel: Tensor) -> None:
    """Start the first video layer on what sync is about; kernel [O, 3, 5, 7, 7], in place.

    Within a clip only what moves tells times apart, yet faces and backgrounds differ far more.
    Half of the random filters begin with a sum of zero over time, so that what stands still is
    invisible to them, the rest with a sum of zero over all taps. They begin smooth, because grain
    is not. Training is free to change all of it.
    """
    size = kernel.std()
    taps = torch.arange(-3.0, 4.0, device=kernel.device)
    blur = torch.exp(-0.5 * (taps[:, None] - taps[None, :]).square())
    blur = blur / blur.sum(1, keepdim=True)
    kernel.copy_(blur @ kernel @ blur.T)
    half = len(kernel) // 2
    kernel[:half] -= kernel[:half].mean(dim=2, keepdim=True)
    kernel[half:] -= kernel[half:].mean(dim=(1, 2, 3, 4), keepdim=True)
    kernel.mul_(size / kernel.std(dim=(1, 2, 3, 4), keepdim=True))


def _train(
    step: TrainingStep,
    batches: Iterator[Batch],
    first: int,
    config: FitConfig,
    report_steps: int,
) -> Iterator[Report]:
    """Run the steps from `first` on; a report every `report_steps` and at the end."""
    totals = torch.zeros(4, device=step.device)
    clock, since = time.perf_counter(), first
    for index, batch in enumerate(batches, first):
        rate = one_cycle(index, config.steps, config.step.learning_rate)
        result = step(batch, config.shape.stride, rate)
        totals += torch.stack([result.total.detach(), result.in_clip, result.jaw, result.accuracy])
        done = index + 1
        if done % report_steps and done != config.steps:
            continue
        # Reading the totals waits for the device, so the clock is right.
        loss, in_clip, jaw, accuracy = (totals / (done - since)).tolist()
        now = time.perf_counter()
        speed = (done - since) * config.shape.samples / (now - clock)
        yield Report(done, loss, in_clip, jaw, accuracy, speed, rate)
        totals.zero_()
        clock, since = time.perf_counter(), done


@torch.no_grad()
def _finished(step: TrainingStep, held_out: Sequence[Clip], config: FitConfig) -> dict[str, Any]:
    """The weights to publish, their scale and shift measured on clips that were not trained on."""
    shape = replace(config.shape, clips=min(config.shape.clips, len(held_out)), margin=0)
    source = Batches(held_out, shape, seed=config.seed, augment=False)
    network = cast(SyncNet, step.average.module).eval()
    video, audio = [], []
    for batch in on_device(batch_loader(source, range(_FINISH_STEPS), workers=0), step.device):
        matching = batch.mfcc[:, :: shape.stride].flatten(0, 1)
        with step.autocast():
            video.append(embed_video(network, video_windows(batch.frames, shape.stride)))
            audio.append(embed_audio(network, matching))
    return finish(network, float(step.log_scale), torch.cat(video), torch.cat(audio))


def _save(path: Path, step: TrainingStep, done: int, config: FitConfig) -> None:
    """Write a checkpoint so that there is a whole one at any moment."""
    state = step.state_dict() | {"step": done, "seed": config.seed, "shape": asdict(config.shape)}
    temporary = path.with_suffix(".partial")
    torch.save(state, temporary)
    temporary.replace(path)


def _resume(path: Path, step: TrainingStep, config: FitConfig) -> int:
    """Load a checkpoint into `step` and return the number of steps done.

    Raises:
        CheckpointError: there is none, or one of another network, seed or batch shape.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no checkpoint to resume from")
    state = torch.load(path, map_location=step.device, weights_only=True)
    asked = {"seed": config.seed, "shape": asdict(config.shape)}
    for key, value in asked.items():
        if state[key] != value:
            raise CheckpointError(f"{path}: the run has {key} {state[key]}, asked for {value}")
    try:
        step.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: the run has a network of another width") from error
    done: int = state["step"]
    if done > config.steps:
        raise CheckpointError(f"{path}: {done} steps are done, asked for {config.steps}")
    return done
