"""`syncnet-train`: make data, train, evaluate and time the towers."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from syncnet_export.errors import ExportError
from syncnet_training import commands
from syncnet_training.errors import TrainingError

app = typer.Typer(
    help="Make synthetic talking heads, train SyncNet on them, measure it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def synthesize(
    out: Annotated[Path, typer.Argument(help="Folder for the clips; created if missing.")],
    clips: Annotated[int, typer.Option(min=1, help="Number of clips.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same clips.")] = 0,
    seconds: Annotated[float, typer.Option(min=0.4, help="Length of each clip.")] = 3.0,
    mp4: Annotated[
        bool, typer.Option("--mp4", help="Write MP4 files, not frames and WAV.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Clips made at once.")] = os.cpu_count() or 1,
    contact_sheet: Annotated[
        Path | None,
        typer.Option(help="Also write frames of the first 8 clips to this JPEG or PNG."),
    ] = None,
) -> None:
    """Make talking-head clips whose sound and picture are exactly in sync.

    Each clip is a folder clip_000000 with frames/000000.jpg ... (224x224, 25 fps), audio.wav (16
    kHz mono) and clip.json, which is what `fit` reads. An interrupted run goes on where it stopped.
    """
    # Late: a help text must not wait for the renderer.
    from syncnet_training.synthesis import write_clips, write_contact_sheet

    if mp4 and contact_sheet:
        raise typer.BadParameter("needs frames: leave out --mp4", param_hint="--contact-sheet")

    frames = round(seconds * 25)
    with Progress(
        TextColumn("clips"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as progress:
        task = progress.add_task("clips", total=clips)
        made = []
        for path in write_clips(out, clips=clips, seed=seed, frames=frames, mp4=mp4, jobs=jobs):
            made.append(path)
            progress.advance(task)
    if contact_sheet:
        write_contact_sheet(made[:8], contact_sheet)


app.command()(commands.fit)
app.command()(commands.evaluate)
app.command()(commands.profile)


def main() -> None:
    """Entry point: errors of use are one line on stderr and exit status 1."""
    try:
        app()
    except (OSError, ValueError, TrainingError, ExportError) as error:
        print(f"syncnet-train: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
