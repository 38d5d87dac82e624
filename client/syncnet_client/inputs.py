"""From what stands on the command line to the list of clips: files, folders, globs, manifests."""

from __future__ import annotations

import csv
import glob
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from syncnet_client.errors import UsageError
from syncnet_client.extras import require

__all__ = ["MANIFEST_SUFFIXES", "MEDIA_SUFFIXES", "expand"]

# What is taken from a folder. A file that is named itself may have any suffix.
MEDIA_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3gp", "avi", "flv", "m2ts", "m4v", "mkv", "mov", "mp4"),
        *("mpeg", "mpg", "mts", "mxf", "ogv", "ts", "webm", "wmv"),
    )
)
MANIFEST_SUFFIXES = (".jsonl", ".csv", ".parquet")
CLIP_COLUMN = "clip"


def expand(arguments: Iterable[str]) -> list[str]:
    """Turn arguments into clips, in the order given, each once.

    An argument is one of

    * a folder: every media file in it and below, sorted by name, hidden ones left out;
    * a manifest (JSON Lines, CSV or Parquet): the values of its column ``clip``, where a relative
      path counts from the manifest's folder;
    * a pattern with ``*``, ``?``, ``[...]`` or ``**``, where no file has that very name;
    * anything else, which stays as it is: a file, a URL, ``-`` for standard input.

    Raises:
        UsageError: a folder or pattern has no clips, or a manifest cannot be read.
    """
    clips: dict[str, None] = {}
    for argument in arguments:
        clips.update(dict.fromkeys(_expand_one(argument)))
    return list(clips)


def _expand_one(argument: str) -> list[str]:
    path = Path(argument)
    if "://" in argument:
        return [argument]
    if path.suffix.lower() in MANIFEST_SUFFIXES:
        return _read_manifest(path)
    if path.is_dir():
        found = sorted(str(file) for file in _media_below(path))
        if not found:
            raise UsageError(f"no media files in folder {argument}")
        return found
    if glob.has_magic(argument) and not path.exists():
        names = glob.glob(argument, recursive=True)  # noqa: PTH207 (keeps the path as it is typed)
        found = sorted(name for name in names if Path(name).is_file())
        if not found:
            raise UsageError(f"no file matches {argument}")
        return found
    return [argument]


def _media_below(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if not hidden and file.suffix.lower() in MEDIA_SUFFIXES and file.is_file():
            yield file


def _read_manifest(path: Path) -> list[str]:
    try:
        rows = list(_rows(path))
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file") from error
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"manifest {path} cannot be read: {error}") from error
    clips = [row.get(CLIP_COLUMN) if isinstance(row, dict) else None for row in rows]
    if not clips:
        raise UsageError(f"manifest {path} is empty")
    return [_located(clip, path, number) for number, clip in enumerate(clips, 1)]


def _located(clip: object, manifest: Path, number: int) -> str:
    if not isinstance(clip, str) or not clip:
        raise UsageError(f'manifest {manifest}, row {number}: no "{CLIP_COLUMN}" with a path')
    return clip if "://" in clip else str(manifest.parent / clip)


def _rows(path: Path) -> Iterator[Any]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        parquet = require("pyarrow.parquet", extra="parquet")
        yield from parquet.read_table(path, columns=[CLIP_COLUMN]).to_pylist()
        return
    text = path.read_text(encoding="utf-8")
    if suffix == ".csv":
        yield from csv.DictReader(io.StringIO(text, newline=""))
    else:
        yield from (json.loads(line) for line in text.splitlines() if line.strip())
