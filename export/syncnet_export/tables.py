"""What the commands print for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from syncnet_export.metadata import TowerMetadata
from syncnet_export.verify import Report

__all__ = ["embedding_table", "metadata_table", "score_table"]


def embedding_table(report: Report) -> Table:
    """The relative error of every file on every input."""
    table = Table(title="Embeddings beside those of the PyTorch network")
    for column in ("tower", "precision", "inputs"):
        table.add_column(column)
    for column in ("relative error", "tolerance", "result"):
        table.add_column(column, justify="right")
    for check in report.embeddings:
        table.add_row(
            check.tower,
            check.precision,
            check.inputs,
            f"{check.relative_error:.1e}",
            f"{check.tolerance:.0e}",
            _verdict(check.passed),
        )
    return table


def score_table(report: Report) -> Table:
    """The scores of every clip, those of the PyTorch network first."""
    table = Table(title="Scores of clips")
    for column in ("clip", "precision"):
        table.add_column(column)
    for column in ("offset", "confidence", "minimum distance", "result"):
        table.add_column(column, justify="right")
    shown = set()
    for check in report.scores:
        rows = [(check.precision, check.exported, _verdict(check.passed))]
        if check.clip not in shown:
            shown.add(check.clip)
            rows.insert(0, ("PyTorch", check.published, ""))
        for name, values, verdict in rows:
            table.add_row(
                check.clip,
                name,
                str(values.offset),
                f"{values.confidence:.4f}",
                f"{values.min_distance:.4f}",
                verdict,
            )
    return table


def metadata_table(files: Sequence[tuple[Path, TowerMetadata]]) -> Table:
    """What files say about themselves."""
    licences = sorted({metadata.licence for _, metadata in files})
    table = Table(caption="\n".join(licences), caption_justify="left")
    for column in ("file", "precision", "weights", "checkpoint", "exporter"):
        table.add_column(column, overflow="fold")
    for column in ("calibrated on", "in fp32"):
        table.add_column(column, overflow="fold")
    for path, metadata in files:
        table.add_row(
            "/".join(path.parts[-3:]),
            metadata.precision,
            metadata.weights or "-",
            metadata.checkpoint_sha256[:12],
            metadata.exporter,
            metadata.calibration or "-",
            metadata.in_fp32 or "-",
        )
    return table


def _verdict(passed: bool) -> str:
    return "[green]pass[/]" if passed else "[red]FAIL[/]"
