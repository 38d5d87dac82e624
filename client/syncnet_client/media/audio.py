"""One gapless 16 kHz mono signal out of decoded audio frames, placed by their time stamps.

FFmpeg's resampler does the work: it is one continuous filter over each unbroken run of audio, it
mixes channels down by FFmpeg's matrix, and its delay is compensated (its first output sample
belongs to its first input sample). Where time stamps show a hole, the run ends and silence fills
the hole to the exact sample; where they overlap, what was there first stays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt

from syncnet_client.contract import SAMPLE_RATE
from syncnet_client.extras import require
from syncnet_client.media.time_jumps import refuse_jump

__all__ = ["AudioTimeline", "SampleBuffer", "Samples", "resample"]

Samples = npt.NDArray[np.int16]

# Containers round time stamps to a millisecond and some recorders are a few off, so smaller
# differences are no gaps. They do not add up: each is measured from the beginning of its run.
GAP_TOLERANCE = Fraction(1, 100)  # seconds


def resample(signal: npt.NDArray[np.float32], rate: int) -> npt.NDArray[np.float32]:
    """Resample a whole mono signal to 16 kHz with librosa.

    Args:
        signal: float32 [N], between -1 and 1.
        rate: its sample rate in Hz.

    Returns:
        float32 [ceil(N * 16000 / rate)].

    Raises:
        SyncNetError: librosa is not installed.
    """
    librosa = require("librosa", extra="audio")
    resampled: npt.NDArray[np.float32] = librosa.resample(
        signal, orig_sr=rate, target_sr=SAMPLE_RATE
    )
    return resampled


class SampleBuffer:
    """First in, first out; appending and taking cost what they move and nothing more."""

    def __init__(self) -> None:
        self._parts: deque[Samples] = deque()
        self._size = 0
        self._skip = 0

    def __len__(self) -> int:
        return self._size

    def append(self, samples: Samples) -> None:
        """Add samples to the end."""
        skipped = min(self._skip, len(samples))
        self._skip -= skipped
        if skipped < len(samples):
            self._parts.append(samples[skipped:])
            self._size += len(samples) - skipped

    def skip(self, count: int) -> None:
        """Drop the next ``count`` samples, those not yet there included."""
        self._skip += count - len(self.take(min(count, self._size)))

    def prepend_silence(self, count: int) -> None:
        """Put ``count`` zeros before everything."""
        self._parts.appendleft(np.zeros(count, np.int16))
        self._size += count

    def take(self, count: int) -> Samples:
        """Remove and return the first ``count`` samples, or all if there are fewer."""
        parts = []
        missing = min(count, self._size)
        self._size -= missing
        while missing:
            part = self._parts.popleft()
            if len(part) > missing:
                self._parts.appendleft(part[missing:])
                part = part[:missing]
            parts.append(part)
            missing -= len(part)
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)


class AudioTimeline:
    """Resample audio frames to 16 kHz mono int16 on a gapless time line.

    Sample i of all that it yields is at ``start + i / 16000`` s.

    Attributes:
        start: time stamp of the first sample; None before it.
        gaps: holes of more than 10 ms that were filled.
        gap_samples: total length of them, at 16 kHz.
    """

    def __init__(self) -> None:
        self.start: Fraction | None = None
        self.gaps = 0
        self.gap_samples = 0
        self._written = 0
        self._overlap = 0  # samples of the present run that are already there
        self._resampler: av.AudioResampler | None = None
        self._setup: tuple[str, str, int] | None = None
        self._run_end = Fraction(0)  # expected time stamp of the next frame
        self._run_start = Fraction(0)
        self._run_samples = 0  # at the source's rate

    @property
    def end(self) -> Fraction:
        """Time in seconds up to which samples have been yielded."""
        assert self.start is not None
        return self.start + Fraction(self._written, SAMPLE_RATE)

    def push(self, frame: av.AudioFrame) -> Iterator[Samples]:
        """Take the next decoded frame and yield what is ready.

        Raises:
            TimeJumpError: it comes too long after the one before.
        """
        time = self._run_end
        if frame.pts is not None and frame.time_base is not None:
            time = frame.pts * frame.time_base
        setup = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self.start is None:
            self.start = self._run_end = time
        refuse_jump("audio", self._run_end, time)
        jump = abs(time - self._run_end) > GAP_TOLERANCE
        if self._resampler is None or jump or setup != self._setup:
            yield from self.flush()
            yield from self._begin_run(time if jump else self._run_end)
            self._setup = setup
        assert self._resampler is not None
        self._run_samples += frame.samples
        self._run_end = self._run_start + Fraction(self._run_samples, frame.sample_rate)
        # Its own time stamps would make the resampler fill or cut by rules of its own.
        frame.pts = None
        yield from self._write(self._resampler.resample(frame))

    def flush(self) -> Iterator[Samples]:
        """Yield what the resampler still holds; the next frame begins a new run."""
        if self._resampler is not None:
            yield from self._write(self._resampler.resample(None))
            self._resampler = None

    def silence_until(self, time: Fraction) -> Iterator[Samples]:
        """Fill up to ``time`` although later frames might still belong there.

        They are then cut where they overlap.
        """
        if time > self.end:
            yield from self.flush()
            yield from self._fill(time)
            self._run_end = max(self._run_end, time)

    def _begin_run(self, time: Fraction) -> Iterator[Samples]:
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        self._run_start = self._run_end = time
        self._run_samples = 0
        yield from self._fill(time)
        assert self.start is not None
        self._overlap = max(0, self._written - round((time - self.start) * SAMPLE_RATE))

    def _fill(self, time: Fraction) -> Iterator[Samples]:
        assert self.start is not None
        missing = round((time - self.start) * SAMPLE_RATE) - self._written
        if missing > 0:
            if missing > GAP_TOLERANCE * SAMPLE_RATE:
                self.gaps += 1
                self.gap_samples += missing
            self._written += missing
            yield np.zeros(missing, np.int16)

    def _write(self, frames: list[av.AudioFrame]) -> Iterator[Samples]:
        for frame in frames:
            samples = np.frombuffer(memoryview(frame.planes[0]), np.int16, frame.samples)
            cut = min(self._overlap, len(samples))
            self._overlap -= cut
            self._written += len(samples) - cut
            if cut < len(samples):
                yield samples[cut:]
