"""Convert a clip to 25 frames a second as FFmpeg's command line does, with the time that it moves.

``ffmpeg -i CLIP -qscale:v 2 -async 1 -r 25 OUT`` repeats and drops frames by rules of its own, and
its container decides the rest: AVI keeps no time stamps, so the delay of its sound's encoder stays
in. Here FFmpeg's libraries encode and write the same file; the rules for frames are those of its
command line, which is in no library.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import av

from syncnet_client.contract import FRAMES_PER_SECOND
from syncnet_client.errors import MediaError
from syncnet_client.media.paired import packets_of
from syncnet_client.media.recoding import Coding
from syncnet_client.media.sampling import TICK, FrameSampler, Sampled
from syncnet_client.media.sources import OpenedOne
from syncnet_client.media.video import VideoDecoder

if TYPE_CHECKING:
    from av.packet import Packet

__all__ = ["Conversion", "FFmpegClock", "convert", "origin_of", "repeat_and_drop", "skip_and_drop"]

T = TypeVar("T")

# All in frames of the output; the numbers are those of fftools/ffmpeg.c.
DROPPED_BEFORE = Fraction(-11, 10)
REPEATED_FROM = Fraction(11, 10)
UNDECIDED = Fraction(6, 10)
NUDGE = Fraction(1, 2**17)  # so that exact middles do not hang on rounding

# How often to show the frame before, and how often the new one; and where that begins.
Decision = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A file that a script writes first.

    Attributes:
        suffix: of the file, which names the container.
        picture: how the picture is encoded.
        sound: name of the sound's encoder.
        rule: which frames FFmpeg writes into such a container.
    """

    suffix: str
    picture: Coding
    sound: str
    rule: Callable[[int, Fraction, Fraction], Decision]


def repeat_and_drop(place: int, late: Fraction, end: Fraction) -> Decision:
    """FFmpeg's rule for containers with frames at a fixed rate, and for single pictures.

    Args:
        place: number of the next frame of the output.
        late: how much later the new frame begins than that, in frames.
        end: how much later it ends.
    """
    if end < DROPPED_BEFORE:
        return 0, 0, place
    if end > REPEATED_FROM:
        shown = round(end)
        before = min(shown, round(late - UNDECIDED)) if late > REPEATED_FROM else 0
        return before, shown - before, place
    return 0, 1, place


def skip_and_drop(place: int, late: Fraction, end: Fraction) -> Decision:
    """FFmpeg's rule for AVI: a place without a frame stays empty.

    Args:
        place: number of the next frame of the output.
        late: how much later the new frame begins than that, in frames.
        end: how much later it ends.
    """
    if end <= -UNDECIDED:
        return 0, 0, place
    return 0, 1, round(place + late) if end > UNDECIDED else place


class FFmpegClock(FrameSampler[T]):
    """The places of an output of FFmpeg that the frames of a source take.

    Args:
        rate: of the output, in frames a second.
        origin: time in seconds of its first place.
        rule: which frames are repeated and dropped.
    """

    def __init__(
        self, rate: Fraction, origin: Fraction, rule: Callable[[int, Fraction, Fraction], Decision]
    ) -> None:
        super().__init__()
        self.start = origin
        self._rate = rate
        self._rule = rule
        self._shown_before = deque([0, 0, 0], maxlen=3)
        self._newest: tuple[Fraction, T] | None = None

    def push(self, time: Fraction, duration: Fraction, item: T) -> Iterator[Sampled[T]]:
        """Take the next frame, and yield the places that it settles."""
        assert self.start is not None
        begins = (time - self.start) * self._rate
        if begins.denominator != 1:
            begins += NUDGE if begins > 0 else -NUDGE
        length = duration * self._rate
        length = Fraction(round(length) or min(length, Fraction(1)))
        late = begins - self._next_tick
        end = late + length
        if late < 0 < end:
            late = Fraction(0)
        before, now, self._next_tick = self._rule(self._next_tick, late, end)
        self._shown_before.append(before)
        previous = self._newest or (time, item)
        self._newest = (time, item)
        self._current_end = time + duration
        for _ in range(before):
            yield self._emit(*previous)
        for _ in range(now):
            yield self._emit(time, item)

    def passes_over(self, before: Fraction, time: Fraction, after: Fraction) -> bool:  # noqa: ARG002
        """Return False: which frames are dropped depends on all of them."""
        return False

    def finish(self) -> Iterator[Sampled[T]]:
        """Yield the last frame as often as it is repeated at the end."""
        if self._newest is not None:
            for _ in range(sorted(self._shown_before)[1]):
                yield self._emit(*self._newest)


def origin_of(opened: OpenedOne) -> Fraction:
    """Time in seconds, on the clip's clock, that is zero for FFmpeg's command line."""
    start = opened.container.start_time
    return Fraction(0) if start is None else Fraction(start, av.time_base)


def convert(
    name: str, picture: OpenedOne, sound: OpenedOne | None, path: Path, conversion: Conversion
) -> list[str]:
    """Write the converted clip.

    Args:
        name: of the clip, for errors.
        picture: where its picture is read from.
        sound: where its sound is; None leaves it out.
        path: the file to write.
        conversion: how.

    Returns:
        What a person should know about the source, a sentence each.

    Raises:
        MediaError: nothing of it can be decoded, or it cannot be encoded.
    """
    warnings: list[str] = []
    frames = 0
    try:
        with av.open(str(path), "w") as writer:
            track: Any = writer.add_stream(conversion.picture.codec, rate=FRAMES_PER_SECOND)
            heard: Iterator[Packet[Any]] = iter(())
            if sound is not None:
                heard = _encoded_sound(writer, conversion.sound, sound, warnings)
            waiting = next(heard, None)
            for sampled in _frames(picture, conversion, warnings):
                frame = conversion.picture.prepared(sampled.item)
                if frames == 0:
                    conversion.picture.set_up(track.codec_context, frame)
                frame.pts, frame.time_base = sampled.tick, TICK
                frames += 1
                writer.mux(track.encode(frame))
                now = sampled.tick * TICK
                while waiting is not None and (waiting.dts or 0) * waiting.time_base <= now:
                    writer.mux(waiting)
                    waiting = next(heard, None)
            if frames:
                writer.mux(track.encode(None))
                while waiting is not None:
                    writer.mux(waiting)
                    waiting = next(heard, None)
    except (av.FFmpegError, ValueError) as error:
        if frames:
            raise MediaError(f"{name} cannot be converted: {error}") from error
    if not frames:
        raise MediaError(f"nothing of the video stream of {name} can be decoded")
    return warnings


def _frames(
    picture: OpenedOne, conversion: Conversion, warnings: list[str]
) -> Iterator[Sampled[av.VideoFrame]]:
    decoder = VideoDecoder(picture.stream)
    decoder.sampler = FFmpegClock(Fraction(FRAMES_PER_SECOND), origin_of(picture), conversion.rule)
    for packet in packets_of(picture, "video", warnings):
        decoder.enqueue(packet)
        yield from decoder.decode()
    yield from decoder.flush()
    yield from decoder.sampler.finish()
    if decoder.undecodable:
        warnings.append(f"{decoder.undecodable} video frames could not be decoded or are damaged")


def _encoded_sound(
    writer: Any, encoder: str, sound: OpenedOne, warnings: list[str]
) -> Iterator[Packet[Any]]:
    """Add a stream for the sound, and return its packets."""
    context = sound.stream.codec_context
    channels = "mono" if context.layout.nb_channels == 1 else "stereo"
    rates = av.Codec(encoder, "w").audio_rates or [context.sample_rate]
    rate = min(rates, key=lambda each: abs(each - context.sample_rate))
    stream = writer.add_stream(encoder, rate=rate, layout=channels)

    def packets() -> Iterator[Packet[Any]]:
        timed = _Timed(origin_of(sound))
        for packet in packets_of(sound, "audio", warnings):
            try:
                frames = sound.stream.decode(packet)
            except av.FFmpegError:
                continue
            for frame in frames:
                for piece in timed.push(frame):
                    yield from stream.encode(piece)
        for piece in timed.flush():
            yield from stream.encode(piece)
        yield from stream.encode(None)

    return packets()


class _Timed:
    """FFmpeg's filter for ``-async 1``: it fills gaps in the time stamps, and cuts overlaps."""

    def __init__(self, origin: Fraction) -> None:
        self._origin = origin
        self._graph: av.filter.Graph | None = None

    def push(self, frame: av.AudioFrame) -> Iterator[av.AudioFrame]:
        if self._graph is None:
            self._graph = _timing_graph(frame)
        if frame.pts is not None and frame.time_base is not None:
            frame.pts -= round(self._origin / frame.time_base)
        self._graph.push(frame)
        yield from self._ready()

    def flush(self) -> Iterator[av.AudioFrame]:
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready()

    def _ready(self) -> Iterator[av.AudioFrame]:
        assert self._graph is not None
        with contextlib.suppress(av.BlockingIOError, av.EOFError):  # nothing more for now
            while True:
                yield cast("av.AudioFrame", self._graph.pull())


def _timing_graph(frame: av.AudioFrame) -> av.filter.Graph:
    graph = av.filter.Graph()
    source = graph.add_abuffer(
        sample_rate=frame.sample_rate,
        format=frame.format.name,
        layout=frame.layout.name,
        time_base=frame.time_base,
    )
    timing = graph.add("aresample", "async=1:min_hard_comp=0.100000:first_pts=0")
    sink = graph.add("abuffersink")
    source.link_to(timing)
    timing.link_to(sink)
    graph.configure()
    return graph
