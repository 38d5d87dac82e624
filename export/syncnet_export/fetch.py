"""Download the official weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from syncnet_client import errors as client_errors
from syncnet_client.download import RemoteFile, download
from syncnet_export.errors import DownloadError

__all__ = ["OFFICIAL", "fetch"]

# The weights that the authors of the network publish.
OFFICIAL = RemoteFile(
    url="https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model",
    size=54_573_114,
    sha256="961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",
    option="--weights",
)


def fetch(
    target: Path,
    remote: RemoteFile = OFFICIAL,
    *,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Download the weights, unless they are there already; see ``syncnet_client.download``.

    Args:
        target: the file to write.
        remote: what to download.
        progress: called with the number of bytes that are there.

    Raises:
        DownloadError: the server cannot be reached or refuses, the connection broke, or the
            contents are not the ones expected.
    """
    try:
        download(target, remote, progress=progress)
    except client_errors.DownloadError as error:
        raise DownloadError(str(error)) from error
