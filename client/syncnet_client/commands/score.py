"""``syncnet-client score``: measure the offset of clips."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syncnet_client.commands.connection import Connection, connection
from syncnet_client.commands.gate import DOES_NOT_PASS, Gate, gate, report_failures
from syncnet_client.commands.options import options_of
from syncnet_client.defaults import DEFAULT_CLIP_MEMORY_MB, DEFAULT_JOBS, MIN_CLIP_MEMORY_MB
from syncnet_client.errors import UsageError
from syncnet_client.files import check_target
from syncnet_client.scoring.options import ScoreOptions
from syncnet_programs.groups import takes
from syncnet_programs.program import stopping
from syncnet_programs.terminal import working

if TYPE_CHECKING:
    from syncnet_client.client import SyncNetClient
    from syncnet_client.render.report import LiveReport
    from syncnet_client.scoring.result import SyncResult

__all__ = ["score"]


class EngineName(str, enum.Enum):
    """What does the work."""

    LOCAL = "local"
    RAY = "ray"


@takes(how=options_of(ScoreOptions), gate=gate, server=connection)
def score(
    *,
    clips: Annotated[
        list[str],
        typer.Argument(
            metavar="CLIP",
            help="Videos with sound: files, URLs, folders, patterns, or manifests "
            "(.jsonl, .csv or .parquet with a column named clip).",
        ),
    ],
    how: ScoreOptions,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per clip, each on one line.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Add a record for each clip to this .jsonl or .csv file or .parquet folder, "
            "and leave out clips that are scored in it.",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            metavar="N",
            help=f"Clips scored at once. [default: {DEFAULT_JOBS}; on Ray the cluster's cores]",
        ),
    ] = None,
    memory: Annotated[
        int,
        typer.Option(
            min=MIN_CLIP_MEMORY_MB,
            metavar="MB",
            help="Of several clips, one that needs more memory than this fails.",
        ),
    ] = DEFAULT_CLIP_MEMORY_MB,
    engine: Annotated[
        EngineName,
        typer.Option(help="Score in this process, or on the machines of a Ray cluster."),
    ] = EngineName.LOCAL,
    ray_address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="The cluster's head. [default: start Ray here]"),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the curves of one clip (.png, .pdf or .svg)."),
    ] = None,
    overlay: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write one clip with faces, confidence and waveform drawn on it (.mp4, .mkv).",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --output: show its records on a page that grows with them (.html).",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files of --plot, --overlay and --report.")
    ] = False,
    gate: Gate,
    server: Connection,
) -> None:
    """Measure how far the audio of each clip is ahead of its video, and how sure that is.

    The exit status is 0 if all clips could be scored, 1 if not, 2 if the options are wrong, and 3
    if a clip does not pass --require-trusted or --max-offset-ms.
    """
    from syncnet_client.batch.inputs import expand
    from syncnet_client.commands.many import local_engine, score_many

    names = expand(clips)
    single = names == clips and len(names) == 1 and output is None and engine is EngineName.LOCAL
    if (plot or overlay) and not single:
        raise UsageError("--plot and --overlay draw one clip: name one, without --output")
    page = None
    if report is not None:
        page = _live_report(output, report, names, overwrite=overwrite)
    if engine is EngineName.RAY:
        from syncnet_client.commands.ray import score_many_on_ray

        if server.url is None or output is None:
            raise UsageError("--engine ray needs --output, and a server that all machines reach")
        status = score_many_on_ray(
            names,
            how,
            url=server.url,
            options=server.options,
            address=ray_address,
            jobs=jobs,
            output=output,
            as_json=as_json,
            gate=gate,
            report=page,
        )
        raise typer.Exit(status)
    if how.audio is not None:
        server.check(str(how.audio))
    if single:
        _check_targets(names[0], plot, overlay, overwrite=overwrite)
        server.check(names[0])
        with server.open() as client:
            result = _score_one(client, names[0], how, as_json, plot, overlay)
        if why := gate.failure(result.to_dict()):
            report_failures({names[0]: why})
            raise typer.Exit(DOES_NOT_PASS)
        return
    clips_here = local_engine(server, names, how, jobs=jobs or DEFAULT_JOBS, memory_mb=memory)
    status = score_many(clips_here, output=output, as_json=as_json, gate=gate, report=page)
    raise typer.Exit(status)


def _live_report(
    output: Path | None, report: Path, clips: list[str], *, overwrite: bool
) -> LiveReport:
    from syncnet_client.render.report import LiveReport, check_report, is_report

    if output is None:
        raise UsageError("--report shows the records of --output: name both")
    # A batch that was stopped goes on with the same command.
    check_report(report, clips, overwrite=overwrite or is_report(report))
    return LiveReport(output, report)


def _check_targets(clip: str, plot: Path | None, overlay: Path | None, *, overwrite: bool) -> None:
    """Find out what cannot be written before a server is started or a frame is decoded."""
    from syncnet_client.render.overlay import check_overlay
    from syncnet_client.render.plot import check_plot

    if plot is not None:
        check_plot(plot)
        check_target(plot, [clip], overwrite=overwrite)
    if overlay is not None:
        check_overlay(overlay)
        check_target(overlay, [clip], overwrite=overwrite)


def _score_one(
    client: SyncNetClient,
    clip: str,
    how: ScoreOptions,
    as_json: bool,
    plot: Path | None,
    overlay: Path | None,
) -> SyncResult:
    from syncnet_client.commands.meter import ClipMeter
    from syncnet_client.render.overlay import write_overlay
    from syncnet_client.render.plot import plot_result
    from syncnet_client.render.terminal import print_result

    with ClipMeter(clip) as meter, stopping(lambda: f"{clip} was not scored"):
        result = client.score(clip, progress=meter.update, **how.keywords())
    if as_json:
        print(json.dumps(result.to_dict(), allow_nan=False), flush=True)
    else:
        print_result(result)
    if plot is not None:
        plot_result(result, plot)
    if overlay is not None:
        with working(f"writing {overlay}"), stopping(lambda: f"{overlay} was not written"):
            write_overlay(clip, result, overlay)
    return result
