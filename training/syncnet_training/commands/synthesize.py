"""`syncnet-train synthesize`: make talking heads."""

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from syncnet_client.files import check_target
from syncnet_programs.program import stopping
from syncnet_programs.terminal import progress_console

__all__ = ["synthesize"]

_set = partial(typer.Option, rich_help_panel="Set")
_voice = partial(typer.Option, rich_help_panel="Faces and voices")
_work = partial(typer.Option, rich_help_panel="Work")


def synthesize(
    out: Annotated[Path, typer.Argument(help="Folder for the clips; created if missing.")],
    clips: Annotated[int, _set(min=1, help="Number of clips.")] = 100,
    seed: Annotated[int, _set(min=0, help="Same seed, same clips.")] = 0,
    seconds: Annotated[float, _set(min=0.4, help="Length of each clip.")] = 3.0,
    mp4: Annotated[bool, _set("--mp4", help="Write MP4 files, not frames and WAV.")] = False,
    recordings: Annotated[
        Path | None,
        _voice(
            help="Folder of recorded voices (packages asterisk-core-sounds-*), usually /usr/share; "
            "about half of the clips then speak with them."
        ),
    ] = None,
    hard: Annotated[
        bool,
        _voice("--hard", help="Small faces, low bit rates, noise, telephones throughout."),
    ] = False,
    jobs: Annotated[int, _work(min=1, help="Clips made at once.")] = os.cpu_count() or 1,
    contact_sheet: Annotated[
        Path | None,
        _set(help="Also write frames of the first 8 clips to this JPEG or PNG."),
    ] = None,
    overwrite: Annotated[
        bool, _set("--overwrite", help="Replace the file of --contact-sheet.")
    ] = False,
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
    if contact_sheet:
        check_target(contact_sheet, [], overwrite=overwrite)
    if mp4 and contact_sheet:
        raise typer.BadParameter("needs frames: leave out --mp4", param_hint="--contact-sheet")

    frames = round(seconds * 25)
    made: list[Path] = []
    with (
        stopping(lambda: f"{len(made)} of {clips} clips are made; the same command makes the rest"),
        Progress(
            TextColumn("clips"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=progress_console(),
        ) as progress,
    ):
        task = progress.add_task("clips", total=clips)
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
