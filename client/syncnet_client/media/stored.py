"""Files that FFmpeg cannot reach itself: on S3, in archives, wherever fsspec can read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO

from syncnet_client.errors import MediaError
from syncnet_client.extras import require

__all__ = ["is_stored", "open_stored"]

# URLs of these schemes are FFmpeg's. It knows a few more, which no clip is named by.
FFMPEG_SCHEMES = {
    *("file", "ftp", "http", "https", "mms", "rist", "rtmp", "rtmps", "rtp", "rtsp", "rtsps"),
    *("sftp", "srt", "srtp", "tcp", "tls", "udp", "unix"),
}


def is_stored(source: str) -> bool:
    """Whether ``source`` is a URL for fsspec, such as ``s3://bucket/clip.mp4``."""
    scheme, separator, _ = source.partition("://")
    return bool(separator) and scheme.lower() not in FFMPEG_SCHEMES


@contextmanager
def open_stored(source: str) -> Iterator[IO[bytes]]:
    """Open a URL for reading and seeking; only what is read is transferred.

    Raises:
        MediaError: it cannot be opened.
        SyncNetError: fsspec is not installed.
    """
    fsspec = require("fsspec", extra="ray")
    with ExitStack() as stack:
        try:
            file: IO[bytes] = stack.enter_context(fsspec.open(source, "rb"))
        except FileNotFoundError as error:
            raise MediaError(f"{source}: no such file") from error
        except Exception as error:  # every file system of fsspec has errors of its own
            raise MediaError(f"{source} cannot be opened: {error}") from error
        yield file
