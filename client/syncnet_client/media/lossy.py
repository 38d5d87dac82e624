"""A clip as a script sees it that keeps what it reads in files: converted, and as JPEG."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from syncnet_client.contract import FRAMES_PER_SECOND
from syncnet_client.media.conversion import (
    Conversion,
    FFmpegClock,
    convert,
    origin_of,
    repeat_and_drop,
)
from syncnet_client.media.paired import AudioClock, PairedMedia, open_apart
from syncnet_client.media.pictures import ArrayPicture
from syncnet_client.media.recoding import Coding, JpegRecoder
from syncnet_client.media.sources import SourceSettings, open_one

__all__ = ["Losses", "open_lossy"]


@dataclass(frozen=True, kw_only=True)
class Losses:
    """The files that a script keeps its pictures in, one after the other.

    Attributes:
        conversion: of the whole clip to 25 frames a second; None where it is read as it is.
        frames: of each frame.
        crops: the video of a face, where faces are cut out.
        crop_frames: of each frame of that.
    """

    conversion: Conversion | None = None
    frames: Coding
    crops: Coding | None = None
    crop_frames: Coding | None = None


def open_lossy(
    source: str | Path,
    losses: Losses,
    *,
    audio: str | Path | None = None,
    allow_playlists: bool = False,
) -> PairedMedia:
    """Open a clip for reading as a script sees it.

    The clip is converted now, into a temporary file that is gone once the result is closed.

    Args:
        source: path or URL of the clip.
        losses: what the script does to it.
        audio: path or URL of a sound in place of the clip's own, which begins with the first
            frame and is not converted; None for the clip's own.
        allow_playlists: a file may be a list of other files.

    Raises:
        MediaError: a file is missing, not media, or cannot be read or converted.
        NoVideoError, NoAudioError: one lacks its stream.
        UsageError: the picture comes out of a pipe.
    """
    picture, sound = open_apart(source, audio, SourceSettings(allow_playlists=allow_playlists))
    clock: AudioClock = "file" if audio is None else "start"
    rate = picture.stream.guessed_rate or Fraction(FRAMES_PER_SECOND)
    warnings: list[str] = []
    with ExitStack() as below:
        below.callback(sound.close)
        below.callback(picture.close)
        if losses.conversion is not None:
            folder = below.enter_context(tempfile.TemporaryDirectory(prefix="syncnet-"))
            path = Path(folder) / f"video{losses.conversion.suffix}"
            own = sound if audio is None else None
            warnings = convert(str(source), picture, own, path, losses.conversion)
            picture = open_one(str(path), "video", SourceSettings())
            below.callback(picture.close)
            if audio is None:
                sound = open_one(str(path), "audio", SourceSettings())
                below.callback(sound.close)
            # Sample 0 belongs to frame 0 of what was converted, whatever the time stamps say.
            clock, rate = "start", Fraction(FRAMES_PER_SECOND)
        kept = below.pop_all()
    develop = JpegRecoder(losses.frames)
    return PairedMedia(
        str(source),
        picture,
        sound,
        audio_clock=clock,
        sampler=FFmpegClock(rate, origin_of(picture), repeat_and_drop),
        develop=lambda frame: ArrayPicture(develop(frame)),
        warnings=warnings,
        below=kept,
    )
