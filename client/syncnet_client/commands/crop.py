"""The options that say which part of the picture is the face."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from syncnet_client.errors import UsageError

if TYPE_CHECKING:
    from syncnet_client.faces import CropMode

__all__ = ["CropOption", "YunetOption", "parse_crop"]

CropOption = Annotated[
    str,
    typer.Option(
        metavar="auto|none|X,Y,W,H",
        help="Find the face; take the whole picture; or take this part of it.",
    ),
]
YunetOption = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="Find faces with YuNet, whose ONNX file this is. [default: OpenCV's Haar cascade]",
    ),
]


def parse_crop(text: str) -> CropMode:
    """Understand the value of ``--crop``.

    Raises:
        UsageError: it is none of the three forms.
    """
    if text == "auto":
        return "auto"
    if text == "none":
        return "none"
    if not re.fullmatch(r"\d+,\d+,\d+,\d+", text):
        raise UsageError(f"--crop is auto, none or X,Y,W,H in pixels, not {text!r}")
    x, y, width, height = (int(number) for number in text.split(","))
    return x, y, width, height
