"""Turn the packets of a container into blocks of frames and samples on one clock.

Both streams keep their own time stamps. The sequence begins where both have begun: at the tick of
the video's 25 fps grid that is nearest to the beginning of the audio, or at the first frame if the
audio begins before it. So no more than half a frame of silence is put in front, rounded time
stamps cost no frame, and a clip whose streams both begin at 0 gives exactly its own frames and
samples.

Memory is bounded: audio is decoded as it comes (32 kB a second), video packets wait undecoded
until the audio that belongs to them is there.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av

from syncnet_client.contract import FRAMES_PER_SECOND, SAMPLE_RATE, SAMPLES_PER_FRAME
from syncnet_client.errors import MediaError
from syncnet_client.media.audio import AudioTimeline, SampleBuffer, Samples
from syncnet_client.media.limits import PIXEL_LIMIT
from syncnet_client.media.sampling import TICK, Sampled
from syncnet_client.media.time_jumps import (
    LONGEST_GAP_SECONDS,
    TimeJumpError,
    clock_text,
    refuse_jump,
)
from syncnet_client.media.types import Frame, MediaBlock, MediaSummary
from syncnet_client.media.video import VideoDecoder

if TYPE_CHECKING:
    from av.packet import Packet

    from syncnet_client.media.sources import Opened

__all__ = ["Decoder"]

# How far the video may be ahead of the audio in a container before the audio counts as absent.
# Muxers interleave within a second or so.
FILE_LEAD_SECONDS = 10
LIVE_LEAD_SECONDS = 2
LEAD_BYTES = 256 * 2**20
# Audio packets of a file are decoded together: picture and sound in turns would push each other's
# code and data out of the processor's caches.
AUDIO_BATCH = 16
# A file may end this much before its header says so without being called truncated.
TRUNCATION_SECONDS = Fraction(1, 2)
TIMED_OUT = "no new data came for too long: the source counts as ended"


class _BrokenOffError(Exception):
    """The container cannot be read on; the message is a warning that says why."""


class Decoder:
    """Decode one open source, once.

    Args:
        opened: the container and its streams.
        block_frames: frames in a block.
        stopped: asked between packets; reading ends when it says yes.
        longest_s: reading ends after so many seconds of a source that names no end of its own,
            of its time or of the clock's.
    """

    def __init__(
        self,
        opened: Opened,
        block_frames: int,
        stopped: Callable[[], bool],
        *,
        longest_s: float | None = None,
    ) -> None:
        self._opened = opened
        self._block_frames = block_frames
        self._stopped = stopped
        self._longest_s = longest_s if opened.info.duration is None else None
        self._began = time.monotonic()
        self._longest_lead = LIVE_LEAD_SECONDS if opened.info.live else FILE_LEAD_SECONDS
        self._video = VideoDecoder(opened.video)
        self._audio = AudioTimeline()
        self._audio_ended = False
        self._undecodable_audio = 0
        self._audio_batch = 1 if opened.info.live else AUDIO_BATCH
        self._unheard: list[Packet[Any]] = []
        # Ticks that wait until it is known which of them is the first to count.
        self._undecided: deque[Sampled[av.VideoFrame]] = deque()
        self._passed_ticks = 0
        self._first_tick: int | None = None
        self._frames: deque[Frame] = deque()
        self._samples = SampleBuffer()
        self._frame_count = self._sample_count = 0
        self._warnings: list[str] = []

    def blocks(self) -> Iterator[MediaBlock]:
        """Yield the blocks in order.

        Raises:
            MediaError: nothing of the picture or of the sound could be decoded.
        """
        try:
            for packet in self._packets():
                if packet.stream.type == "audio":
                    self._unheard.append(packet)
                else:
                    self._video.enqueue(packet)
                if len(self._unheard) >= self._audio_batch or self._overdue():
                    self._hear_waiting()
                while self._video.waiting and self._may_decode():
                    yield from self._decode_waiting()
        except _BrokenOffError as reason:
            self._warnings.append(str(reason))
        except TimeJumpError as reason:
            self._warnings.append(str(reason))
            self._video.discard_waiting()
        if not self._stopped():
            yield from self._finish()

    def summary(self) -> MediaSummary:
        """Return the counts and warnings; after the last block."""
        video, audio = self._video, self._audio
        return MediaSummary(
            frames=self._frame_count,
            samples=self._sample_count,
            start=self._start,
            source_frames=video.decoded,
            repeated_frames=video.repeated,
            unused_frames=video.decoded - video.shown,
            undecodable_frames=video.undecodable,
            undecodable_audio=self._undecodable_audio,
            audio_gaps=audio.gaps,
            audio_gap_seconds=audio.gap_samples / SAMPLE_RATE,
            rotation=video.rotation,
            warnings=(*self._warnings, *self._remarks()),
        )

    def _packets(self) -> Iterator[Packet[Any]]:
        opened = self._opened
        packets = opened.container.demux(opened.video, opened.audio)
        while not self._stopped():
            self._check_length()
            try:
                packet = next(packets)
            except StopIteration:
                break
            except av.error.ExitError as error:
                raise _BrokenOffError(TIMED_OUT) from error
            except av.FFmpegError as error:
                where = clock_text(self._video.sampler.end)
                raise _BrokenOffError(f"reading broke off at {where}: {error.strerror}") from error
            if packet.size:  # the empty packets at the end are only there to flush the decoders
                yield packet
        if opened.file is not None and opened.file.timed_out:
            raise _BrokenOffError(TIMED_OUT)

    def _check_length(self) -> None:
        if self._longest_s is None:
            return
        read_s = self._frame_count / FRAMES_PER_SECOND
        if max(read_s, time.monotonic() - self._began) > self._longest_s:
            raise _BrokenOffError(
                f"the source did not end within {self._longest_s:g} s: what follows is not read"
            )

    def _decode_audio(self, packet: Packet[Any] | None) -> Iterator[Samples]:
        try:
            frames = self._opened.audio.decode(packet)
        except av.FFmpegError:
            self._undecodable_audio += 1
            return
        for frame in frames:
            yield from self._audio.push(frame)

    def _hear_waiting(self) -> None:
        for packet in self._unheard:
            self._hear(self._decode_audio(packet))
        self._unheard.clear()

    def _hear(self, parts: Iterable[Samples]) -> None:
        for samples in parts:
            self._samples.append(samples)
        begun = self._video.sampler.start is not None and self._audio.start is not None
        # Sound without picture waits in memory: not for ever.
        many = len(self._samples) >= LONGEST_GAP_SECONDS * SAMPLE_RATE
        if begun and many and not self._audio_ended:
            refuse_jump("video", self._video.newest, self._audio.end)

    def _may_decode(self) -> bool:
        """Whether the oldest video packet that waits is wanted now."""
        if self._audio_ended or self._video.sampler.start is None or self._overdue():
            return True
        self._align()
        return self._first_tick is not None and len(self._frames) * SAMPLES_PER_FRAME <= len(
            self._samples
        )

    def _overdue(self) -> bool:
        """Whether the audio for the oldest packet should have come by now."""
        video = self._video
        return video.lead > self._longest_lead or video.waiting_bytes > LEAD_BYTES

    def _decode_waiting(self) -> Iterator[MediaBlock]:
        no_audio = not self._audio_ended and self._overdue()
        if no_audio and self._audio.start is not None:
            self._hear(self._audio.silence_until(self._video.waiting_since))
        yield from self._show(self._video.decode())
        if no_audio and self._first_tick is None:
            # The audio begins after these.
            self._passed_ticks += len(self._undecided)
            self._undecided.clear()

    def _show(self, ticks: Iterable[Sampled[av.VideoFrame]]) -> Iterator[MediaBlock]:
        for sampled in ticks:
            self._undecided.append(sampled)
            self._align()
            yield from self._full_blocks()

    def _align(self) -> None:
        """Find the first tick, once both streams have begun, and hand on those that wait."""
        video_start, audio_start = self._video.sampler.start, self._audio.start
        if self._first_tick is None and video_start is not None and audio_start is not None:
            nearest = round((audio_start - video_start) * FRAMES_PER_SECOND)
            self._first_tick = max(0, nearest, self._passed_ticks)
            surplus = round((self._start - audio_start) * SAMPLE_RATE)
            if surplus > 0:
                self._samples.skip(surplus)
            else:
                self._samples.prepend_silence(-surplus)
        if self._first_tick is not None:
            while self._undecided:
                sampled = self._undecided.popleft()
                index = sampled.tick - self._first_tick
                if index >= 0:
                    picture = self._video.show(sampled.item)
                    self._frames.append(Frame(index, sampled.time, picture))

    @property
    def _start(self) -> Fraction:
        """Time in seconds, on the source's clock, of frame 0 and sample 0."""
        assert self._video.sampler.start is not None
        assert self._first_tick is not None
        return self._video.sampler.start + self._first_tick * TICK

    def _finish(self) -> Iterator[MediaBlock]:
        video = self._video
        self._hear_waiting()
        self._audio_ended = True
        self._hear(self._decode_audio(None))
        self._hear(self._audio.flush())
        try:
            while video.waiting:
                yield from self._decode_waiting()
            yield from self._show(video.flush())
        except TimeJumpError as reason:
            self._warnings.append(str(reason))
        yield from self._show(video.sampler.finish())
        for stream, start in (
            ("video", video.sampler.start),
            ("audio", self._audio.start),
        ):
            if start is None:
                info = self._opened.info
                # FFmpeg takes the size away from pictures that are beyond its limit.
                size = stream == "video" and not (info.width and info.height)
                why = f": its pictures have no size, or one beyond {PIXEL_LIMIT}" if size else ""
                raise MediaError(
                    f"nothing of the {stream} stream of {info.source} can be decoded{why}"
                )
        self._align()
        while self._frames or self._samples:
            yield self._block()

    def _full_blocks(self) -> Iterator[MediaBlock]:
        size = self._block_frames
        while len(self._frames) >= size and (
            self._audio_ended or len(self._samples) >= size * SAMPLES_PER_FRAME
        ):
            yield self._block()

    def _block(self) -> MediaBlock:
        frames = [self._frames.popleft() for _ in range(min(self._block_frames, len(self._frames)))]
        samples = self._samples.take(self._block_frames * SAMPLES_PER_FRAME)
        self._frame_count += len(frames)
        self._sample_count += len(samples)
        return MediaBlock(frames, samples)

    def _remarks(self) -> Iterator[str]:
        video, audio = self._video, self._audio
        if video.undecodable:
            yield f"{video.undecodable} video frames could not be decoded or are damaged"
        if self._undecodable_audio:
            yield (
                f"{self._undecodable_audio} audio packets could not be decoded and are silence here"
            )
        if video.sampler.out_of_order:
            yield (
                f"{video.sampler.out_of_order} video frames were left out because their "
                "time stamps go back"
            )
        if audio.gaps:
            seconds = audio.gap_samples / SAMPLE_RATE
            yield f"{seconds:.2f} s of silence fills {audio.gaps} gaps in the audio"
        yield from self._truncation()
        assert video.sampler.start is not None
        assert audio.start is not None
        late = audio.start - video.sampler.start
        if abs(late) > TICK:
            first, second = ("video", "audio") if late > 0 else ("audio", "video")
            yield (
                f"the {second} begins {float(abs(late)):.3f} s after the {first}: "
                f"what comes before {clock_text(self._start)} is not scored"
            )

    def _truncation(self) -> Iterator[str]:
        if self._opened.info.live or self._warnings:
            return
        container, video, audio = self._opened.container, self._opened.video, self._opened.audio
        picture_end, sound_end = self._video.sampler.end, self._audio.end
        promises = [
            (picture_end, video.start_time, video.duration, video.time_base),
            (sound_end, audio.start_time, audio.duration, audio.time_base),
            (
                max(picture_end, sound_end),
                container.start_time,
                container.duration,
                Fraction(1, av.time_base),
            ),
        ]
        if container.format.name == "avi" and video.average_rate:
            # Its duration is that of the frames that are there; the header counts all.
            promises.append((picture_end, video.start_time, video.frames, 1 / video.average_rate))
        for end, start, duration, base in promises:
            if start is None or duration is None or base is None:
                continue
            promised = (start + duration) * base
            if promised - end > TRUNCATION_SECONDS:
                yield (
                    f"the file breaks off at {clock_text(end)} of {clock_text(promised)}: "
                    "it is truncated or damaged, and scored up to there"
                )
                return
