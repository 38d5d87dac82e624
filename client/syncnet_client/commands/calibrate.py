"""``syncnet-client calibrate``: which threshold to take on clips like yours."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syncnet_client.commands.connection import Connection, connection
from syncnet_client.commands.options import options_of
from syncnet_client.errors import MediaError, NoFaceError
from syncnet_client.files import check_target
from syncnet_client.scoring.options import ScoreOptions
from syncnet_programs.groups import takes
from syncnet_programs.program import one_line, stopping
from syncnet_programs.terminal import note, working

if TYPE_CHECKING:
    from syncnet_client.calibration import Calibration

__all__ = ["calibrate"]


@takes(how=options_of(ScoreOptions), server=connection)
def calibrate(
    *,
    clips: Annotated[
        list[str],
        typer.Argument(metavar="CLIP", help="Clips in sync, at least two; files, folders, lists."),
    ],
    others: Annotated[
        int, typer.Option(min=2, metavar="N", help="Other clips' sounds that each clip gets.")
    ] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Draws the others.")] = 0,
    wrong: Annotated[
        float,
        typer.Option(min=0, max=1, metavar="SHARE", help="Of wrong pairs that may be accepted."),
    ] = 0.02,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw what is accepted (.png, .pdf or .svg)."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file of --plot.")
    ] = False,
    how: ScoreOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    server: Connection,
) -> None:
    """Score each clip with its own sound and with others', and recommend thresholds.

    A clip that cannot be scored is left out, and named; the exit status is then 1.
    """
    from syncnet_client.batch.inputs import expand
    from syncnet_client.calibration import Embedded, embed, require_several
    from syncnet_client.calibration import calibrate as calibrate_clips
    from syncnet_client.media.sources import missing
    from syncnet_client.render.calibration import plot_calibration
    from syncnet_client.render.plot import check_plot
    from syncnet_client.transport.grpc import GrpcTransport

    names = expand(clips)
    if plot is not None:
        check_plot(plot)
        check_target(plot, names, overwrite=overwrite)
    embedded: dict[str, Embedded] = {}

    def read(name: str, transport: GrpcTransport) -> None:
        try:
            embedded[name] = embed(name, transport, how)
        except (MediaError, NoFaceError) as error:
            print(one_line("syncnet-client", error), file=sys.stderr)

    there = []
    for name in names:
        if error := missing(name):
            print(one_line("syncnet-client", error), file=sys.stderr)
        else:
            there.append(name)
    require_several(there)  # before a server is started for them
    with server.reach() as url, stopping(lambda: f"{len(embedded)} of {len(names)} clips read"):
        transport = GrpcTransport(url, server.options)
        try:
            transport.check_ready()
            with working("reading clips") as tell:
                for number, name in enumerate(there, 1):
                    tell(f"clip {number} of {len(there)}: {name}")
                    read(name, transport)
            note(f"{len(embedded)} of {len(names)} clips read")
            with working("scoring each clip with its own sound and with others'"):
                result = calibrate_clips(
                    embedded,
                    transport,
                    vshift=how.vshift,
                    others=others,
                    seed=seed,
                    wrong_share=wrong,
                )
        finally:
            transport.close()
    if as_json:
        print(json.dumps(result.to_dict(), allow_nan=False))
    else:
        _print(result)
    if plot is not None:
        plot_calibration(result, plot)
    if len(embedded) < len(names):
        raise typer.Exit(1)


def _print(result: Calibration) -> None:
    true = sum(pair.true for pair in result.pairs)
    print(f"{true} clips with their own sound, {len(result.pairs) - true} with another clip's")
    for each in result.separations:
        print(
            f"--min-{each.statistic} {each.threshold:.3g}: {each.true_accepted:.1%} of true and "
            f"{each.wrong_accepted:.1%} of wrong pairs accepted; area under the curve "
            f"{each.area:.3f}"
        )
