"""Names of files for FFmpeg, and files that appear complete or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

__all__ = ["located", "replacing"]


def located(source: str | Path) -> str:
    """A path or URL as FFmpeg takes it: a path such as ``take:2.mp4`` must not look like a URL."""
    return str(source) if "://" in str(source) else f"file:{source}"


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a temporary path beside ``target`` that takes its place if the block succeeds.

    Whatever happens, ``target`` is its old self or complete, and no temporary file stays behind.
    """
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
