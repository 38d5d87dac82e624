"""A live source: its offset over the last seconds, again and again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from syncnet_client.chunks import Chunker
from syncnet_client.contract import (
    DEFAULT_CHUNK,
    DEFAULT_VSHIFT,
    FRAMES_PER_SECOND,
    SAMPLES_PER_FRAME,
    WINDOW_FRAMES,
)
from syncnet_client.defaults import DEFAULT_MIN_CONFIDENCE, DEFAULT_WINDOW_S
from syncnet_client.errors import UsageError
from syncnet_client.faces import CropEvent, Cropper, TrackEnd, TrackFrames
from syncnet_client.media import Media
from syncnet_client.scoring.curves import FRAME_MS, subframe_offset
from syncnet_client.scoring.result import DECIMALS, offset_in_words
from syncnet_client.scoring.verdict import LEAST_WINDOWS, Evidence, Reason, Verdict, audible, judge
from syncnet_client.transport.base import ChunkAnswer, Metrics, Transport, send_all

__all__ = ["Update", "WatchOptions", "watch_media"]

# From a frame's arrival to its answer: the cropper looks ahead, and chunks are on their way.
SETTLING_FRAMES = 3 * FRAMES_PER_SECOND


@dataclass(frozen=True)
class WatchOptions:
    """How to watch.

    Attributes:
        window_s: seconds that an update looks back.
        every_s: seconds of the source from one update to the next.
        vshift: audio shifts compared to each side, in frames.
        min_confidence: updates below are not trusted.
    """

    window_s: float = DEFAULT_WINDOW_S
    every_s: float = 1.0
    vshift: int = DEFAULT_VSHIFT
    min_confidence: float = DEFAULT_MIN_CONFIDENCE

    def __post_init__(self) -> None:
        least = LEAST_WINDOWS / FRAMES_PER_SECOND
        if self.window_s < least:
            raise UsageError(f"window_s must be at least {least:g} second, not {self.window_s:g}")
        if self.every_s < 1 / FRAMES_PER_SECOND:
            raise UsageError(f"every_s must be at least 0.04 seconds, not {self.every_s:g}")


@dataclass(frozen=True)
class Update:
    """What the last seconds say. Without a face in view there is no measurement.

    Attributes:
        time_s: end of the time measured, in seconds on the source's clock.
        windows: number of windows measured.
        track: number of the face with the highest confidence.
        offset_frames, offset_ms: positive when the audio is ahead of the video.
        estimate_ms: the offset read between whole frames; None at the edge of the range.
        confidence, min_distance: of these windows.
        verdict: whether to trust the offset.
    """

    time_s: float
    windows: int
    track: int | None
    offset_frames: int | None
    offset_ms: int | None
    estimate_ms: float | None
    confidence: float | None
    min_distance: float | None
    verdict: Verdict

    @property
    def meaning(self) -> str:
        """The update in words."""
        return "no face" if self.offset_ms is None else offset_in_words(self.offset_ms)

    def to_dict(self) -> dict[str, Any]:
        """All in types that JSON knows."""
        return {
            **asdict(self),
            "meaning": self.meaning,
            "verdict": {
                "trusted": self.verdict.trusted,
                "reasons": [asdict(reason) for reason in self.verdict.reasons],
            },
        }


@dataclass
class _Face:
    """The recent past of one face, by index of frame and of window; the two count alike."""

    times: dict[int, float] = field(default_factory=dict)
    detected: dict[int, bool] = field(default_factory=dict)
    rows: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)

    def forget_before(self, index: int) -> None:
        for history in (self.times, self.detected, self.rows):
            for old in [key for key in history if key < index]:
                del history[old]


class _Watcher:
    """The last seconds of a source on its way through the server."""

    def __init__(self, transport: Transport, options: WatchOptions) -> None:
        self._transport = transport
        self._options = options
        self.window = round(options.window_s * FRAMES_PER_SECOND)
        chunk = min(DEFAULT_CHUNK, max(WINDOW_FRAMES, round(options.every_s * FRAMES_PER_SECOND)))
        self.chunker = Chunker(vshift=options.vshift, chunk=chunk)
        self._settling = SETTLING_FRAMES + chunk + options.vshift
        self._faces: dict[int, _Face] = {}
        self._sound: dict[int, bool] = {}
        self._sound_frames = 0
        self._samples = np.zeros(0, np.int16)
        self._told: tuple[int | None, float] | None = None  # about which face, and until when

    def take_block(self, frames: int, samples: npt.NDArray[np.int16]) -> None:
        self.chunker.push_clip(frames, samples)
        self._samples = np.concatenate([self._samples, samples])
        sound = audible(self._samples)
        self._sound.update(enumerate(map(bool, sound), self._sound_frames))
        self._sound_frames += len(sound)
        self._samples = self._samples[len(sound) * SAMPLES_PER_FRAME :]

    def take_events(self, events: Iterable[CropEvent]) -> None:
        for event in events:
            if isinstance(event, TrackEnd):
                self.chunker.end_track(event.track)
            elif isinstance(event, TrackFrames):
                face = self._faces.setdefault(event.track, _Face())
                face.times.update((frame.index, float(frame.time)) for frame in event.frames)
                face.detected.update((frame.index, frame.detected) for frame in event.frames)
                first = event.frames[0].index
                self.chunker.push_frames(event.track, first, (f.image for f in event.frames))

    def take_answers(self, answers: Iterable[ChunkAnswer]) -> None:
        for answer in answers:
            if (face := self._faces.get(answer.track)) is not None:
                face.rows.update(enumerate(answer.distances, answer.first_window))

    def update(self) -> Update | None:
        """Say what the last seconds hold; None if no answer has come since the last time."""
        update = self._newest()
        if update is None or (update.track, update.time_s) == self._told:
            return None
        self._told = update.track, update.time_s
        return update

    def _newest(self) -> Update | None:
        self._forget()
        newest = max((max(face.rows, default=-1) for face in self._faces.values()), default=-1)
        measured = [
            (number, face, indices, self._measure(face, indices))
            for number, face in self._faces.items()
            if (indices := [k for k in sorted(face.rows) if k > newest - self.window])
        ]
        if measured:
            number, face, indices, metrics = max(
                measured, key=lambda m: (len(m[2]) >= LEAST_WINDOWS, m[3].confidence)
            )
            return self._describe(number, face, indices, metrics)
        if self._faces or self.chunker.frames < self.window:
            return None
        now = self.chunker.frames / FRAMES_PER_SECOND
        verdict = Verdict(False, (Reason("face_lost", "no face is in view"),))
        return Update(now, 0, None, None, None, None, None, None, verdict)

    def _forget(self) -> None:
        oldest = self.chunker.frames - self.window - self._settling
        for number, face in list(self._faces.items()):
            face.forget_before(oldest)
            if not face.times:
                del self._faces[number]
        self._sound = {key: sound for key, sound in self._sound.items() if key >= oldest}

    def _measure(self, face: _Face, indices: list[int]) -> Metrics:
        return self._transport.measure(np.stack([face.rows[k] for k in indices]), "chunk")

    def _describe(self, number: int, face: _Face, indices: list[int], metrics: Metrics) -> Update:
        mean = np.mean([face.rows[k] for k in indices], axis=0)
        between_frames = subframe_offset(mean)
        frames = range(indices[0], indices[-1] + WINDOW_FRAMES)
        evidence = Evidence(
            offset=metrics.offset,
            vshift=self._options.vshift,
            confidence=metrics.confidence,
            windows=len(indices),
            audible=float(np.mean([self._sound.get(k, False) for k in frames])),
            detected=float(np.mean([face.detected.get(k, False) for k in frames])),
            covered=1.0,  # a face that has just come is too short at worst
            drift=None,
        )
        return Update(
            time_s=round(face.times[frames[-1]], 3),
            windows=len(indices),
            track=number,
            offset_frames=metrics.offset,
            offset_ms=metrics.offset * FRAME_MS,
            estimate_ms=None if between_frames is None else round(between_frames * FRAME_MS, 1),
            confidence=round(metrics.confidence, DECIMALS),
            min_distance=round(metrics.min_distance, DECIMALS),
            verdict=judge(evidence, self._options.min_confidence),
        )


def watch_media(
    media: Media, cropper: Cropper, transport: Transport, options: WatchOptions
) -> Iterator[Update]:
    """Measure a source over and over while it goes by; memory does not depend on its length.

    Args:
        media: frames and samples on one clock, already open.
        cropper: finds the faces in the frames.
        transport: the way to the server.
        options: how to watch.

    Yields:
        An update for every ``every_s`` seconds of the source, once its first face is scored, and
        a last one at the end. If no answer has come since the last update, there is none.

    Raises:
        MediaError, NoFaceError: the source cannot be read, or has never shown a face.
        ServerError: the server cannot score it.
    """
    watcher = _Watcher(transport, options)
    step = round(options.every_s * FRAMES_PER_SECOND)
    due = step
    with transport.open_stream() as stream:
        for block in media:
            watcher.take_block(len(block.frames), block.samples)
            watcher.take_events(cropper.push(block.frames))
            send_all(stream, watcher.chunker.ready())
            watcher.take_answers(stream.received())
            if watcher.chunker.frames >= due:
                due = watcher.chunker.frames + step
                if (update := watcher.update()) is not None:
                    yield update
        watcher.take_events(cropper.flush())
        send_all(stream, watcher.chunker.finish())
        watcher.take_answers(stream.finish())
        if (update := watcher.update()) is not None:
            yield update
