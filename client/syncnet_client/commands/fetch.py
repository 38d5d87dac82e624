"""``syncnet-client fetch``: download what is not part of the package."""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["fetch"]


class FileName(str, enum.Enum):
    """What can be downloaded."""

    YUNET = "yunet"


def _yunet() -> Path:
    from syncnet_client.faces import fetch_yunet  # OpenCV takes its time to load

    return fetch_yunet()


FETCH: dict[FileName, Callable[[], Path]] = {FileName.YUNET: _yunet}


def fetch(
    what: Annotated[FileName, typer.Argument(help="yunet: a face detector (233 kB, MIT licence).")],
) -> None:
    """Download the face detector YuNet, which is used from then on; print where it is."""
    print(FETCH[what]())
