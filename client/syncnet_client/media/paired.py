"""A clip whose picture and sound are read apart: from two files, or on two clocks.

``open_media`` samples the picture on the clock that it shares with the sound. Here the sound comes
from another file, or every frame of the picture is taken for the next one of 25 a second, whatever
its time stamp, as scripts do that extract frames and sound and put them side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import av

from syncnet_client.contract import SAMPLE_RATE, SAMPLES_PER_FRAME
from syncnet_client.errors import MediaError, UsageError
from syncnet_client.media.audio import AudioTimeline, SampleBuffer, Samples
from syncnet_client.media.pictures import Picture
from syncnet_client.media.sampling import FrameSampler, Sampled
from syncnet_client.media.sources import STANDARD_INPUT, OpenedOne, SourceSettings, open_one
from syncnet_client.media.time_jumps import TimeJumpError, refuse_jump
from syncnet_client.media.types import Frame, Media, MediaBlock, MediaSummary, StreamInfo
from syncnet_client.media.video import VideoDecoder

if TYPE_CHECKING:
    from av.packet import Packet

__all__ = ["AudioClock", "PairedMedia", "open_apart", "open_paired", "packets_of", "sound_for"]

T = TypeVar("T")
AudioClock = Literal["start", "file"]

BLOCK_FRAMES = 5


def open_paired(
    source: str | Path,
    *,
    audio: str | Path | None = None,
    audio_clock: AudioClock = "start",
    every_frame: bool = False,
    allow_playlists: bool = False,
) -> PairedMedia:
    """Open the picture of one file and the sound of another, or of the same.

    Args:
        source: path or URL of the picture.
        audio: path or URL of the sound; None for the picture's own.
        audio_clock: ``"start"``: the first sample belongs to the first frame. ``"file"``: both
            files' time stamps are of one clock. A picture's own sound is always on one clock
            with it.
        every_frame: hand on every frame, as one of 25 a second, in place of sampling.
        allow_playlists: a file may be a list of other files.

    Raises:
        MediaError: a file is missing, not media, or cannot be read.
        NoVideoError, NoAudioError: one lacks its stream.
        UsageError: the picture comes out of a pipe.
    """
    picture, sound = open_apart(source, audio, SourceSettings(allow_playlists=allow_playlists))
    return PairedMedia(
        str(source),
        picture,
        sound,
        audio_clock="file" if audio is None else audio_clock,
        sampler=_EveryFrame() if every_frame else FrameSampler(),
    )


def open_apart(
    source: str | Path, audio: str | Path | None, settings: SourceSettings
) -> tuple[OpenedOne, OpenedOne]:
    """Open the picture of a clip, and the sound of another file or of the same.

    Args:
        source: path or URL of the picture.
        audio: path or URL of the sound; None for the picture's own.
        settings: how to open them.

    Raises:
        MediaError: a file is missing, not media, or cannot be read.
        NoVideoError, NoAudioError: one lacks its stream.
        UsageError: the picture comes out of a pipe.
    """
    if str(source) == STANDARD_INPUT or Path(source).is_fifo():
        raise UsageError(f"{source} can only be read once, and picture and sound are read apart")
    with ExitStack() as stack:
        picture = open_one(str(source), "video", settings)
        stack.callback(picture.close)
        if "://" in str(source) and picture.container.duration is None:
            raise MediaError(f"{source} has no end, and picture and sound are read apart")
        heard = str(source if audio is None else audio)
        sound = open_one(heard, "audio", settings)
        stack.pop_all()
    return picture, sound


def packets_of(opened: OpenedOne, kind: str, warnings: list[str]) -> Iterator[Packet[Any]]:
    """Yield the packets of a stream; where it cannot be read on, add a sentence and end.

    Args:
        opened: the stream.
        kind: what it holds, for the sentence.
        warnings: where the sentence goes.
    """
    packets = opened.container.demux(opened.stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError as error:
            warnings.append(f"reading the {kind} broke off: {error.strerror}")
            return
        if packet.size:
            yield packet


def sound_for(clip: str | Path, audio: str | Path) -> str:
    """Return the file whose sound belongs to a clip.

    Args:
        clip: path of the clip.
        audio: a file, which is returned, or a folder, in which one file is named as the clip but
            for the suffix.

    Raises:
        MediaError: there is no such file in the folder, or more than one.
    """
    if not Path(audio).is_dir():
        return str(audio)
    stem = Path(clip).stem
    found = sorted(file for file in Path(audio).iterdir() if file.is_file() and file.stem == stem)
    if len(found) != 1:
        names = f": {', '.join(file.name for file in found)}" if found else ""
        raise MediaError(f"{audio} has {len(found)} files named {stem}.* for {clip}{names}")
    return str(found[0])


class PairedMedia(Media):
    """Blocks of a picture and a sound.

    Args:
        name: of the clip.
        picture: where the picture is read from; closed with this.
        sound: where the sound is; closed with this.
        audio_clock: whether sample 0 belongs to frame 0, or both have time stamps of one clock.
        sampler: which frames are shown, and when.
        develop: makes a picture of a frame; None to show it as it is.
        warnings: what is known already.
        below: closed last.
    """

    def __init__(
        self,
        name: str,
        picture: OpenedOne,
        sound: OpenedOne,
        *,
        audio_clock: AudioClock,
        sampler: FrameSampler[av.VideoFrame],
        develop: Callable[[av.VideoFrame], Picture] | None = None,
        warnings: Sequence[str] = (),
        below: ExitStack | None = None,
    ) -> None:
        self._name = name
        self._picture, self._sound = picture, sound
        self._clock = audio_clock
        self._video = VideoDecoder(picture.stream)
        self._video.sampler = sampler
        if develop is not None:
            self._video.develop = develop
        self._below = below or ExitStack()
        self._audio = AudioTimeline()
        self._warnings = list(warnings)
        self._undecodable_audio = 0
        self._buffer = SampleBuffer()
        self._heard: Iterator[Samples] = self._hear()
        self._blocks = self._cut()

    @property
    def info(self) -> StreamInfo:
        """What the files say about themselves."""
        picture, sound = self._picture.stream, self._sound.stream
        ends = [
            stream.duration * stream.time_base
            for stream in (picture, sound)
            if stream.duration is not None and stream.time_base is not None
        ]
        return StreamInfo(
            source=self._name,
            container=self._picture.container.format.name,
            video_codec=picture.codec_context.name,
            audio_codec=sound.codec_context.name,
            width=picture.codec_context.width,
            height=picture.codec_context.height,
            source_fps=picture.average_rate,
            sample_rate=sound.codec_context.sample_rate,
            channels=sound.codec_context.layout.nb_channels,
            video_start=_start(picture),
            audio_start=_start(sound),
            duration=max(ends, default=None),
            live=False,
        )

    def __next__(self) -> MediaBlock:
        """Return the next block."""
        return next(self._blocks)

    def close(self) -> None:
        """Close both files; may be called at any time, and twice."""
        self._blocks.close()
        self._picture.close()
        self._sound.close()
        self._below.close()

    def _cut(self) -> Generator[MediaBlock, None, None]:
        frames: list[Frame] = []
        frame_count = sample_count = 0
        ticks = self._show()
        first = next(ticks, None)
        self._begin(first)
        for sampled in _chain(first, ticks):
            frames.append(Frame(sampled.tick, sampled.time, self._video.show(sampled.item)))
            if len(frames) == BLOCK_FRAMES:
                samples = self._listen(BLOCK_FRAMES * SAMPLES_PER_FRAME)
                frame_count += len(frames)
                sample_count += len(samples)
                yield MediaBlock(frames, samples)
                frames = []
        while frames or len(self._buffer) or self._more():
            samples = self._listen(BLOCK_FRAMES * SAMPLES_PER_FRAME)
            frame_count += len(frames)
            sample_count += len(samples)
            yield MediaBlock(frames, samples)
            frames = []
        assert self._video.sampler.start is not None
        self._summary = MediaSummary(
            frames=frame_count,
            samples=sample_count,
            start=self._video.sampler.start,
            source_frames=self._video.decoded,
            repeated_frames=self._video.repeated,
            unused_frames=self._video.decoded - self._video.shown,
            undecodable_frames=self._video.undecodable,
            undecodable_audio=self._undecodable_audio,
            audio_gaps=self._audio.gaps,
            audio_gap_seconds=self._audio.gap_samples / SAMPLE_RATE,
            rotation=self._video.rotation,
            warnings=(*self._warnings, *self._remarks()),
        )

    def _begin(self, first: Sampled[av.VideoFrame] | None) -> None:
        """Put the first sample where the first frame is."""
        video_start = self._video.sampler.start
        if first is None or video_start is None:
            raise MediaError(f"nothing of the video stream of {self._name} can be decoded")
        self._more()
        audio_start = self._audio.start
        if audio_start is None:
            raise MediaError(f"nothing of the sound for {self._name} can be decoded")
        if self._clock == "start":
            return
        try:
            refuse_jump("audio", video_start, audio_start)
            refuse_jump("video", audio_start, video_start)
        except TimeJumpError as error:
            raise MediaError(f"picture and sound of {self._name} are not on one clock") from error
        surplus = round((video_start - audio_start) * SAMPLE_RATE)
        if surplus > 0:
            self._buffer.skip(surplus)
        else:
            self._buffer.prepend_silence(-surplus)

    def _show(self) -> Iterator[Sampled[av.VideoFrame]]:
        try:
            for packet in packets_of(self._picture, "video", self._warnings):
                self._video.enqueue(packet)
                yield from self._video.decode()
            yield from self._video.flush()
        except TimeJumpError as reason:
            self._warnings.append(str(reason))
        yield from self._video.sampler.finish()

    def _hear(self) -> Iterator[Samples]:
        try:
            for packet in packets_of(self._sound, "audio", self._warnings):
                yield from self._decode_audio(packet)
            yield from self._decode_audio(None)
        except TimeJumpError as reason:
            self._warnings.append(str(reason))
        yield from self._audio.flush()

    def _decode_audio(self, packet: Packet[Any] | None) -> Iterator[Samples]:
        try:
            frames = self._sound.stream.decode(packet)
        except av.FFmpegError:
            self._undecodable_audio += 1
            return
        for frame in frames:
            yield from self._audio.push(frame)

    def _more(self) -> bool:
        """Decode some more sound; False at its end."""
        samples = next(self._heard, None)
        if samples is None:
            return False
        self._buffer.append(samples)
        return True

    def _listen(self, count: int) -> Samples:
        while len(self._buffer) < count and self._more():
            pass
        return self._buffer.take(count)

    def _remarks(self) -> Iterator[str]:
        if self._video.undecodable:
            yield f"{self._video.undecodable} video frames could not be decoded or are damaged"
        if self._undecodable_audio:
            yield (
                f"{self._undecodable_audio} audio packets could not be decoded and are silence here"
            )
        if self._audio.gaps:
            seconds = self._audio.gap_samples / SAMPLE_RATE
            yield f"{seconds:.2f} s of silence fills {self._audio.gaps} gaps in the audio"


class _EveryFrame(FrameSampler[T]):
    """A clock that ticks with every frame."""

    def push(self, time: Fraction, duration: Fraction, item: T) -> Iterator[Sampled[T]]:
        """Yield the frame."""
        if self.start is None:
            self.start = time
        self._current_end = time + duration
        yield self._emit(time, item)

    def passes_over(self, before: Fraction, time: Fraction, after: Fraction) -> bool:  # noqa: ARG002
        """Return False: every frame is shown."""
        return False

    def finish(self) -> Iterator[Sampled[T]]:
        """Yield nothing more."""
        yield from ()


def _chain(
    first: Sampled[av.VideoFrame] | None, others: Iterator[Sampled[av.VideoFrame]]
) -> Iterator[Sampled[av.VideoFrame]]:
    if first is not None:
        yield first
    yield from others


def _start(stream: av.stream.Stream) -> Fraction | None:
    if stream.start_time is None or stream.time_base is None:
        return None
    return Fraction(stream.start_time * stream.time_base)
