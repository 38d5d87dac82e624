"""Names of files for FFmpeg, and files that appear complete or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from syncnet_client.errors import UsageError

__all__ = ["check_target", "located", "replacing"]


def located(source: str | Path) -> str:
    """A path or URL as FFmpeg takes it: a path such as ``take:2.mp4`` must not look like a URL."""
    return str(source) if "://" in str(source) else f"file:{source}"


def check_target(target: Path, inputs: Iterable[str | Path], *, overwrite: bool) -> None:
    """Make sure before any work that writing ``target`` loses nothing.

    Args:
        target: the file to write.
        inputs: what the work reads; none of it is ever written over.
        overwrite: whether another file may be replaced.

    Raises:
        UsageError: there is no such folder, or it is one of the inputs, or exists and is to be
            kept.
    """
    if not target.parent.is_dir():
        raise UsageError(f"cannot write {target}: there is no folder {target.parent}")
    if not target.exists():
        return
    for path in map(Path, inputs):
        if path.exists() and path.samefile(target):
            raise UsageError(f"{target} is what is read: choose another name")
    if not overwrite:
        raise UsageError(f"{target} exists already; pass --overwrite to replace it")


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
