"""`syncnet-train fit`: train the towers.

PyTorch is imported inside the commands: a help text must not wait for it.
"""

from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from syncnet_programs.program import stopping
from syncnet_programs.terminal import progress_console
from syncnet_training.commands.options import (
    DeviceOption,
    Precision,
    PrecisionOption,
    choose_device,
)

if TYPE_CHECKING:
    from syncnet_training.fit import Report

__all__ = ["fit"]


_run = partial(typer.Option, rich_help_panel="Run")
_network = partial(typer.Option, rich_help_panel="Network")
_batch = partial(typer.Option, rich_help_panel="Batches")
_step = partial(typer.Option, rich_help_panel="Steps")
_validation = partial(typer.Option, rich_help_panel="Validation")


class Part(str, Enum):
    """What of the network can be frozen."""

    video = "video"
    audio = "audio"
    stem = "stem"


def fit(
    data: Annotated[
        list[Path],
        typer.Argument(help="Folders of clips, as `synthesize` and `prepare` write them."),
    ],
    run: Annotated[
        Path, _run(help="Folder of the run: checkpoint, log and resulting weights.")
    ] = Path("runs/fit"),
    width: Annotated[
        float, _network(min=0.01, help="Width of the layers; 1 is the published network.")
    ] = 0.25,
    steps: Annotated[int, _step(min=1, help="Steps of the whole run.")] = 2000,
    clips: Annotated[int, _batch(min=1, help="Clips in a step.")] = 14,
    windows: Annotated[int, _batch(min=2, help="Video windows of each of them.")] = 5,
    stride: Annotated[int, _batch(min=1, help="Frames between these windows.")] = 3,
    margin: Annotated[
        int, _batch(min=0, help="Audio windows to choose from before and after them.")
    ] = 2,
    learning_rate: Annotated[float, _step(help="Peak of the one-cycle schedule.")] = 1.5e-3,
    weight_decay: Annotated[float, _step(help="Of AdamW, on matrices and kernels.")] = 0.03,
    ramp_steps: Annotated[
        int, _batch(min=0, help="Steps over which augmentation grows to full strength.")
    ] = 800,
    init: Annotated[
        Path | None,
        _network(help="Checkpoint to start from, such as the official weights; sets the width."),
    ] = None,
    freeze: Annotated[
        Part | None,
        _network(help="What stays as in --init: a tower, or the first video layer (stem)."),
    ] = None,
    resume: Annotated[bool, _run("--resume", help="Go on with the run.")] = False,
    seed: Annotated[int, _run(help="Of weights, batches and augmentation.")] = 0,
    held_out: Annotated[
        int, _validation(min=0, help="Clips at the end of the data that are not trained on.")
    ] = 16,
    validation: Annotated[
        list[Path] | None,
        _validation(help="Folder of clips to measure on, in place of --held-out."),
    ] = None,
    workers: Annotated[int, _batch(min=0, help="Processes that load batches.")] = 2,
    report_steps: Annotated[
        int, _run(min=1, help="Steps between checkpoints, and between lines of the log.")
    ] = 50,
    half: Annotated[
        bool, _network("--half", help="Round the weights of the result to fp16.")
    ] = False,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.auto,
) -> None:
    """Train the towers on clips; the result is RUN/weights.safetensors.

    A run that was stopped goes on with --resume from its last checkpoint. With another --steps than
    before, the rest of the learning rate's cycle is stretched or shortened to fit; with the number
    of steps that are done, the weights of the checkpoint are written and nothing is trained.
    """
    from syncnet_training.data import BatchShape
    from syncnet_training.fit import FitConfig, steps_kept
    from syncnet_training.fit import fit as run_fit
    from syncnet_training.step import StepConfig
    from syncnet_training.storage import open_clips

    if freeze and init is None:
        raise typer.BadParameter(
            "needs --init: random weights are not worth keeping", param_hint="--freeze"
        )
    config = FitConfig(
        steps=steps,
        width=width,
        seed=seed,
        shape=BatchShape(clips, windows, stride, margin),
        step=StepConfig(learning_rate, weight_decay, frozen=freeze.value if freeze else None),
        initial=init,
        ramp_steps=ramp_steps,
        held_out=held_out,
    )
    where, kind = choose_device(device, precision)
    found = [clip for folder in data for clip in open_clips(folder)]
    columns = (
        TextColumn("steps"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )

    def stopped() -> str:
        done = steps_kept(run)
        if not done:
            return "no step was kept; the same command starts again"
        return f"{done} of {steps} steps are in {run}; the same command with --resume goes on"

    with (
        stopping(stopped),
        Progress(*columns, console=progress_console()) as progress,
    ):
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
            validation=[clip for folder in validation or [] for clip in open_clips(folder)],
            resume=resume,
            report_steps=report_steps,
            half=half,
            progress=show,
        )
    print(weights)
