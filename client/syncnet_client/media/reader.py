"""Read a source in a thread of its own, a few blocks ahead."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from fractions import Fraction
from pathlib import Path

import av

from syncnet_client.contract import FRAMES_PER_SECOND
from syncnet_client.defaults import DEFAULT_SOURCE_TIMEOUT_S
from syncnet_client.errors import MediaError, UsageError
from syncnet_client.media.decoding import Decoder
from syncnet_client.media.sources import Opened, SourceSettings, open_source
from syncnet_client.media.types import Media, MediaBlock, MediaSummary, StreamInfo
from syncnet_client.waiting import get

__all__ = ["MediaReader", "open_media"]

# Blocks are small, and one alone waits, because frames are large: of 1080p, 3 MB each, one a block.
BLOCK_FRAMES = 5
BLOCK_PIXELS = 2_500_000
QUEUED_BLOCKS = 1
PUT_SECONDS = 0.1


def open_media(
    source: str | Path,
    *,
    realtime: bool = False,
    follow: bool = False,
    timeout_s: float = DEFAULT_SOURCE_TIMEOUT_S,
    block_frames: int | None = None,
    allow_playlists: bool = False,
    longest_s: float | None = None,
) -> MediaReader:
    """Open a clip or a live source for reading at 25 fps and 16 kHz.

    Args:
        source: path of a file or named pipe, "-" for standard input, or a URL that FFmpeg reads
            (http, https with HLS, rtsp, rtmp, srt, udp, ...).
        realtime: hand blocks out no faster than they play, as if the file were live.
        follow: do not end at the end of a file that is still being written (MPEG-TS, Matroska,
            fragmented MP4), but wait for more.
        timeout_s: seconds without data after which a URL, pipe or followed file counts as ended.
        block_frames: frames in a block; by default 5, and fewer of large pictures.
        allow_playlists: a file may be a playlist, which opens the files in it.
        longest_s: stop after so much of a source that names no end of its own.

    Returns:
        An iterator of ``MediaBlock`` and a context manager. Decoding begins with the first block
        that is asked for.

    Raises:
        MediaError: the source is missing, not media, or cannot be read.
        NoVideoError, NoAudioError: it lacks one of the streams.
        UsageError: a number is not positive.
    """
    if (block_frames is not None and block_frames < 1) or timeout_s <= 0:
        raise UsageError("block_frames and timeout_s must be positive")
    settings = SourceSettings(follow, timeout_s, allow_playlists)
    opened = open_source(str(source), settings)
    if block_frames is None:
        pixels = max(1, opened.info.width * opened.info.height)
        block_frames = max(1, min(BLOCK_FRAMES, BLOCK_PIXELS // pixels))
    return MediaReader(opened, block_frames=block_frames, realtime=realtime, longest_s=longest_s)


class MediaReader(Media):
    """Blocks of one source; made by ``open_media``."""

    def __init__(
        self, opened: Opened, *, block_frames: int, realtime: bool, longest_s: float | None
    ) -> None:
        self._opened = opened
        self._realtime = realtime
        self._stop = threading.Event()
        self._decoder = Decoder(opened, block_frames, self._stop.is_set, longest_s=longest_s)
        if opened.file is not None:
            opened.file.stopped = self._stop.is_set
        self._queue: queue.Queue[MediaBlock | MediaSummary | Exception] = queue.Queue(QUEUED_BLOCKS)
        self._thread: threading.Thread | None = None
        self._ended = False

    @property
    def info(self) -> StreamInfo:
        """What the source says about itself."""
        return self._opened.info

    def __next__(self) -> MediaBlock:
        """Return the next block; errors of the decoding thread are raised here."""
        if self._ended:
            raise StopIteration
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="media", daemon=True)
            self._thread.start()
        item = get(self._queue)
        if isinstance(item, MediaBlock):
            return item
        self.close()
        if isinstance(item, Exception):
            raise item
        self._summary = item
        raise StopIteration

    def close(self) -> None:
        """Stop the thread and close the source; may be called at any time, and twice.

        A thread that waits for a URL is only stopped by the source's next data or its timeout.
        """
        self._ended = True
        self._stop.set()
        if self._thread is not None:
            with contextlib.suppress(queue.Empty):  # room for what the thread is about to hand on
                while True:
                    self._queue.get_nowait()
            self._thread.join()
            self._thread = None
        self._opened.close()

    def _run(self) -> None:
        began = time.monotonic()
        played = 0
        try:
            for block in self._decoder.blocks():
                played += len(block.frames)
                if self._realtime:
                    due = began + float(Fraction(played, FRAMES_PER_SECOND))
                    self._stop.wait(due - time.monotonic())
                if not self._put(block):
                    return
            if not self._stop.is_set():
                self._put(self._decoder.summary())
        except (av.FFmpegError, ArithmeticError, MemoryError, ValueError) as error:
            source = self._opened.info.source
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            broken = MediaError(f"{source} cannot be decoded: {reason}")
            broken.__cause__ = error
            self._put(broken)
        except Exception as error:  # raised again where the blocks are asked for
            self._put(error)

    def _put(self, item: MediaBlock | MediaSummary | Exception) -> bool:
        """Hand an item on; False if the reader was closed."""
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=PUT_SECONDS)
                return True
        return False
