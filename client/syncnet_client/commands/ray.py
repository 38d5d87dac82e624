"""``syncnet-client score --engine ray``: clips on the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from syncnet_client.batch.ray import score_clips_on_ray
from syncnet_client.batch.threads import Tally
from syncnet_client.commands.gate import Gate
from syncnet_client.commands.many import score_many
from syncnet_client.records.base import Output
from syncnet_client.records.open import open_output
from syncnet_client.records.parquet import ParquetOutput
from syncnet_client.records.record import Record
from syncnet_client.render.report import LiveReport
from syncnet_client.scoring.options import ScoreOptions
from syncnet_client.transport.grpc import GrpcOptions

__all__ = ["score_many_on_ray"]


def score_many_on_ray(
    clips: list[str],
    how: ScoreOptions,
    *,
    url: str,
    options: GrpcOptions,
    address: str | None,
    jobs: int | None,
    output: Path,
    as_json: bool,
    gate: Gate,
    report: LiveReport | None,
) -> int:
    """Score clips on Ray and print what becomes of them; see ``score_many``.

    Raises:
        UsageError: ``output`` cannot be written.
        ServerError: the server is not there, or is gone for too long.
        SyncNetError: Ray is not installed or not there.
    """

    def engine(
        emit: Callable[[Record], None],
        *,
        done: Collection[str],
        on_start: Callable[[Tally], None],
    ) -> Tally:
        return score_clips_on_ray(
            clips,
            emit,
            url=url,
            options=options,
            how=how,
            address=address,
            jobs=jobs,
            done=done,
            on_start=on_start,
        )

    return score_many(
        engine,
        output=output,
        as_json=as_json,
        gate=gate,
        report=report,
        open_records=_open_records,
    )


def _open_records(path: Path) -> Output:
    """A folder of Parquet parts, unless the suffix says otherwise."""
    return open_output(path, default=ParquetOutput)
