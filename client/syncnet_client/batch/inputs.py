"""From what stands on the command line to the list of clips: files, folders, globs, manifests."""

from __future__ import annotations

import csv
import glob
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from syncnet_client.errors import MediaError, UsageError
from syncnet_client.extras import require
from syncnet_client.media.stored import is_stored, open_stored

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
    * a URL for fsspec, such as ``s3://bucket/...``, that ends in ``/`` or is a pattern or a
      manifest: the same as of files;
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
    if path.suffix.lower() in MANIFEST_SUFFIXES:
        return _read_manifest(argument)
    if is_stored(argument):
        return _expand_stored(argument)
    if "://" in argument:
        return [argument]
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


def _expand_stored(url: str) -> list[str]:
    if not (url.endswith("/") or glob.has_magic(url)):
        return [url]
    fsspec = require("fsspec", extra="ray")
    try:
        system, path = fsspec.core.url_to_fs(url)
        names = system.find(path) if url.endswith("/") else system.glob(path)
    except Exception as error:  # every file system of fsspec has errors of its own
        raise UsageError(f"{url} cannot be listed: {error}") from error
    if url.endswith("/"):
        names = [name for name in names if Path(name).suffix.lower() in MEDIA_SUFFIXES]
    if not names:
        raise UsageError(f"no clips at {url}")
    return sorted(system.unstrip_protocol(name) for name in names)


def _media_below(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if not hidden and file.suffix.lower() in MEDIA_SUFFIXES and file.is_file():
            yield file


def _read_manifest(name: str) -> list[str]:
    try:
        if is_stored(name):
            with open_stored(name) as file:
                rows = list(_rows(file, name))
        else:
            with Path(name).open("rb") as file:
                rows = list(_rows(file, name))
    except FileNotFoundError as error:
        raise UsageError(f"{name}: no such file") from error
    except (MediaError, OSError, ValueError, csv.Error) as error:
        raise UsageError(f"manifest {name} cannot be read: {error}") from error
    clips = [row.get(CLIP_COLUMN) if isinstance(row, dict) else None for row in rows]
    if not clips:
        raise UsageError(f"manifest {name} is empty")
    return [_located(clip, name, number) for number, clip in enumerate(clips, 1)]


def _located(clip: object, manifest: str, number: int) -> str:
    if not isinstance(clip, str) or not clip:
        raise UsageError(f'manifest {manifest}, row {number}: no "{CLIP_COLUMN}" with a path')
    if "://" in clip or clip.startswith("/"):
        return clip
    if "://" in manifest:
        return f"{manifest.rpartition('/')[0]}/{clip}"
    return str(Path(manifest).parent / clip)


def _rows(file: IO[bytes], name: str) -> Iterator[Any]:
    suffix = Path(name).suffix.lower()
    if suffix == ".parquet":
        parquet = require("pyarrow.parquet", extra="parquet")
        yield from parquet.read_table(file, columns=[CLIP_COLUMN]).to_pylist()
    elif suffix == ".csv":
        yield from csv.DictReader(io.StringIO(file.read().decode(), newline=""))
    else:
        yield from (json.loads(line) for line in file if line.strip())
