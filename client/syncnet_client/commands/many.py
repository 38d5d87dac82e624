"""Several clips on the command line: a line or a JSON object for each, and a file of records."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from syncnet_client.batch.processes import ClipProcesses
from syncnet_client.batch.threads import Tally, score_clips
from syncnet_client.client import SyncNetClient
from syncnet_client.commands.batch_meter import BatchMeter
from syncnet_client.commands.connection import Connection
from syncnet_client.commands.gate import DOES_NOT_PASS, Gate, report_failures
from syncnet_client.errors import MediaError, SyncNetError
from syncnet_client.media.sources import missing
from syncnet_client.records.base import Output
from syncnet_client.records.open import open_output
from syncnet_client.records.record import Record
from syncnet_client.render.report import LiveReport
from syncnet_client.scoring.clip import Progress
from syncnet_client.scoring.options import ScoreOptions
from syncnet_client.scoring.result import SyncResult
from syncnet_client.scoring.verdict import headline
from syncnet_client.waiting import interrupts_between_waits
from syncnet_programs.program import one_line, stopping
from syncnet_programs.terminal import note

__all__ = ["Engine", "local_engine", "score_many"]


class Engine(Protocol):
    """A way to score many clips."""

    def __call__(
        self,
        emit: Callable[[Record], None],
        *,
        done: Collection[str],
        on_start: Callable[[Tally], None],
    ) -> Tally:
        """Score those clips that are not done; emit every record and return the tally."""
        ...


def local_engine(
    server: Connection,
    clips: list[str],
    how: ScoreOptions,
    *,
    jobs: int,
    memory_mb: int,
) -> Engine:
    """Several clips at once on this machine, each in a process of its own.

    A local server is started only if there is a clip for it.
    """

    def engine(
        emit: Callable[[Record], None],
        *,
        done: Collection[str],
        on_start: Callable[[Tally], None],
    ) -> Tally:
        waiting = [clip for clip in clips if clip not in done]
        if not server.needed(waiting):
            return score_clips(clips, _fail, emit, done=done, on_start=on_start)
        with server.reach() as url:
            with SyncNetClient(url, options=server.options) as client:
                client.check_ready()
            score = ClipProcesses(url, server.options, how, memory_mb=memory_mb)
            with contextlib.closing(score), interrupts_between_waits():
                return score_clips(
                    clips, score, emit, jobs=jobs, done=done, on_start=on_start, abandon=score.close
                )

    return engine


def _fail(clip: str, _progress: Callable[[Progress], None]) -> SyncResult:
    """Score a clip that is not there."""
    raise missing(clip) or MediaError(f"{clip} has just appeared: try again")


def score_many(
    engine: Engine,
    *,
    output: Path | None,
    as_json: bool,
    gate: Gate,
    report: LiveReport | None = None,
    open_records: Callable[[Path], Output] = open_output,
) -> int:
    """Score clips and print what becomes of them.

    Args:
        engine: does it.
        output: the file of records.
        as_json: print each record as a JSON object.
        gate: what a clip must pass.
        report: the page of ``output``, kept up to date.
        open_records: opens ``output``.

    Returns:
        The exit status: 1 if a clip could not be scored, else 3 if one does not pass, else 0.

    Raises:
        UsageError: ``output`` cannot be written.
        ServerError: the server is not there, or is gone for too long.
        SyncNetError: ``report`` cannot be written.
    """
    with ExitStack() as stack:
        records = None if output is None else stack.enter_context(open_records(output))
        meter = stack.enter_context(BatchMeter())
        failures: dict[str, str] = {}

        def emit(record: Record) -> None:
            if records is not None:
                records.append(record)
            _print(record, as_json=as_json)
            if record.result is not None and (why := gate.failure(record.result)):
                failures[record.clip] = why
            meter.advance()
            if report is not None:
                report.refresh(*_finished(meter.tally, and_now=1))

        done = frozenset(() if records is None else records.done)
        with stopping(lambda: _progress(meter.tally, records)):
            try:
                tally = engine(emit, done=done, on_start=meter.start)
            except BaseException:
                if report is not None and records is not None and records.done:
                    with contextlib.suppress(SyncNetError):  # what ended the batch says more
                        report.write(*_finished(meter.tally))
                raise
        if report is not None:
            report.write(*_finished(tally))
    report_failures(failures)
    if failures:
        note(f"{len(failures)} of {tally.scored} clips do not pass")
    note(str(tally))
    return 1 if tally.failed else DOES_NOT_PASS if failures else 0


def _finished(tally: Tally | None, and_now: int = 0) -> tuple[int, int]:
    """How many clips are finished, and of how many."""
    if tally is None:
        return 0, 0
    done = tally.skipped + tally.scored + tally.failed + and_now
    return done, tally.skipped + tally.total


def _progress(tally: Tally | None, records: Output | None) -> str:
    """What was done when Ctrl-C was pressed, and how to go on."""
    if tally is None:
        return "no clip was scored"
    count = tally.scored + tally.failed
    how = "" if records is None else "; the same command goes on with the rest"
    return f"{count} of {tally.total} clips were finished{how}"


def _print(record: Record, *, as_json: bool) -> None:
    """Print a record to standard output, and the reason of a failure to standard error."""
    if as_json:
        print(record.to_json(), flush=True)
    elif record.result is not None:
        result = record.result
        words = headline(
            result["meaning"],
            result["agreement"],
            result["confidence"],
            result["verdict"]["trusted"],
        )
        print(f"{record.clip}: {words}", flush=True)
    if record.error is not None:
        print(one_line("syncnet-client", record.error), file=sys.stderr)
