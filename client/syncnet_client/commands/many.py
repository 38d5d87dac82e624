"""Several clips on the command line: a line or a JSON object for each, and a file of records."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from syncnet_client.batch import Tally, score_clips
from syncnet_client.client import SyncNetClient
from syncnet_client.commands.batch_meter import BatchMeter
from syncnet_client.commands.failures import PROGRAM
from syncnet_client.commands.scoring import ScoreArguments
from syncnet_client.output import open_output
from syncnet_client.records import Record
from syncnet_client.result import SyncResult
from syncnet_client.scoring import Progress

__all__ = ["print_record", "score_many"]


def score_many(
    client: SyncNetClient,
    clips: list[str],
    arguments: ScoreArguments,
    *,
    jobs: int,
    output: Path | None,
    as_json: bool,
) -> bool:
    """Score clips, several at once, and print what becomes of them; whether all could be scored.

    Raises:
        UsageError: ``output`` cannot be written.
        ServerError: the server is not there, or is gone for too long.
    """

    def score(clip: str, progress: Callable[[Progress], None]) -> SyncResult:
        return client.score(clip, name=clip, progress=progress, **arguments)

    with ExitStack() as stack:
        records = None if output is None else stack.enter_context(open_output(output))
        client.check_ready()
        meter = stack.enter_context(BatchMeter())

        def emit(record: Record) -> None:
            if records is not None:
                records.append(record)
            print_record(record, as_json=as_json)
            meter.advance()

        tally: Tally = score_clips(
            clips,
            score,
            emit,
            jobs=jobs,
            done=() if records is None else records.done,
            on_start=meter.start,
            abandon=client.close,
        )
    print(tally, file=sys.stderr)
    return tally.failed == 0


def print_record(record: Record, *, as_json: bool) -> None:
    """Print a record to standard output, and the reason of a failure to standard error."""
    if as_json:
        print(record.to_json(), flush=True)
    elif record.result is not None:
        trust = "trusted" if record.result["verdict"]["trusted"] else "not to be trusted"
        confidence = record.result["confidence"]
        print(
            f"{record.clip}: {record.result['meaning']}, confidence {confidence:.2f}, {trust}",
            flush=True,
        )
    if record.error is not None:
        print(f"{PROGRAM}: {record.error}", file=sys.stderr)
