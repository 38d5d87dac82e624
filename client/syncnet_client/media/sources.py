"""Open a source: a file, a growing file, a pipe, a URL.

Every failure to do so is a ``MediaError`` whose message is one sentence that names the source.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import av
from av.stream import Disposition

from syncnet_client.defaults import DEFAULT_SOURCE_TIMEOUT_S
from syncnet_client.errors import MediaError, NoAudioError, NoVideoError
from syncnet_client.files import located
from syncnet_client.media.limits import (
    ANY_METADATA,
    check_picture,
    check_playlist,
    decoder_options,
    demuxer_options,
    is_playlist,
)
from syncnet_client.media.stored import is_stored, open_stored
from syncnet_client.media.types import StreamInfo

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

__all__ = [
    "Opened",
    "OpenedOne",
    "SourceSettings",
    "StreamingFile",
    "missing",
    "open_one",
    "open_source",
]

STANDARD_INPUT = "-"
_NO_FILE = "{}: no such file"
POLL_SECONDS = 0.1
# How much of a live source FFmpeg looks at to learn what it holds; its own 5 s is long to wait.
# RTSP over UDP loses packets on busy networks.
LIVE_OPTIONS = {"analyzeduration": "2000000", "rtsp_flags": "prefer_tcp"}  # microseconds
# Demuxers that take plain text for pictures.
TEXT_FORMATS = {"tty", "bin", "adf", "idf", "xbin", "bfi"}


@dataclass(frozen=True)
class Opened:
    """An open container and the two streams to read from it."""

    container: InputContainer
    video: VideoStream
    audio: AudioStream
    info: StreamInfo
    file: StreamingFile | None
    below: ExitStack  # what the container reads from, where that is not FFmpeg's affair

    def close(self) -> None:
        """Close the container, and the file that it reads from."""
        self.container.close()
        self.below.close()


@dataclass(frozen=True)
class OpenedOne:
    """An open container and the one stream to read from it."""

    container: InputContainer
    stream: Any  # of PyAV: VideoStream or AudioStream
    below: ExitStack

    def close(self) -> None:
        """Close the container, and the file that it reads from."""
        self.container.close()
        self.below.close()


class StreamingFile:
    """A pipe, or a file that is still being written, as a file object that never blocks for good.

    Reading waits for data in short steps, so that it can be given up: when ``stopped()`` says so,
    and after ``timeout_s`` seconds without data. Both read as the end of the file. It cannot seek,
    so FFmpeg takes it for a stream.

    Args:
        source: path of a file or FIFO, or "-" for standard input.
        follow: wait at the end of a regular file for more to be written.
        timeout_s: seconds without new data after which the source counts as ended.
    """

    def __init__(self, source: str, *, follow: bool, timeout_s: float) -> None:
        self.stopped: Callable[[], bool] = lambda: False
        self.timed_out = False
        self._timeout_s = timeout_s
        self._owned = source != STANDARD_INPUT
        # Without O_NONBLOCK, opening a FIFO would wait for its writer for ever.
        self._descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK) if self._owned else 0
        self._pipe = not stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        self._begun = not self._owned  # a FIFO reads as ended until its writer comes
        self._follow = follow or (self._pipe and self._owned)

    def read(self, size: int) -> bytes:
        """Read up to ``size`` bytes; empty at the end."""
        deadline = time.monotonic() + self._timeout_s
        while not (self.stopped() or self.timed_out):
            if time.monotonic() > deadline:
                self.timed_out = True
                break
            if self._pipe and not select.select([self._descriptor], [], [], POLL_SECONDS)[0]:
                continue
            try:
                data = os.read(self._descriptor, size)
            except BlockingIOError:
                continue
            if data:
                self._begun = True
                return data
            if not self._follow or (self._pipe and self._begun):
                break
            time.sleep(POLL_SECONDS)
        return b""

    def close(self) -> None:
        """Close the descriptor, unless it is standard input; may be called twice."""
        if self._owned:
            os.close(self._descriptor)
            self._owned = False


@dataclass(frozen=True)
class SourceSettings:
    """How a source is opened.

    Attributes:
        follow: go on at the end of a file that is still being written.
        timeout_s: how long to wait for a URL, a pipe or a followed file.
        allow_playlists: a file may be a list of other files.
    """

    follow: bool = False
    timeout_s: float = DEFAULT_SOURCE_TIMEOUT_S
    allow_playlists: bool = False


def open_source(source: str, settings: SourceSettings) -> Opened:
    """Open a source and find its picture and its sound.

    Args:
        source: path, URL, or "-" for standard input.
        settings: how to open it.

    Raises:
        MediaError: it is missing, not readable, or no media.
        NoVideoError, NoAudioError: it lacks one of the streams.
    """
    container, streaming, below = _open_container(source, settings)
    try:
        video, audio = _choose_streams(source, container)
        # A URL with a known end is a file that happens to be elsewhere.
        live = streaming is not None or ("://" in source and container.duration is None)
        info = _describe(source, container, video, audio, live=live)
        opened = Opened(container, video, audio, info, streaming, below)
    except MediaError:
        container.close()
        below.close()
        raise
    return opened


def open_one(source: str, kind: Literal["video", "audio"], settings: SourceSettings) -> OpenedOne:
    """Open a source for its picture or its sound alone.

    Args:
        source: path or URL; nothing that can be read only once.
        kind: which of the two.
        settings: how to open it.

    Raises:
        MediaError: it is missing, not readable, or no media.
        NoVideoError, NoAudioError: it lacks the stream.
    """
    container, _, below = _open_container(source, settings)
    try:
        return OpenedOne(container, _choose(source, container, kind), below)
    except MediaError:
        container.close()
        below.close()
        raise


def _open_container(
    source: str, settings: SourceSettings
) -> tuple[InputContainer, StreamingFile | None, ExitStack]:
    url = "://" in source
    streaming = None
    below = ExitStack()
    options = demuxer_options(source, allow_playlists=settings.allow_playlists)
    if settings.allow_playlists and not url:
        check_playlist(source)
    always: dict[str, Any] = {"mode": "r", **ANY_METADATA}
    try:
        if is_stored(source):
            file = below.enter_context(open_stored(source))
            container = av.open(file, options=options, **always)
        elif url:
            options |= LIVE_OPTIONS
            container = av.open(source, options=options, timeout=settings.timeout_s, **always)
        elif settings.follow or _is_pipe(source):
            streaming = StreamingFile(source, follow=settings.follow, timeout_s=settings.timeout_s)
            below.callback(streaming.close)
            container = av.open(streaming, options=options | LIVE_OPTIONS, **always)
        else:
            container = av.open(located(source), options=options, **always)
    except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
        below.close()
        raise MediaError(_reason(source, error)) from error
    return container, streaming, below


def missing(source: str) -> MediaError | None:
    """What opening a file will raise that is not there; None for what may be opened."""
    if "://" in source or source == STANDARD_INPUT or Path(source).exists():
        return None
    return MediaError(_NO_FILE.format(source))


def _is_pipe(source: str) -> bool:
    return source == STANDARD_INPUT or Path(source).is_fifo()


def _reason(source: str, error: Exception) -> str:
    code = getattr(error, "errno", None)
    if "://" not in source and source != STANDARD_INPUT:
        if code == errno.ENOENT:
            return _NO_FILE.format(source)
        if Path(source).is_dir():
            return f"{source} is a folder, not a media file"
        if Path(source).is_file() and Path(source).stat().st_size == 0:
            return f"{source} is empty"
        if is_playlist(Path(source)):
            return f"{source} is a playlist, which opens other files; pass --allow-playlists"
    if isinstance(error, MemoryError):
        return f"{source} needs more memory than there is"
    if isinstance(error, av.InvalidDataError | av.EOFError):
        return f"{source} is not a media file, or its header is missing or damaged"
    return f"{source} cannot be opened: {getattr(error, 'strerror', None) or error}"


def _choose_streams(source: str, container: InputContainer) -> tuple[VideoStream, AudioStream]:
    return _choose(source, container, "video"), _choose(source, container, "audio")


def _choose(source: str, container: InputContainer, kind: Literal["video", "audio"]) -> Any:
    # A cover picture is stored as a video stream of one frame.
    streams: dict[str, list[Any]] = {
        "video": [
            stream
            for stream in container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ],
        "audio": list(container.streams.audio),
    }
    if container.format.name in TEXT_FORMATS or not any(streams.values()):
        raise MediaError(f"{source} is not a media file: it holds neither picture nor sound")
    if not streams[kind]:
        missing = {"video": NoVideoError, "audio": NoAudioError}[kind]
        raise missing(f"{source} has no {kind} stream")
    best = container.streams.best(kind)
    chosen: Any = next((stream for stream in streams[kind] if stream is best), streams[kind][0])
    # Streams of an unknown codec have no codec context.
    if getattr(chosen, "codec_context", None) is None:
        raise MediaError(f"{source}: FFmpeg has no decoder for its {kind} stream")
    if kind == "video":
        codec = chosen.codec_context
        check_picture(source, codec.width, codec.height, chosen.sample_aspect_ratio)
        codec.options = decoder_options()
    return chosen


def _describe(
    source: str, container: InputContainer, video: VideoStream, audio: AudioStream, *, live: bool
) -> StreamInfo:
    duration = container.duration
    return StreamInfo(
        source=source,
        container=container.format.name,
        video_codec=video.codec_context.name,
        audio_codec=audio.codec_context.name,
        width=video.codec_context.width,
        height=video.codec_context.height,
        source_fps=video.average_rate,
        sample_rate=audio.codec_context.sample_rate,
        channels=audio.codec_context.layout.nb_channels,
        video_start=_seconds(video.start_time, video.time_base),
        audio_start=_seconds(audio.start_time, audio.time_base),
        duration=_seconds(duration, Fraction(1, av.time_base)),
        live=live,
    )


def _seconds(value: int | None, time_base: Fraction | None) -> Fraction | None:
    return None if value is None or time_base is None else value * time_base
