"""``syncnet-client report``: a page of what a batch found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from syncnet_programs.terminal import working

__all__ = ["report"]


def report(
    *,
    results: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS", help="What score --output wrote: .jsonl, .csv, .parquet."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write (.html).")
    ],
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Heading. [default: the name of RESULTS]")
    ] = None,
    thumbnails: Annotated[
        bool, typer.Option(help="Show the faces, for which each clip is opened.")
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE.")] = False,
) -> None:
    """Write what a batch found as one HTML page, which opens from disk without a network.

    It shows how many clips were scored and trusted, the offsets and confidences, and every clip
    with its curves; thresholds can be moved, and the selection saved as CSV.
    """
    from syncnet_client.records.read import read_rows
    from syncnet_client.render.report import check_report, write_report

    check_report(output, [results], overwrite=overwrite)
    rows = read_rows(results)
    with working(f"{output}: {len(rows)} clips"):
        write_report(
            rows, output, title=title or results.name, thumbnails=thumbnails, overwrite=overwrite
        )
    print(f"{output}: {len(rows)} clips")
