"""The client: one call from a clip to its result."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from typing_extensions import Unpack

from syncnet_client.closing import Closing
from syncnet_client.defaults import DEFAULT_SOURCE_TIMEOUT_S, DEFAULT_URL, WIDE_VSHIFT
from syncnet_client.errors import MediaError, OutOfMemoryError, UsageError
from syncnet_client.faces import make_cropper
from syncnet_client.media import ArrayMedia, Media, open_media, open_paired, sound_for
from syncnet_client.media.lossy import open_lossy
from syncnet_client.scoring.clip import Progress, score_media
from syncnet_client.scoring.live import Update, watch_media
from syncnet_client.scoring.options import (
    ScoreKeywords,
    ScoreOptions,
    WatchKeywords,
    WatchOptions,
)
from syncnet_client.scoring.protocols import protocol_cropper
from syncnet_client.scoring.result import SyncResult
from syncnet_client.transport.base import Transport
from syncnet_client.transport.grpc import GrpcOptions, GrpcTransport

__all__ = ["Source", "SyncNetClient"]

Arrays = tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]
Source = str | Path | Arrays | Media


class SyncNetClient(Closing):
    """Scores clips on one server. Several threads may score at once; they share one connection.

    The server is looked for when the first clip is scored: if nothing answers then, that is an
    error at once. Later failures that may pass, as when the server restarts, are waited out.

    Example:
        with SyncNetClient("localhost:8001") as client:
            result = client.score("interview.mp4")
            print(result.offset_ms, result.confidence, result.verdict.trusted)

    Args:
        url: HOST:PORT of the server's gRPC endpoint.
        options: how to connect; encryption, headers, time limits.
        transport: another way to a server, in place of both.

    Raises:
        UsageError: the address or a certificate file cannot be used.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        options: GrpcOptions | None = None,
        transport: Transport | None = None,
    ) -> None:
        self._transport = transport or GrpcTransport(url, options)
        self._checked = False
        self._checking = threading.Lock()

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def check_ready(self) -> None:
        """Make sure that the server can score; asked only until it has once said yes.

        Raises:
            ServerUnavailableError: nothing answers.
            ModelNotReadyError: a model is not loaded.
        """
        with self._checking:
            if not self._checked:
                self._transport.check_ready()
                self._checked = True

    def score(
        self,
        source: Source,
        *,
        name: str | None = None,
        progress: Callable[[Progress], None] | None = None,
        **options: Unpack[ScoreKeywords],
    ) -> SyncResult:
        """Measure how far the audio of a clip is ahead of or behind its video.

        Args:
            source: a file or URL; or arrays ``(frames, samples)``: uint8 [T, H, W, 3] RGB at
                25 fps and int16 or floating point [N] at 16 kHz; or a ``Media``, which is closed.
            name: of the clip in the result; by default the path.
            progress: called now and then; what it raises ends the scoring.
            options: the fields of ``ScoreOptions``.

        Returns:
            The result; all faces, the speaker first.

        Raises:
            UsageError: an option has an impossible value.
            MediaError, NoFaceError, ClipTooShortError: the clip cannot be scored.
            OutOfMemoryError: it needs more memory than there is.
            ServerError: the server cannot be reached or cannot score.
        """
        how = ScoreOptions(**options)
        widens = how.search == "auto" and how.vshift < WIDE_VSHIFT
        if widens and (source == "-" or not isinstance(source, (str, Path, tuple))):
            raise UsageError("--search auto reads a clip twice, and this source is read only once")
        result = self._score(source, how, name, progress)
        if widens and result.verdict.may_lie_beyond:
            return self._score(source, replace(how, vshift=WIDE_VSHIFT), name, progress)
        return result

    def _score(
        self,
        source: Source,
        how: ScoreOptions,
        name: str | None,
        progress: Callable[[Progress], None] | None,
    ) -> SyncResult:
        with ExitStack() as stack:
            stack.enter_context(_memory_errors(name or _name_of(source)))
            media = stack.enter_context(_open(source, how))
            rules = how.rules
            if rules is None:
                cropper = make_cropper(how.crop, detector=how.detector, yunet=how.yunet)
            else:
                cropper = protocol_cropper(rules, how.detector, how.yunet, lossy=how.lossy)
            self.check_ready()
            return score_media(
                media,
                cropper,
                self._transport,
                how,
                name=name or media.info.source,
                progress=progress,
            )

    def watch(
        self,
        source: str | Path | Media,
        *,
        realtime: bool = False,
        follow: bool = False,
        source_timeout_s: float = DEFAULT_SOURCE_TIMEOUT_S,
        **options: Unpack[WatchKeywords],
    ) -> Generator[Update]:
        """Measure a live source over and over, until it ends or the iterator is closed.

        Args:
            source: a URL, pipe or file, "-" for standard input; or a ``Media``, which is closed.
            realtime: read a file no faster than it plays.
            follow: go on at the end of a file that is still being written.
            source_timeout_s: seconds without data after which the source counts as ended.
            options: the fields of ``WatchOptions``.

        Returns:
            An iterator over what the last seconds say. While it is read, it raises a
            ``MediaError`` if the source cannot be read or has never shown a face, and a
            ``ServerError`` if the server cannot be reached or cannot score.

        Raises:
            UsageError: an option has an impossible value.
        """
        how = WatchOptions(**options)

        def updates() -> Generator[Update]:
            with ExitStack() as stack:
                stack.enter_context(_memory_errors(_name_of(source)))
                media = stack.enter_context(
                    open_media(source, realtime=realtime, follow=follow, timeout_s=source_timeout_s)
                    if isinstance(source, (str, Path))
                    else source
                )
                cropper = make_cropper(how.crop, detector=how.detector, yunet=how.yunet)
                self.check_ready()
                yield from watch_media(media, cropper, self._transport, how)

        return updates()


def _name_of(source: Source) -> str:
    return str(source) if isinstance(source, (str, Path)) else "the clip"


@contextlib.contextmanager
def _memory_errors(name: str) -> Iterator[None]:
    """Turn what Python, PyAV and OpenCV raise when memory runs out into one error."""
    try:
        yield
    except (MemoryError, MediaError, cv2.error) as error:
        if isinstance(error, cv2.error):
            memory = getattr(error, "code", None) == cv2.Error.StsNoMem
        else:
            memory = isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError)
        if not memory:
            raise
        raise OutOfMemoryError(f"{name} needs more memory than there is") from error


def _open(source: Source, how: ScoreOptions) -> Media:
    every_frame = how.rules is not None and how.rules.every_frame
    if isinstance(source, (str, Path)):
        audio = None if how.audio is None else sound_for(source, how.audio)
        if how.rules is not None and how.lossy:
            return open_lossy(
                source, how.rules.losses, audio=audio, allow_playlists=how.allow_playlists
            )
        if audio is None and not every_frame:
            return open_media(
                source, allow_playlists=how.allow_playlists, longest_s=how.max_duration_s
            )
        return open_paired(
            source,
            audio=audio,
            audio_clock=how.audio_clock,
            every_frame=every_frame,
            allow_playlists=how.allow_playlists,
        )
    if how.audio is not None:
        raise UsageError("audio is for clips that are files: arrays bring their own sound")
    if how.lossy:
        raise UsageError("lossy is for clips that are files: FFmpeg converts those alone")
    if isinstance(source, tuple):
        return ArrayMedia(*source)
    return source
