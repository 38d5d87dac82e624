"""``syncnet-client align``: put a clip in sync without touching its packets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syncnet_client.commands.connection import Connection, connection
from syncnet_client.commands.options import options_of
from syncnet_client.scoring.options import ScoreOptions
from syncnet_programs.groups import takes

if TYPE_CHECKING:
    from syncnet_client.align import Alignment
    from syncnet_client.scoring.result import SyncResult

__all__ = ["align"]


# What a protocol or another sound measures is not the offset of the clip's own.
@takes(
    how=options_of(ScoreOptions, without=("protocol", "lossy", "audio", "audio_clock")),
    server=connection,
)
def align(
    *,
    clip: Annotated[
        Path, typer.Argument(metavar="CLIP", exists=True, dir_okay=False, help="The clip.")
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="File to write: .mp4, .m4v, .mov, .mkv, .webm.")
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Write although a measurement speaks against it.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
    how: ScoreOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    server: Connection,
) -> None:
    """Write a copy of CLIP whose audio is in sync.

    The clip is measured, its audio is moved by time stamps alone (no packet is decoded or changed),
    and the copy is measured too. Nothing is written if the first offset is not trusted or lies
    within the known error of the weights, or if the copy is not in sync.
    """
    from syncnet_client.align import align as align_clip
    from syncnet_client.commands.meter import ClipMeter
    from syncnet_client.media.remux import check_output

    check_output(clip, out, overwrite=overwrite)  # before a server is started for it
    with server.open() as client:
        steps = iter(("before", "after"))

        def score(path: Path, name: str) -> SyncResult:
            with ClipMeter(f"{next(steps)}: {name}") as meter:
                return client.score(path, name=name, progress=meter.update, **how.keywords())

        alignment = align_clip(clip, out, score, force=force, overwrite=overwrite)
    if as_json:
        print(json.dumps(alignment.to_dict(), allow_nan=False))
    else:
        _print(alignment)


def _print(alignment: Alignment) -> None:
    for label, result in (("before", alignment.before), ("after", alignment.after)):
        print(f"{label + ':':<8} {result.clip}: {result.headline}")
    moves = {"audio": alignment.moves.audio, "video": alignment.moves.others}
    moved = [f"{name} {float(by * 1000):+g} ms" for name, by in moves.items() if by]
    print(f"{'moved:':<8} {', '.join(moved) or 'nothing'}")
