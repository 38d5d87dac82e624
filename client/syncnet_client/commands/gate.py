"""Exit status 3: clips that could be scored but do not pass, for CI and ingest pipelines."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from syncnet_programs.program import one_line

__all__ = ["DOES_NOT_PASS", "Gate", "gate", "report_failures"]

DOES_NOT_PASS = 3  # exit status


@dataclass(frozen=True)
class Gate:
    """What a clip must have to pass.

    Attributes:
        require_trusted: an offset that is trusted.
        max_offset_ms: no trusted offset beyond this; None for any.
    """

    require_trusted: bool = False
    max_offset_ms: float | None = None

    def failure(self, result: Mapping[str, Any]) -> str | None:
        """Why a clip does not pass; None if it does.

        Args:
            result: ``SyncResult.to_dict()``.
        """
        verdict, offset_ms = result["verdict"], result["offset_ms"]
        if not verdict["trusted"]:
            if not self.require_trusted:
                return None
            return "; ".join(reason["text"] for reason in verdict["reasons"])
        if self.max_offset_ms is None or abs(offset_ms) <= self.max_offset_ms:
            return None
        return f"the offset is {offset_ms:+d} ms, and {self.max_offset_ms:g} ms are allowed"


def gate(
    require_trusted: Annotated[
        bool,
        typer.Option(
            "--require-trusted", help="Exit with status 3 if the offset of a clip is not trusted."
        ),
    ] = False,
    max_offset_ms: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="N", help="Exit with status 3 if a trusted offset is beyond N ms."
        ),
    ] = None,
) -> Gate:
    """What the options say about clips that pass."""
    return Gate(require_trusted, max_offset_ms)


def report_failures(failures: Mapping[str, str]) -> None:
    """List on standard error the clips that do not pass, each with the reason."""
    for clip, why in failures.items():
        print(one_line("syncnet-client", f"{clip} does not pass: {why}"), file=sys.stderr)
