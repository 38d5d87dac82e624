"""A summary of results as a table for the terminal, Markdown, LaTeX, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from syncnet_client.records.summary import Estimate, SetSummary, Summary

__all__ = ["FORMATS", "render_summary"]

TITLES = {
    "lse_d": "LSE-D",
    "lse_c": "LSE-C",
    "min_distance": "min. distance",
    "confidence": "confidence",
    "within_one": "within 1 frame",
}
LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
)
COLUMNS = 160  # where there is no terminal to say how wide it is


@dataclass(frozen=True)
class _Grid:
    """A table of texts; the first column is of names, the others of numbers."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def render_summary(summary: Summary, kind: str) -> str:
    """Return the summary as text.

    Args:
        summary: of one or more sets.
        kind: one of ``FORMATS``.
    """
    return FORMATS[kind](summary).rstrip("\n")


def _table(summary: Summary) -> str:
    console = Console(highlight=False)
    width = console.width if console.is_terminal else COLUMNS
    target = io.StringIO()
    console = Console(file=target, width=width, highlight=False)
    for grid in _grids(summary):
        table = Table(title=grid.title, title_justify="left", title_style="bold")
        for number, name in enumerate(grid.header):
            table.add_column(name, justify="right" if number else "left", overflow="fold")
        for row in grid.rows:
            table.add_row(*row)
        console.print(table)
    return "\n".join(line.rstrip() for line in target.getvalue().splitlines())


def _markdown(summary: Summary) -> str:
    lines = []
    for grid in _grids(summary):
        lines += [f"**{grid.title}**", "", _piped(grid.header)]
        lines.append(_piped(["---", *["---:"] * (len(grid.header) - 1)]))
        lines += [*map(_piped, grid.rows), ""]
    return "\n".join(lines)


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _latex(summary: Summary) -> str:
    """Tables for the package booktabs."""
    lines = []
    for grid in _grids(summary):
        lines += [f"% {grid.title}", rf"\begin{{tabular}}{{l{'r' * (len(grid.header) - 1)}}}"]
        lines += [r"\toprule", _ampersands(grid.header), r"\midrule"]
        lines += [*map(_ampersands, grid.rows), r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join(lines)


def _ampersands(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cell.translate(LATEX) for cell in cells)} \\"


def _csv(summary: Summary) -> str:
    """A row for each number."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["set", "minus", "statistic", "of", "value", "low", "high"])
    for each in summary.sets:
        writer.writerow([each.name, "", "count", "clips", each.clips, "", ""])
        writer.writerow([each.name, "", "count", "scored", each.scored, "", ""])
        for kind, count in each.failed.items():
            writer.writerow([each.name, "", "failed", kind, count, "", ""])
        for statistic, estimates in (("mean", each.means), ("median", each.medians)):
            for column, estimate in estimates.items():
                writer.writerow([each.name, "", statistic, column, *_numbers(estimate)])
        if each.within_one is not None:
            writer.writerow([each.name, "", "share", "within_one", *_numbers(each.within_one)])
        for offset, count in each.offsets.items():
            writer.writerow([each.name, "", "offset", offset, count, "", ""])
    for pair in summary.differences:
        writer.writerow([pair.first, pair.second, "count", "pairs", pair.pairs, "", ""])
        for column, estimate in pair.means.items():
            writer.writerow([pair.first, pair.second, "mean", column, *_numbers(estimate)])
    return text.getvalue()


def _numbers(estimate: Estimate) -> tuple[float, float, float]:
    return (estimate.value, estimate.low, estimate.high)


def _json(summary: Summary) -> str:
    return json.dumps({**asdict(summary), "notes": summary.notes}, allow_nan=False)


def _grids(summary: Summary) -> list[_Grid]:
    columns = list(dict.fromkeys(name for each in summary.sets for name in each.means))
    statistics = [(name, kind) for name in columns for kind in ("mean", "median")]
    grids = [
        _Grid(
            "Clips, with 95 % intervals",
            [
                "set", "clips", "failed",
                *(f"{TITLES[name]}, {kind}" for name, kind in statistics),
                TITLES["within_one"],
            ],
            [_set(each, statistics) for each in summary.sets],
        )
    ]  # fmt: skip
    kinds = list(dict.fromkeys(kind for each in summary.sets for kind in each.failed))
    if kinds:
        grids.append(
            _Grid(
                "Clips that failed",
                ["set", *kinds],
                [
                    [each.name, *(str(each.failed.get(kind, 0)) for kind in kinds)]
                    for each in summary.sets
                ],
            )
        )
    offsets = sorted({offset for each in summary.sets for offset in each.offsets})
    if offsets:
        grids.append(
            _Grid(
                "Clips by offset in frames",
                ["offset", *(each.name for each in summary.sets)],
                [
                    [f"{offset:+d}", *(str(each.offsets.get(offset, 0)) for each in summary.sets)]
                    for offset in offsets
                ],
            )
        )
    if summary.differences:
        compared = list(dict.fromkeys(name for each in summary.differences for name in each.means))
        grids.append(
            _Grid(
                "Mean differences of clips with the same file name",
                ["sets", "pairs", *(TITLES[name] for name in compared)],
                [
                    [
                        f"{each.first} - {each.second}",
                        str(each.pairs),
                        *(_estimate(each.means.get(name), sign="+") for name in compared),
                    ]
                    for each in summary.differences
                ],
            )
        )
    return grids


def _set(each: SetSummary, statistics: Sequence[tuple[str, str]]) -> list[str]:
    by_kind = {"mean": each.means, "median": each.medians}
    return [
        each.name,
        str(each.clips),
        str(each.clips - each.scored),
        *(_estimate(by_kind[kind].get(name)) for name, kind in statistics),
        _estimate(each.within_one),
    ]


def _estimate(estimate: Estimate | None, *, sign: str = "") -> str:
    if estimate is None:
        return ""
    value, low, high = (f"{number:{sign}.2f}" for number in _numbers(estimate))
    return f"{value} [{low}, {high}]"


FORMATS: dict[str, Callable[[Summary], str]] = {
    "table": _table,
    "markdown": _markdown,
    "latex": _latex,
    "csv": _csv,
    "json": _json,
}
