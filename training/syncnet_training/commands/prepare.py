"""`syncnet-train prepare`: turn your own videos into training data."""

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from syncnet_client.commands.connection import Connection, connection
from syncnet_client.commands.options import options_of
from syncnet_client.defaults import DEFAULT_JOBS
from syncnet_client.errors import MediaError
from syncnet_client.scoring.options import ScoreOptions
from syncnet_programs.groups import takes
from syncnet_programs.program import stopping
from syncnet_programs.terminal import show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from syncnet_client.batch.threads import Tally
    from syncnet_client.scoring.clip import Progress
    from syncnet_client.scoring.result import SyncResult
    from syncnet_training.prepare import Outcome

__all__ = ["prepare"]

_clips = partial(typer.Option, rich_help_panel="Clips")
_sets = partial(typer.Option, rich_help_panel="Sets")
_work = partial(typer.Option, rich_help_panel="Work")


@takes(how=options_of(ScoreOptions), server=connection)
def prepare(
    *,
    out: Annotated[Path, typer.Argument(help="Folder of the data set; created if missing.")],
    clips: Annotated[
        list[str],
        typer.Argument(
            metavar="CLIP",
            help="Talking-head videos with sound: files, URLs, folders, patterns, or manifests "
            "(.jsonl, .csv or .parquet with a column named clip).",
        ),
    ],
    seconds: Annotated[
        float, _clips(min=1.2, help="Cut tracks into equal clips of about this length.")
    ] = 4.0,
    keep_all: Annotated[
        bool, _clips("--all", help="Keep also what the verdict does not trust.")
    ] = False,
    align: Annotated[
        bool, _clips("--align", help="Move the audio of each track by its measured offset.")
    ] = False,
    max_offset: Annotated[
        int,
        _clips(min=0, help="Without --align: leave out what is further out of sync, frames."),
    ] = 3,
    test_share: Annotated[
        float, _sets(min=0, max=0.9, help="Share of the sources for the test set.")
    ] = 0.1,
    by_folder: Annotated[
        bool,
        _sets("--by-folder", help="Videos in one folder show one speaker: keep them in one set."),
    ] = False,
    jobs: Annotated[
        int, _work("--jobs", "-j", min=1, metavar="N", help="Videos worked on at once.")
    ] = DEFAULT_JOBS,
    how: ScoreOptions,
    server: Connection,
) -> None:
    """Turn talking-head videos into the folders that `fit` and `evaluate` read.

    The client finds and follows faces, measures the offset, and judges. Trusted tracks become
    clips in OUT/train and OUT/test; no source is in both. OUT/report.jsonl says what became of
    every source, and a run that was stopped goes on after the last one. The exit status is 1 if a
    source could not be read or scored, or nothing was kept.
    """
    from syncnet_client.batch.inputs import expand
    from syncnet_client.commands.batch_meter import BatchMeter
    from syncnet_client.media.sources import missing
    from syncnet_training.prepare import PrepareConfig, sources_left
    from syncnet_training.prepare import prepare as run_prepare

    sources = expand(clips)
    config = PrepareConfig(seconds, keep_all, align, max_offset, test_share, by_folder)
    settings = {key: value for key, value in vars(how).items() if key != "chunk"}
    left = sources_left(out, sources, config, settings)
    with ExitStack() as stack:
        meter = stack.enter_context(BatchMeter())
        stack.enter_context(stopping(lambda: _progress(meter.tally)))
        client = None
        if server.needed(left):
            client = stack.enter_context(server.open())
            client.check_ready()

        def score(source: str, progress: "Callable[[Progress], None]") -> "SyncResult":
            if client is None:
                raise missing(source) or MediaError(f"{source} has just appeared: try again")
            return client.score(source, name=source, progress=progress, **how.keywords())

        def tell(outcome: "Outcome") -> None:
            if outcome.error:
                print(f"syncnet-train: {outcome.error}", file=sys.stderr)
            meter.advance()

        outcomes = run_prepare(
            out,
            sources,
            score,
            config,
            settings=settings,
            jobs=jobs,
            on_start=meter.start,
            on_source=tell,
            abandon=client.close if client is not None else None,
        )
    show(_table(outcomes))
    failed = any(outcome.error for outcome in outcomes)
    if failed or not any(outcome.clips for outcome in outcomes):
        raise typer.Exit(1)


def _progress(tally: "Tally | None") -> str:
    """What was done when Ctrl-C was pressed, and how to go on."""
    if tally is None:
        return "no source was read"
    count = tally.scored + tally.failed
    return f"{count} of {tally.total} sources were finished; the same command goes on with the rest"


def _table(outcomes: "Sequence[Outcome]") -> Table:
    from syncnet_training.prepare import SETS, count_left_out

    table = Table(title=f"{len(outcomes)} sources")
    table.add_column("what")
    table.add_column("number", justify="right")
    for name in SETS:
        kept = [outcome for outcome in outcomes if outcome.set == name and outcome.clips]
        written = sum(len(outcome.clips) for outcome in kept)
        table.add_row(f"clips in {name}, from {len(kept)} sources", str(written))
    table.add_section()
    for reason, count in count_left_out(outcomes):
        table.add_row(f"left out: {reason}", str(count))
    return table
