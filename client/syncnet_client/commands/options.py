"""The options that say how to score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from syncnet_client.commands.crop import CropOption, YunetOption, parse_crop
from syncnet_client.contract import DEFAULT_CHUNK, DEFAULT_VSHIFT, MAX_VSHIFT
from syncnet_client.defaults import DEFAULT_MIN_CONFIDENCE, DEFAULT_WINDOW_S

if TYPE_CHECKING:
    from syncnet_client.faces import CropMode

__all__ = ["MinConfidenceOption", "ScoreArguments", "VshiftOption", "score_arguments"]

VshiftOption = Annotated[
    int,
    typer.Option(min=0, max=MAX_VSHIFT, metavar="N", help="Frames (40 ms) searched to each side."),
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


def score_arguments(
    vshift: VshiftOption = DEFAULT_VSHIFT,
    chunk: Annotated[
        int, typer.Option(min=1, metavar="N", help="Windows in one request; only affects speed.")
    ] = DEFAULT_CHUNK,
    crop: CropOption = "auto",
    yunet: YunetOption = None,
    window: Annotated[
        float, typer.Option(metavar="SECONDS", help="Look for drift over windows of this length.")
    ] = DEFAULT_WINDOW_S,
    min_confidence: MinConfidenceOption = DEFAULT_MIN_CONFIDENCE,
) -> ScoreArguments:
    """What the options of a command say about scoring.

    Raises:
        UsageError: ``crop`` is none of its forms.
    """
    return ScoreArguments(
        vshift=vshift,
        chunk=chunk,
        crop=parse_crop(crop),
        yunet=yunet,
        window_s=window,
        min_confidence=min_confidence,
    )
