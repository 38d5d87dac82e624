"""``syncnet-client filter``: keep the clips of a batch that meet an expression."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from syncnet_client.files import check_target

__all__ = ["filter"]


def filter(  # noqa: A001 (the name of the command)
    *,
    results: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS", help="What score --output wrote: .jsonl, .csv, .parquet."
        ),
    ],
    where: Annotated[
        str,
        typer.Option(
            metavar="EXPR",
            help="A condition over the columns in SQL: abs(offset_frames) <= 3 and trusted.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The records to keep: .csv, or .jsonl out of a .jsonl.",
        ),
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE.")] = False,
) -> None:
    """Keep the clips that meet an expression, and count what the others fail.

    What is written can be scored again, reported and summarized as any file of records. A clip
    that fails several conditions is counted for each.
    """
    from syncnet_client.records.filter import check_kept, select, write_kept
    from syncnet_client.records.read import read_rows

    check_kept(output, results)
    check_target(output, [results], overwrite=overwrite)
    selection = select(read_rows(results), where)
    write_kept(selection, output, results)
    print(selection.summary)
