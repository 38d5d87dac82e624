"""The video stream: packets wait undecoded, frames come out sampled at 25 fps.

Frames that no tick shows are not decoded where no other frame needs them: the decoder knows which
those are. A quarter of a 60 fps source with B-frames is left out.
"""

from __future__ import annotations

import math
import os
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import av

from syncnet_client.media.pictures import DecodedPicture, Picture
from syncnet_client.media.sampling import TICK, FrameSampler, Sampled

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

__all__ = ["VideoDecoder"]

# Each thread of a decoder holds a few frames, and two outrun the server of a few cores.
MOST_THREADS = 2
FORMATS_WITHOUT_PTS = {"avi"}
LONGEST_FRAME_SECONDS = 60  # slides stay for a while


class VideoDecoder:
    """Decode a video stream packet by packet.

    Attributes:
        sampler: the 25 fps clock of the stream.
        develop: makes a picture of a frame.
        waiting_bytes: size of the packets that wait.
        decoded: frames decoded, without those that were left out.
        undecodable: packets that failed, and frames that came out damaged.
        shown: different frames shown.
        repeated: frames shown that were the same as the one before.
        rotation: of the last frame shown, degrees counter-clockwise.
        newest: time stamp in seconds of the newest packet.
    """

    def __init__(self, stream: VideoStream) -> None:
        self.sampler: FrameSampler[av.VideoFrame] = FrameSampler()
        self.waiting_bytes = 0
        self.decoded = self.undecodable = self.shown = self.repeated = 0
        self.rotation = 0
        self._stream = stream
        self._unordered = stream.container.format.name in FORMATS_WITHOUT_PTS
        self._waiting: deque[tuple[Fraction, float, Packet[VideoStream]]] = deque()
        self.newest = Fraction(0)
        # Time stamps of packets, in the stream's own unit, from the last frame decoded on.
        self._stamps: list[int] = []
        self._skips = not self._unordered
        self._leaving_out = False
        self._two_ticks = math.ceil(2 * TICK / stream.time_base) if stream.time_base else 0
        self._usual_duration = 1 / stream.average_rate if stream.average_rate else TICK
        self.develop: Callable[[av.VideoFrame], Picture] = self._decoded
        self._shown: tuple[av.VideoFrame, Picture] | None = None
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = _idle_cores()

    @property
    def waiting(self) -> bool:
        """Whether packets wait."""
        return bool(self._waiting)

    @property
    def waiting_since(self) -> Fraction:
        """Time stamp in seconds of the oldest packet that waits."""
        return self._waiting[0][0]

    @property
    def lead(self) -> float:
        """Seconds between the oldest and the newest packet that wait."""
        # Asked several times for each packet, for which fractions are too slow.
        return self._waiting[-1][1] - self._waiting[0][1] if self._waiting else 0.0

    def enqueue(self, packet: Packet[VideoStream]) -> None:
        """Keep a packet until ``decode`` is called for it."""
        stamp = packet.dts if packet.dts is not None else packet.pts
        if stamp is not None:
            self.newest = stamp * packet.time_base
        self._waiting.append((self.newest, float(self.newest), packet))
        if packet.pts is None:
            self._skips = False  # half a picture, maybe
        elif self._skips and not packet.is_discard:
            insort(self._stamps, packet.pts)
        self.waiting_bytes += packet.size

    def decode(self) -> Iterator[Sampled[av.VideoFrame]]:
        """Decode the oldest packet that waits and yield the ticks that are settled by it.

        Raises:
            TimeJumpError: there is too long a hole in the time stamps.
        """
        *_, packet = self._waiting.popleft()
        self.waiting_bytes -= packet.size
        yield from self._sample(packet)

    def flush(self) -> Iterator[Sampled[av.VideoFrame]]:
        """Yield what is settled by the frames that the decoder still holds.

        Raises:
            TimeJumpError: there is too long a hole in the time stamps.
        """
        yield from self._sample(None)

    def discard_waiting(self) -> None:
        """Drop the packets that wait."""
        self._waiting.clear()
        self.waiting_bytes = 0

    def _sample(self, packet: Packet[VideoStream] | None) -> Iterator[Sampled[av.VideoFrame]]:
        unseen = packet is not None and self._unseen(packet)
        if unseen != self._leaving_out:
            self._stream.codec_context.skip_frame = "NONREF" if unseen else "DEFAULT"
            self._leaving_out = unseen
        try:
            frames = self._stream.decode(packet)
        except av.FFmpegError:
            self.undecodable += 1
            return
        for frame in frames:
            self.decoded += 1
            self.undecodable += bool(frame.is_corrupt)
            self._skips = self._skips and not frame.interlaced_frame
            if frame.pts is not None:
                # What comes later is shown later.
                del self._stamps[: bisect_left(self._stamps, frame.pts)]
            time, duration = self._place(frame)
            yield from self.sampler.push(time, duration, frame)

    def _unseen(self, packet: Packet[VideoStream]) -> bool:
        """Whether it is known that the frame in a packet will not be shown."""
        stamps, base = self._stamps, packet.time_base
        if not self._skips or packet.pts is None:
            return False
        place = bisect_left(stamps, packet.pts)
        # The duration of the last frame is read off the gap before it.
        if not 0 < place < len(stamps) - 2 or stamps[place] != packet.pts:
            return False
        before, after = stamps[place - 1], stamps[place + 1]
        if after == packet.pts or after - before >= self._two_ticks:
            return False
        return self.sampler.passes_over(before * base, packet.pts * base, after * base)

    def show(self, frame: av.VideoFrame) -> Picture:
        """Return the picture of a frame, the same one as before if the frame is the same."""
        if self._shown is not None and self._shown[0] is frame:
            self.repeated += 1
            return self._shown[1]
        picture = self.develop(frame)
        self.rotation = 90 * round(frame.rotation / 90)
        self.shown += 1
        self._shown = (frame, picture)
        return picture

    def _decoded(self, frame: av.VideoFrame) -> Picture:
        return DecodedPicture(frame, float(self._stream.sample_aspect_ratio or 1))

    def _place(self, frame: av.VideoFrame) -> tuple[Fraction, Fraction]:
        """Return a frame's time stamp and duration in seconds."""
        # Without stored presentation times FFmpeg derives them, wrongly where there are B-frames.
        # Frames leave the decoder in the order of display, so decoding times put them right.
        stamp = frame.dts if frame.pts is None or self._unordered else frame.pts
        base = frame.time_base or self._stream.time_base
        if stamp is None or base is None:
            return self.sampler.end, self._usual_duration
        duration = frame.duration * base if frame.duration else self._usual_duration
        # The last frame would be repeated for as long as it claims to last.
        if duration > LONGEST_FRAME_SECONDS:
            duration = self._usual_duration
        return stamp * base, duration


def _idle_cores() -> int:
    """Number of threads to decode with: as many as there are cores with nothing to do."""
    busy, _, _ = os.getloadavg()  # over the last minute
    return min(MOST_THREADS, max(1, len(os.sched_getaffinity(0)) - round(busy)))
