"""The commands of `syncnet-train` that need PyTorch: `fit`, `evaluate`, `profile`.

PyTorch is imported inside them: a help text must not wait for it.
"""

import json
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    import torch

    from syncnet_training.evaluate import EvaluationClip, FollowReport, SyntheticReport
    from syncnet_training.fit import Report
    from syncnet_training.profile import ProfileReport

__all__ = ["evaluate", "fit", "profile"]

_EVALUATION_SECONDS = 8
_EVALUATION_MARGIN = 10  # frames at each end that shifts are cut from
_PROFILE_CLIPS = 8
_PROFILE_FRAMES = 75


class Precision(str, Enum):
    """What the towers compute in."""

    auto = "auto"
    bf16 = "bf16"
    fp32 = "fp32"


DeviceOption = Annotated[
    str, typer.Option(help="Where to compute: cpu, cuda, cuda:1; auto takes a GPU if there is one.")
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(help="What to compute in; auto is bf16 where the hardware multiplies it."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")]


def fit(
    data: Annotated[Path, typer.Argument(help="Folder of clips, as `synthesize` writes it.")],
    run: Annotated[
        Path, typer.Option(help="Folder of the run: checkpoint, log and resulting weights.")
    ] = Path("runs/fit"),
    width: Annotated[
        float, typer.Option(min=0.01, help="Width of the layers; 1 is the published network.")
    ] = 0.25,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the whole run.")] = 2000,
    clips: Annotated[int, typer.Option(min=1, help="Clips in a step.")] = 14,
    windows: Annotated[int, typer.Option(min=2, help="Video windows of each of them.")] = 5,
    stride: Annotated[int, typer.Option(min=1, help="Frames between these windows.")] = 3,
    margin: Annotated[
        int, typer.Option(min=0, help="Audio windows to choose from before and after them.")
    ] = 2,
    learning_rate: Annotated[float, typer.Option(help="Peak of the one-cycle schedule.")] = 1.5e-3,
    weight_decay: Annotated[float, typer.Option(help="Of AdamW, on matrices and kernels.")] = 0.03,
    ramp_steps: Annotated[
        int, typer.Option(min=0, help="Steps over which augmentation grows to full strength.")
    ] = 800,
    init: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint to start from, such as the official weights; sets the width."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run.")] = False,
    seed: Annotated[int, typer.Option(help="Of weights, batches and augmentation.")] = 0,
    held_out: Annotated[
        int, typer.Option(min=0, help="Clips at the end of the data that are not trained on.")
    ] = 16,
    workers: Annotated[int, typer.Option(min=0, help="Processes that load batches.")] = 2,
    report_steps: Annotated[
        int, typer.Option(min=1, help="Steps between checkpoints, and between lines of the log.")
    ] = 50,
    half: Annotated[
        bool, typer.Option("--half", help="Round the weights of the result to fp16.")
    ] = False,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.auto,
) -> None:
    """Train the towers on clips; the result is RUN/weights.safetensors.

    A run that was stopped goes on with --resume from its last checkpoint. With another --steps than
    before, the rest of the learning rate's cycle is stretched or shortened to fit.
    """
    from syncnet_training.data import BatchShape, open_clips
    from syncnet_training.fit import FitConfig
    from syncnet_training.fit import fit as run_fit
    from syncnet_training.step import StepConfig

    config = FitConfig(
        steps=steps,
        width=width,
        seed=seed,
        shape=BatchShape(clips, windows, stride, margin),
        step=StepConfig(learning_rate, weight_decay),
        initial=init,
        ramp_steps=ramp_steps,
        held_out=held_out,
    )
    where, kind = _device(device, precision)
    found = open_clips(data)
    console = Console(stderr=True)
    columns = (
        TextColumn("steps"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=not console.is_terminal) as progress:
        task = progress.add_task("starting", total=steps)

        def show(report: "Report") -> None:
            progress.update(
                task,
                completed=report.step,
                description=f"loss {report.loss:.3f}  in-clip {report.accuracy:.1%}  "
                f"{report.samples_per_second:.0f} samples/s",
            )

        weights = run_fit(
            found,
            run,
            config,
            device=where,
            precision=kind,
            workers=workers,
            resume=resume,
            report_steps=report_steps,
            half=half,
            progress=show,
        )
    print(weights)


def evaluate(
    weights: Annotated[Path, typer.Argument(help="Checkpoint: safetensors or published .model.")],
    clips: Annotated[
        list[Path] | None,
        typer.Option(help="Real clip to follow imposed shifts on; may be given several times."),
    ] = None,
    count: Annotated[int, typer.Option(min=2, help="Synthetic clips.")] = 50,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the synthetic clips; choose one not trained on.")
    ] = 777_000,
    vshift: Annotated[int, typer.Option(min=1, help="Frames searched to each side.")] = 15,
    others: Annotated[
        int | None,
        typer.Option(
            min=1, help="Other clips whose audio each clip is tried with; all by default."
        ),
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure how well weights find the offset.

    Without --clips: synthetic clips of 8 s with a random shift of up to 10 frames, and every one of
    them with the audio of every other. With --clips: does the answer on real clips follow shifts of
    -5 to 5 frames?
    """
    from syncnet_export.checkpoint import load_checkpoint
    from syncnet_training.evaluate import evaluate_following, evaluate_synthetic
    from syncnet_training.real import read_talking_head

    where, _ = _device(device, Precision.auto)
    network = load_checkpoint(weights).network().to(where)
    if clips:
        heads = (read_talking_head(path) for path in clips)
        followed = list(evaluate_following(network, heads, vshift=vshift))
        _output([report.to_dict() for report in followed], _follow_table(followed), as_json)
    else:
        report = evaluate_synthetic(
            network,
            _synthetic_clips(seed, count),
            seed=seed,
            max_shift=_EVALUATION_MARGIN,
            vshift=vshift,
            others=others,
        )
        _output(report.to_dict(), _synthetic_table(report), as_json)


def profile(
    batch: Annotated[int, typer.Option(min=2, help="Samples in a step.")] = 1024,
    steps: Annotated[int, typer.Option(min=1, help="Steps to measure.")] = 50,
    width: Annotated[float, typer.Option(min=0.01, help="Width of the layers.")] = 1.0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that load batches.")] = 2,
    data: Annotated[
        Path | None, typer.Option(help="Folder of clips; without it a few are made for the run.")
    ] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.auto,
    as_json: JsonOption = False,
) -> None:
    """Time the parts of a training step: loading, both towers, loss, backward, optimiser."""
    import tempfile

    from syncnet_training.data import open_clips
    from syncnet_training.profile import profile as run_profile

    where, kind = _device(device, precision)
    with tempfile.TemporaryDirectory(prefix="syncnet-profile-") as folder:
        if data is None:
            from syncnet_training.synthesis import write_clips

            made = write_clips(
                Path(folder),
                clips=_PROFILE_CLIPS,
                seed=0,
                frames=_PROFILE_FRAMES,
                mp4=False,
                jobs=1,
            )
            for _ in made:
                pass
        report = run_profile(
            open_clips(data or Path(folder)),
            batch=batch,
            steps=steps,
            width=width,
            workers=workers,
            device=where,
            precision=kind,
        )
    _output(report.to_dict(), _profile_table(report), as_json)


def _device(name: str, precision: Precision) -> "tuple[torch.device, torch.dtype]":
    import torch

    from syncnet_training.errors import TrainingError
    from syncnet_training.towers import best_precision

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingError(f"--device {name}: expected cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise TrainingError(f"--device {name}: expected cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise TrainingError(f"--device {name}: there is no such GPU")
    if precision is Precision.auto:
        return device, best_precision(device)
    return device, torch.bfloat16 if precision is Precision.bf16 else torch.float32


def _synthetic_clips(seed: int, count: int) -> "Iterator[EvaluationClip]":
    from syncnet_client.contract import FRAMES_PER_SECOND
    from syncnet_training.evaluate import EvaluationClip
    from syncnet_training.synthesis import synthesize_clip

    frames = _EVALUATION_SECONDS * FRAMES_PER_SECOND + 2 * _EVALUATION_MARGIN
    for index in range(count):
        clip = synthesize_clip(seed + index, frames)
        yield EvaluationClip(f"seed {seed + index}", clip.frames, clip.samples)


def _output(data: Any, table: Table, as_json: bool) -> None:
    if as_json:
        print(json.dumps(data, indent=2))
    else:
        Console().print(table)


def _synthetic_table(report: "SyntheticReport") -> Table:
    total = len(report.clips)
    from syncnet_training.evaluate import AGREEING

    table = Table(
        title=f"{report.exact} of {total} exact, {report.within_one} within 1 frame; "
        f"{report.wrong_audio_below_all:.1%} of {report.wrong_audio_pairs} pairs with the wrong "
        f"audio are less sure than every clip in sync; agreement of at least {AGREEING:.0%}: "
        f"{report.agreeing:.1%} of the clips, {report.wrong_audio_agreeing:.1%} of those pairs",
    )
    for name in (
        "clip",
        "shift",
        "found",
        "confidence",
        "agreement",
        "min distance",
        "wrong audio, highest confidence",
        "and agreement",
    ):
        table.add_column(name, justify="left" if name == "clip" else "right")
    for clip in report.clips:
        table.add_row(
            clip.name,
            str(clip.shift),
            str(clip.offset),
            f"{clip.confidence:.2f}",
            f"{clip.agreement:.0%}",
            f"{clip.min_distance:.2f}",
            f"{clip.wrong_audio_confidence:.2f}",
            f"{clip.wrong_audio_agreement:.0%}",
        )
    return table


def _follow_table(reports: "list[FollowReport]") -> Table:
    following = sum(report.follows for report in reports)
    table = Table(title=f"{following} of {len(reports)} clips follow imposed shifts")
    for name in ("clip", "frames", "offset", "confidence", "min distance", "follows"):
        table.add_column(name, justify="left" if name == "clip" else "right")
    table.add_column(f"offset at shifts {reports[0].shifts[0]} to {reports[0].shifts[-1]}")
    for report in reports:
        table.add_row(
            report.name,
            str(report.frames),
            str(report.offset),
            f"{report.confidence:.2f}",
            f"{report.min_distance:.2f}",
            "yes" if report.follows else "no",
            " ".join(map(str, report.offsets)),
        )
    return table


def _profile_table(report: "ProfileReport") -> Table:
    table = Table(
        title=f"{report.samples_per_second:.1f} samples/s: batch {report.batch}, width "
        f"{report.width:g}, {report.precision} on {report.device}",
        caption=f"Loader parts are per batch, beside the step (loader processes: {report.workers})."
        if report.workers
        else "Loader parts are part of the data wait: there are no loader processes.",
    )
    for name in ("part", "mean ms", "min ms", "max ms", "share"):
        table.add_column(name, justify="left" if name == "part" else "right")
    sections = (report.parts, [report.forward, report.step], report.loader)
    for section in sections:
        for part in section:
            table.add_row(
                part.name,
                f"{part.mean_ms:.1f}",
                f"{part.min_ms:.1f}",
                f"{part.max_ms:.1f}",
                f"{part.share:.1%}",
            )
        table.add_section()
    return table
