"""`syncnet-train profile`: time the parts of a training step."""

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from syncnet_programs.terminal import working
from syncnet_training.commands.options import (
    DeviceOption,
    JsonOption,
    Precision,
    PrecisionOption,
    choose_device,
    output,
)

if TYPE_CHECKING:
    from syncnet_training.profile import ProfileReport

__all__ = ["profile"]

_CLIPS = 8  # made for the run where there are none
_FRAMES = 75

_step = partial(typer.Option, rich_help_panel="Steps")
_data = partial(typer.Option, rich_help_panel="Data")


def profile(
    batch: Annotated[int, _step(min=2, help="Samples in a step.")] = 1024,
    steps: Annotated[int, _step(min=1, help="Steps to measure.")] = 50,
    width: Annotated[float, _step(min=0.01, help="Width of the layers.")] = 1.0,
    workers: Annotated[int, _data(min=0, help="Processes that load batches.")] = 2,
    data: Annotated[
        Path | None, _data(help="Folder of clips; without it a few are made for the run.")
    ] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.auto,
    as_json: JsonOption = False,
) -> None:
    """Time the parts of a training step: loading, both towers, loss, backward, optimiser."""
    from syncnet_training.profile import profile as run_profile
    from syncnet_training.storage import open_clips

    where, kind = choose_device(device, precision)
    with tempfile.TemporaryDirectory(prefix="syncnet-profile-") as folder:
        if data is None:
            from syncnet_training.synthesis import write_clips

            made = write_clips(
                Path(folder),
                clips=_CLIPS,
                seed=0,
                frames=_FRAMES,
                mp4=False,
                jobs=1,
            )
            for _ in made:
                pass
        with working(f"timing {steps} steps"):
            report = run_profile(
                open_clips(data or Path(folder)),
                batch=batch,
                steps=steps,
                width=width,
                workers=workers,
                device=where,
                precision=kind,
            )
    output(report.to_dict(), _table(report), as_json)


def _table(report: "ProfileReport") -> Table:
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
