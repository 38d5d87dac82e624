"""A live source: its offset over the last seconds, again and again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from syncnet_client.chunks import Chunker
from syncnet_client.contract import FRAME_MS, FRAMES_PER_SECOND, SAMPLES_PER_FRAME, WINDOW_FRAMES
from syncnet_client.defaults import DEFAULT_CHUNK, MIN_SCORED_WINDOWS
from syncnet_client.faces import Cropper, TrackFrames
from syncnet_client.media import Media
from syncnet_client.scoring.curves import DECIMALS, subframe_offset
from syncnet_client.scoring.feed import feed
from syncnet_client.scoring.options import WatchOptions
from syncnet_client.scoring.verdict import Evidence, Reason, Verdict, audible, judge, meaning
from syncnet_client.transport.base import ChunkAnswer, Metrics, Transport

__all__ = ["Measurement", "Update", "watch_media"]

# From a frame's arrival to its answer: the cropper looks ahead, and chunks are on their way.
SETTLING_FRAMES = 3 * FRAMES_PER_SECOND


@dataclass(frozen=True)
class Measurement:
    """What was measured on the face with the highest agreement.

    Attributes:
        track: number of the face.
        offset_frames: positive when the audio is ahead of the video.
        estimate_ms: the offset read between whole frames; None at the edge of the range.
        agreement: share of the draws that give the offset to within a frame, 0 to 1.
        confidence: median minus minimum of the mean distances.
        min_distance: minimum of the mean distances.
    """

    track: int
    offset_frames: int
    estimate_ms: float | None
    agreement: float
    confidence: float
    min_distance: float

    @property
    def offset_ms(self) -> int:
        """The offset in milliseconds."""
        return self.offset_frames * FRAME_MS


@dataclass(frozen=True)
class Update:
    """What the last seconds say.

    Attributes:
        time_s: end of the time measured, in seconds on the source's clock.
        windows: number of windows measured.
        measurement: None where no face is in view.
        verdict: whether to trust the offset.
    """

    time_s: float
    windows: int
    measurement: Measurement | None
    verdict: Verdict

    @property
    def meaning(self) -> str:
        """The update in words."""
        if self.measurement is None:
            return "no face"
        return meaning(self.measurement.offset_ms, self.verdict.trusted)

    def to_dict(self) -> dict[str, Any]:
        """All in types that JSON knows; the measurement's fields are None without a face."""
        if self.measurement is None:
            measured: dict[str, Any] = dict.fromkeys(Measurement.__dataclass_fields__)
            measured["offset_ms"] = None
        else:
            measured = asdict(self.measurement) | {"offset_ms": self.measurement.offset_ms}
        return {
            "time_s": self.time_s,
            "windows": self.windows,
            **measured,
            "meaning": self.meaning,
            "verdict": self.verdict.to_dict(),
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
    """A ``Collector`` that keeps the last seconds of a source."""

    def __init__(self, transport: Transport, options: WatchOptions) -> None:
        self._transport = transport
        self._options = options
        self.lookback = round(options.lookback_s * FRAMES_PER_SECOND)
        chunk = min(DEFAULT_CHUNK, max(WINDOW_FRAMES, round(options.every_s * FRAMES_PER_SECOND)))
        self.chunker = Chunker(vshift=options.vshift, chunk=chunk)
        self._settling = SETTLING_FRAMES + chunk + options.vshift
        self._faces: dict[int, _Face] = {}
        self._sound: dict[int, bool] = {}
        self._sound_frames = 0
        self._samples = np.zeros(0, np.int16)
        self._told: tuple[int | None, float] | None = None  # about which face, and until when

    def take_samples(self, samples: npt.NDArray[np.int16]) -> None:
        self._samples = np.concatenate([self._samples, samples])
        sound = audible(self._samples)
        self._sound.update(enumerate(map(bool, sound), self._sound_frames))
        self._sound_frames += len(sound)
        self._samples = self._samples[len(sound) * SAMPLES_PER_FRAME :]

    def take_frames(self, event: TrackFrames) -> None:
        face = self._faces.setdefault(event.track, _Face())
        face.times.update((frame.index, float(frame.time)) for frame in event.frames)
        face.detected.update((frame.index, frame.detected) for frame in event.frames)

    def take_answer(self, answer: ChunkAnswer) -> None:
        if (face := self._faces.get(answer.track)) is not None:
            face.rows.update(enumerate(answer.distances, answer.first_window))

    def update(self) -> Update | None:
        """Say what the last seconds hold; None if no answer has come since the last time."""
        update = self._newest()
        if update is None:
            return None
        track = None if update.measurement is None else update.measurement.track
        told = (track, update.time_s)
        if told == self._told:
            return None
        self._told = told
        return update

    def _newest(self) -> Update | None:
        self._forget()
        newest = max((max(face.rows, default=-1) for face in self._faces.values()), default=-1)
        measured = [
            (number, face, indices, self._measure(face, indices))
            for number, face in self._faces.items()
            if (indices := [k for k in sorted(face.rows) if k > newest - self.lookback])
        ]
        if measured:
            number, face, indices, metrics = max(
                measured,
                key=lambda m: (
                    len(m[2]) >= MIN_SCORED_WINDOWS,
                    m[3].agreement,
                    m[3].confidence,
                ),
            )
            return self._describe(number, face, indices, metrics)
        if self._faces or self.chunker.frames < self.lookback:
            return None
        now = self.chunker.frames / FRAMES_PER_SECOND
        return Update(now, 0, None, Verdict(False, (Reason("face_lost", "no face is in view"),)))

    def _forget(self) -> None:
        oldest = self.chunker.frames - self.lookback - self._settling
        for number, face in list(self._faces.items()):
            face.forget_before(oldest)
            if not face.times:
                del self._faces[number]
        self._sound = {key: sound for key, sound in self._sound.items() if key >= oldest}

    def _measure(self, face: _Face, indices: list[int]) -> Metrics:
        return self._transport.measure(np.stack([face.rows[k] for k in indices]), "track")

    def _describe(self, number: int, face: _Face, indices: list[int], metrics: Metrics) -> Update:
        between_frames = subframe_offset(metrics.mean_distances)
        frames = range(indices[0], indices[-1] + WINDOW_FRAMES)
        evidence = Evidence.gather(
            metrics,
            vshift=self._options.vshift,
            sound=[self._sound.get(k, False) for k in frames],
            detected=[face.detected.get(k, False) for k in frames],
            # A face that has just come is too short at worst: it counts as in view all the time.
        )
        measurement = Measurement(
            track=number,
            offset_frames=metrics.offset,
            estimate_ms=None if between_frames is None else round(between_frames * FRAME_MS, 1),
            agreement=round(metrics.agreement, DECIMALS),
            confidence=round(metrics.confidence, DECIMALS),
            min_distance=round(metrics.min_distance, DECIMALS),
        )
        return Update(
            time_s=round(face.times[frames[-1]], 3),
            windows=len(indices),
            measurement=measurement,
            verdict=judge(evidence, self._options.min_agreement, self._options.min_confidence),
        )


def watch_media(
    media: Media, cropper: Cropper, transport: Transport, options: WatchOptions
) -> Iterator[Update]:
    """Measure a source again and again while it plays; memory does not depend on its length.

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
    chunker = watcher.chunker
    step = round(options.every_s * FRAMES_PER_SECOND)
    due = step
    with transport.open_stream() as stream:
        for _ in feed(media, cropper, chunker, stream, watcher):
            if chunker.frames >= due:
                due = chunker.frames + step
                if (update := watcher.update()) is not None:
                    yield update
    if (update := watcher.update()) is not None:
        yield update
