"""The options that say how to score, shared by all subcommands that do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from syncnet_client.contract import MAX_VSHIFT

if TYPE_CHECKING:
    from syncnet_client.faces import CropMode

__all__ = ["ChunkOption", "MinConfidenceOption", "ScoreArguments", "VshiftOption", "WindowOption"]

VshiftOption = Annotated[
    int,
    typer.Option(min=0, max=MAX_VSHIFT, metavar="N", help="Frames (40 ms) searched to each side."),
]
ChunkOption = Annotated[
    int, typer.Option(min=1, metavar="N", help="Windows in one request; only affects speed.")
]
WindowOption = Annotated[
    float, typer.Option(metavar="SECONDS", help="Look for drift over windows of this length.")
]
MinConfidenceOption = Annotated[
    float, typer.Option(metavar="C", help="Do not trust results below this confidence.")
]


class ScoreArguments(TypedDict):
    """The keyword arguments of ``SyncNetClient.score`` that say how to score."""

    vshift: int
    chunk: int
    crop: CropMode
    yunet: Path | None
    window_s: float
    min_confidence: float
