"""Uploads: multipart bodies that stream to disk, within limits."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import multipart
from fastapi import Request
from starlette.requests import ClientDisconnect

from syncnet_gateway.problems import ProblemError
from syncnet_gateway.settings import Limits

__all__ = ["Upload", "drain", "receive", "safe_name"]

_BUFFER_BYTES = 1 << 20
_LONGEST_NAME_BYTES = 180  # file systems take 255; a copy gets a longer name
_MOST_PARTS = 4  # more than there are names, so that a wrong one is named in the answer
_OVERHEAD_BYTES = 64 << 10  # boundaries and headers of the parts
# FFmpeg takes % in the name of a picture for a number; the others mean something to people's tools.
_UNSAFE = frozenset('%:*?"<>|[]{}')
# Part of a body that is refused is read anyway: a browser shows an answer only if its
# request was not cut off while it was still sending.
_DRAINED_BYTES = 8 << 20
_DRAINED_FOR_S = 2.0


@dataclass(frozen=True)
class Upload:
    """A file that was received.

    Attributes:
        name: as its sender calls it, made safe; also that of the file.
        path: where it lies.
    """

    name: str
    path: Path


async def receive(
    request: Request, folder: Path, limits: Limits, parts: Collection[str]
) -> dict[str, Upload]:
    """Store the files of a multipart body in a folder.

    Args:
        request: whose body is still unread.
        folder: where to put each file, under its own name.
        limits: the size and the time that the body may take.
        parts: names that parts may have; the first must be there.

    Raises:
        ProblemError: the body is too large, too slow, or not what was expected.
    """
    try:
        async with asyncio.timeout(limits.upload_timeout_s):
            return await _receive(request, folder, limits, parts)
    except TimeoutError as error:
        raise ProblemError(
            "upload-too-slow",
            f"the upload was not complete after {limits.upload_timeout_s:g} seconds",
            {"Connection": "close"},
        ) from error
    except multipart.MultipartError as error:
        raise ProblemError("bad-upload", f"the body is not whole: {error}") from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ProblemError("disk-full", "the gateway's disk is full; try again later") from error


async def drain(request: Request) -> None:
    """Read a little of a body that is refused, so that its sender gets to see the answer."""
    left = _DRAINED_BYTES
    try:
        async with asyncio.timeout(_DRAINED_FOR_S):
            async for block in request.stream():
                left -= len(block)
                if left < 0:
                    return
    except (TimeoutError, ClientDisconnect, RuntimeError):  # slow; gone; read to its end before
        return


def safe_name(given: str | None, otherwise: str) -> str:
    """A file name that says what ``given`` says and leads nowhere.

    Args:
        given: the name in the upload: any text.
        otherwise: the name, if nothing of it is left.
    """
    last = PurePosixPath((given or "").replace("\\", "/")).name
    kept = "".join("_" if each in _UNSAFE or not each.isprintable() else each for each in last)
    kept = kept.lstrip(".-~ ").rstrip(". ")
    stem, dot, suffix = kept.rpartition(".")
    while len(os.fsencode(kept)) > _LONGEST_NAME_BYTES:
        stem, suffix = (stem[:-1], suffix[:16]) if stem else ("", suffix[:-1])
        kept = f"{stem}{dot}{suffix}"
    return kept or otherwise


async def _receive(
    request: Request, folder: Path, limits: Limits, parts: Collection[str]
) -> dict[str, Upload]:
    kind, options = multipart.parse_options_header(request.headers.get("content-type", ""))
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise ProblemError(
            "not-multipart", "send the clip as multipart/form-data, as in curl -F clip=@clip.mp4"
        )
    if int(request.headers.get("content-length", 0)) > limits.max_bytes + _OVERHEAD_BYTES:
        raise _too_large(limits)
    parser = multipart.PushMultipartParser(options["boundary"], max_segment_count=_MOST_PARTS)
    received: dict[str, Upload] = {}
    writer: _Writer | None = None
    total = 0
    try:
        async for event in _events(request, parser):
            if isinstance(event, multipart.MultipartSegment):
                upload = _begin(event, folder, parts, received)
                received[event.name] = upload
                writer = _Writer(upload.path)
            elif writer is None:
                continue
            elif event is None:
                await writer.close()
                writer = None
            else:
                total += len(event)
                if total > limits.max_bytes:
                    raise _too_large(limits)
                await writer.write(event)
    finally:
        if writer is not None:
            await writer.close()
    needed = next(iter(parts))
    if needed not in received:
        raise ProblemError("bad-upload", f"the body has no part named {needed}")
    return received


async def _events(
    request: Request, parser: multipart.PushMultipartParser
) -> AsyncIterator[multipart.MultipartSegment | bytes | None]:
    with parser:
        async for block in request.stream():
            if block:
                for event in parser.parse(block):
                    yield event


def _begin(
    segment: multipart.MultipartSegment,
    folder: Path,
    parts: Collection[str],
    received: Collection[str],
) -> Upload:
    if segment.name not in parts:
        names = " and ".join(parts)
        raise ProblemError(
            "bad-upload",
            f"the body has a part named {segment.name!r}; the parts are {names}, and options go "
            "into the query, as in ?vshift=15",
        )
    if segment.name in received:
        raise ProblemError("bad-upload", f"the body has two parts named {segment.name}")
    name = safe_name(segment.filename, segment.name)
    if (folder / name).exists():
        name = f"{segment.name}-{name}"
    return Upload(name, folder / name)


def _too_large(limits: Limits) -> ProblemError:
    return ProblemError(
        "too-large",
        f"the upload is larger than the {limits.max_bytes / 1e6:g} MB that this gateway takes",
        {"Connection": "close"},
    )


class _Writer:
    """A new file, written in large blocks by a thread, so that a slow disk delays no other job."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("xb", buffering=0)
        self._buffer = bytearray()

    async def write(self, block: bytes) -> None:
        self._buffer += block
        if len(self._buffer) >= _BUFFER_BYTES:
            await self._flush()

    async def close(self) -> None:
        try:
            await self._flush()
        finally:
            self._file.close()

    async def _flush(self) -> None:
        block, self._buffer = memoryview(self._buffer), bytearray()
        while block:
            written = await asyncio.to_thread(self._file.write, block)
            block = block[written:]
