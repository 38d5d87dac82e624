"""`syncnet-train synthesize`: make talking heads."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["synthesize"]


def synthesize(
    out: Annotated[Path, typer.Argument(help="Folder for the clips; created if missing.")],
    clips: Annotated[int, typer.Option(min=1, help="Number of clips.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same clips.")] = 0,
    seconds: Annotated[float, typer.Option(min=0.4, help="Length of each clip.")] = 3.0,
    mp4: Annotated[
        bool, typer.Option("--mp4", help="Write MP4 files, not frames and WAV.")
    ] = False,
    recordings: Annotated[
        Path | None,
        typer.Option(
            help="Folder of recorded voices (packages asterisk-core-sounds-*), usually /usr/share; "
            "about half of the clips then speak with them."
        ),
    ] = None,
    hard: Annotated[
        bool,
        typer.Option("--hard", help="Small faces, low bit rates, noise, telephones throughout."),
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Clips made at once.")] = os.cpu_count() or 1,
    contact_sheet: Annotated[
        Path | None,
        typer.Option(help="Also write frames of the first 8 clips to this JPEG or PNG."),
    ] = None,
) -> None:
    """Make talking-head clips whose sound and picture are exactly in sync.

    Each clip is a folder clip_000000 with video.yuv (224x224, 25 fps, 4:2:0), audio.wav (16 kHz
    mono) and clip.json, which is what `fit` reads. An interrupted run goes on where it stopped.
    """
    # Late: a help text must not wait for the renderer.
    from syncnet_training.storage import open_clips
    from syncnet_training.synthesis import write_clips, write_contact_sheet

    if contact_sheet and contact_sheet.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise typer.BadParameter("a .jpg or .png file", param_hint="--contact-sheet")
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
        for path in write_clips(
            out,
            clips=clips,
            seed=seed,
            frames=frames,
            mp4=mp4,
            hard=hard,
            recordings=recordings,
            jobs=jobs,
        ):
            made.append(path)
            progress.advance(task)
    if contact_sheet:
        write_contact_sheet(
            [clip for clip in open_clips(out) if clip.path in made[:8]], contact_sheet
        )
