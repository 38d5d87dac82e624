"""Download a file, in pieces if need be, and check that it is the right one."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from syncnet_client.errors import DownloadError

__all__ = ["RemoteFile", "download", "file_sha256"]

_BLOCK = 1 << 18


@dataclass(frozen=True)
class RemoteFile:
    """A file to download.

    Attributes:
        url: where it is.
        size: in bytes.
        sha256: in hexadecimal.
        option: of the command line that takes a copy of it.
    """

    url: str
    size: int
    sha256: str
    option: str

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.rpartition("/")[2]


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def download(
    target: Path,
    remote: RemoteFile,
    *,
    timeout_s: float = 30.0,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Download a file, unless it is there already.

    What arrived of an interrupted download stays beside the target as ``<name>.part``, and the next
    call asks the server for the rest only.

    Args:
        target: the file to write.
        remote: what to download.
        timeout_s: without a byte from the server.
        progress: called with the number of bytes that are there.

    Raises:
        DownloadError: the server cannot be reached or refuses, the connection broke, or the
            contents are not the ones expected.
    """
    if target.is_file():
        if file_sha256(target) == remote.sha256:
            return
        raise DownloadError(f"{target} exists and is another file; move it away or name another")
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _receive(part, remote, timeout_s, progress)
    except urllib.error.HTTPError as error:
        raise DownloadError(
            f"{remote.url}: the server answers {error.code} {error.reason}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(
            f"cannot download {remote.url}: {reason}; run this again to go on where it stopped, or "
            f"download the file on another machine and pass it with {remote.option}"
        ) from error
    size = part.stat().st_size
    if size < remote.size:
        raise DownloadError(
            f"{remote.url}: the connection ended after {size} of {remote.size} bytes; "
            "run this again to get the rest"
        )
    if file_sha256(part) != remote.sha256:
        part.unlink()
        raise DownloadError(
            f"{remote.url} is not the expected file (sha256 differs); what was downloaded is gone"
        )
    part.rename(target)


def _receive(
    part: Path,
    remote: RemoteFile,
    timeout_s: float,
    progress: Callable[[int], object] | None,
) -> None:
    """Append what is missing to ``part``; start over where the server sends the whole file."""
    have = part.stat().st_size if part.exists() else 0
    if have >= remote.size:
        return
    request = urllib.request.Request(remote.url)
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=timeout_s) as response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        have = have if resumed else 0
        with part.open("ab" if resumed else "wb") as file:
            while have < remote.size and (block := response.read(min(_BLOCK, remote.size - have))):
                file.write(block)
                have += len(block)
                if progress is not None:
                    progress(have)
