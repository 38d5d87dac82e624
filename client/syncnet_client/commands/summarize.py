"""``syncnet-client summarize``: what goes into a table of a paper."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from syncnet_client.errors import UsageError
from syncnet_programs.terminal import note

__all__ = ["summarize"]


class FormatName(str, enum.Enum):
    """How the summary is printed."""

    TABLE = "table"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"


def summarize(
    *,
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS", help="What score --output wrote: .jsonl, .csv, .parquet."
        ),
    ],
    by: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Split each RESULTS by the values of this column."),
    ] = None,
    mixed: Annotated[
        bool,
        typer.Option(
            "--mixed", help="Average results of different protocols, weights and detectors."
        ),
    ] = False,
    form: Annotated[
        FormatName, typer.Option("--format", help="How to print it; LaTeX uses booktabs.")
    ] = FormatName.TABLE,
) -> None:
    """Print means and medians of LSE-D and LSE-C with 95 % intervals, and how many clips failed.

    Several sets are compared by the clips of the same file name. Outside of a score protocol, the
    numbers are the minimum distance and the confidence.
    """
    from syncnet_client.records.read import read_rows
    from syncnet_client.records.summary import summarize as summarize_rows
    from syncnet_client.render.summary import render_summary

    names = [path.stem for path in results]
    if len(set(names)) < len(names):
        names = list(map(str, results))
    if len(set(names)) < len(names):
        raise UsageError("a set is named twice: each RESULTS counts once")
    rows = {name: read_rows(path) for name, path in zip(names, results, strict=True)}
    summary = summarize_rows(rows, by=by, mixed=mixed)
    print(render_summary(summary, form.value))
    for sentence in summary.notes:
        note(sentence)
