"""``syncnet-client watch``: the offset of a live source, a line for every second."""

from __future__ import annotations

import contextlib
import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syncnet_client.commands.connection import Connection, connection
from syncnet_client.commands.options import options_of
from syncnet_client.defaults import DEFAULT_SOURCE_TIMEOUT_S
from syncnet_client.scoring.options import WatchOptions
from syncnet_client.scoring.verdict import headline
from syncnet_programs.groups import takes

if TYPE_CHECKING:
    from syncnet_client.scoring.live import Update

__all__ = ["watch"]


@takes(how=options_of(WatchOptions), server=connection)
def watch(
    *,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="URL (rtsp, http with HLS, srt, udp, ...), pipe, file, or -."
        ),
    ],
    how: WatchOptions,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="The file is still being written: wait for more at its end."),
    ] = False,
    source_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="The source has ended if silent for so long.")
    ] = DEFAULT_SOURCE_TIMEOUT_S,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per update, each on one line.")
    ] = False,
    server: Connection,
) -> None:
    """Measure a live source over its last seconds, until it ends or Ctrl-C is pressed.

    A file that is complete is played as if it were live.
    """
    server.check(source)
    with server.open() as client:
        updates = client.watch(
            source,
            realtime=Path(source).is_file() and not follow,
            follow=follow,
            source_timeout_s=source_timeout,
            **how.keywords(),
        )
        # Ctrl-C is the usual way to end this, so it is a success.
        with contextlib.closing(updates), contextlib.suppress(KeyboardInterrupt):
            for update in updates:
                print(json.dumps(update.to_dict()) if as_json else _line(update), flush=True)


def _line(update: Update) -> str:
    clock = str(timedelta(seconds=int(update.time_s)))
    if update.measurement is None:
        return f"{clock}  {update.meaning}"
    verdict = update.verdict
    found = update.measurement
    words = headline(update.meaning, found.agreement, found.confidence, verdict.trusted)
    codes = ", ".join(reason.code for reason in verdict.reasons)
    return f"{clock}  {words}" if verdict.trusted else f"{clock}  {words}: {codes}"
