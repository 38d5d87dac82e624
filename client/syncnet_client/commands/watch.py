"""``syncnet-client watch``: the offset of a live source, a line for every second."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syncnet_client.commands.connection import Connection, connection
from syncnet_client.commands.crop import CropOption, YunetOption, parse_crop
from syncnet_client.commands.groups import takes
from syncnet_client.commands.options import MinConfidenceOption, VshiftOption
from syncnet_client.contract import DEFAULT_VSHIFT
from syncnet_client.defaults import (
    DEFAULT_MIN_CONFIDENCE,
    DEFAULT_WINDOW_S,
)

if TYPE_CHECKING:
    from syncnet_client.scoring.live import Update

__all__ = ["watch"]


@takes(server=connection)
def watch(
    *,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="URL (rtsp, http with HLS, srt, udp, ...), pipe, file, or -."
        ),
    ],
    window: Annotated[
        float, typer.Option(metavar="SECONDS", help="Look back so far in every update.")
    ] = DEFAULT_WINDOW_S,
    every: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time from one update to the next.")
    ] = 1.0,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="The file is still being written: wait for more at its end."),
    ] = False,
    source_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="The source has ended if silent for so long.")
    ] = 10.0,
    vshift: VshiftOption = DEFAULT_VSHIFT,
    crop: CropOption = "auto",
    yunet: YunetOption = None,
    min_confidence: MinConfidenceOption = DEFAULT_MIN_CONFIDENCE,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per update, each on one line.")
    ] = False,
    server: Connection,
) -> None:
    """Measure a live source over its last seconds, until it ends or Ctrl-C is pressed.

    A file that is complete is played as if it were live.
    """
    crop_mode = parse_crop(crop)
    with server.open() as client:
        updates = client.watch(
            source,
            window_s=window,
            every_s=every,
            vshift=vshift,
            crop=crop_mode,
            yunet=yunet,
            min_confidence=min_confidence,
            realtime=Path(source).is_file() and not follow,
            follow=follow,
            source_timeout_s=source_timeout,
        )
        # Ctrl-C is the usual way to end this, so it is a success.
        with contextlib.closing(updates), contextlib.suppress(KeyboardInterrupt):
            for update in updates:
                print(json.dumps(update.to_dict()) if as_json else _line(update), flush=True)


def _line(update: Update) -> str:
    clock = str(timedelta(seconds=int(update.time_s)))
    if update.confidence is None:
        return f"{clock}  {update.meaning}"
    doubts = ", ".join(reason.code for reason in update.verdict.reasons)
    trust = "trusted" if update.verdict.trusted else f"not to be trusted: {doubts}"
    return f"{clock}  {update.meaning}, confidence {update.confidence:.2f}, {trust}"
