"""From decoded blocks to a result: crop, cut, ask the server, gather, judge."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from syncnet_client.chunks import Chunker, clip_windows
from syncnet_client.contract import (
    DEFAULT_CHUNK,
    DEFAULT_VSHIFT,
    FRAMES_PER_SECOND,
    MIN_FRAMES,
    SAMPLE_RATE,
    SAMPLES_PER_FRAME,
    WINDOW_FRAMES,
)
from syncnet_client.defaults import DEFAULT_MIN_CONFIDENCE, DEFAULT_WINDOW_S
from syncnet_client.errors import ClipTooShortError, NoFaceError, UsageError
from syncnet_client.faces import Box, CropEvent, Cropper, TrackEnd, TrackFrames
from syncnet_client.media import Media
from syncnet_client.scoring.curves import FRAME_MS, subframe_offset
from syncnet_client.scoring.drift import Drift, OffsetWindow, analyse_drift
from syncnet_client.scoring.result import SyncResult, TrackResult
from syncnet_client.scoring.verdict import (
    LEAST_WINDOWS,
    Evidence,
    audible,
    judge,
)
from syncnet_client.transport.base import ChunkAnswer, Metrics, Transport, send_all

__all__ = ["Progress", "ScoreOptions", "score_media"]


@dataclass(frozen=True)
class ScoreOptions:
    """How to score.

    Attributes:
        vshift: audio shifts compared to each side, in frames.
        chunk: windows in one request; changes speed and memory, never the result.
        window_s: length of the windows in which drift is looked for, in seconds.
        min_confidence: results below are not trusted.
    """

    vshift: int = DEFAULT_VSHIFT
    chunk: int = DEFAULT_CHUNK
    window_s: float = DEFAULT_WINDOW_S
    min_confidence: float = DEFAULT_MIN_CONFIDENCE

    def __post_init__(self) -> None:
        if self.window_s < LEAST_WINDOWS / FRAMES_PER_SECOND:
            raise UsageError(f"window_s must be at least 1 second, not {self.window_s:g}")


@dataclass(frozen=True)
class Progress:
    """How far a clip is.

    Attributes:
        frames: decoded so far, at 25 a second.
        windows: scored so far, over all tracks.
        total_frames: of the clip as far as its container knows, else None.
    """

    frames: int
    windows: int
    total_frames: int | None


@dataclass
class _Track:
    """What is gathered about one face while the clip goes by."""

    first_frame: int
    times: list[float] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    detected: list[bool] = field(default_factory=list)
    rows: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)

    def distances(self) -> npt.NDArray[np.float32]:
        """All rows, [K, 2*vshift+1], in the order of the windows."""
        return np.concatenate([self.rows[first] for first in sorted(self.rows)])


class _Gathering:
    """One clip on its way through the server."""

    def __init__(self, options: ScoreOptions) -> None:
        self.chunker = Chunker(vshift=options.vshift, chunk=options.chunk)
        self.tracks: dict[int, _Track] = {}
        self.windows = 0
        self._sound: list[npt.NDArray[np.bool_]] = []

    @property
    def sound(self) -> npt.NDArray[np.bool_]:
        """Whether there is sound in each frame of the clip."""
        return np.concatenate([np.zeros(0, np.bool_), *self._sound])

    def take_block(self, frames: int, samples: npt.NDArray[np.int16]) -> None:
        self.chunker.push_clip(frames, samples)
        self._sound.append(audible(samples))

    def take_events(self, events: Iterable[CropEvent]) -> None:
        for event in events:
            if isinstance(event, TrackEnd):
                self.chunker.end_track(event.track)
            elif isinstance(event, TrackFrames):
                first = event.frames[0].index
                track = self.tracks.setdefault(event.track, _Track(first))
                track.times += [float(frame.time) for frame in event.frames]
                track.boxes += [frame.box for frame in event.frames]
                track.detected += [frame.detected for frame in event.frames]
                self.chunker.push_frames(event.track, first, (f.image for f in event.frames))

    def take_answers(self, answers: Iterable[ChunkAnswer]) -> None:
        for answer in answers:
            self.tracks[answer.track].rows[answer.first_window] = answer.distances
            self.windows += len(answer.distances)


def score_media(
    media: Media,
    cropper: Cropper,
    transport: Transport,
    options: ScoreOptions,
    *,
    name: str,
    progress: Callable[[Progress], None] | None = None,
) -> SyncResult:
    """Score what a source shows.

    Args:
        media: frames and samples on one clock, already open.
        cropper: finds the faces in the frames.
        transport: the way to the server.
        options: how to score.
        name: of the clip, for the result and for errors.
        progress: called after every block; what it raises ends the scoring.

    Raises:
        MediaError, NoFaceError, ClipTooShortError: the clip cannot be scored.
        ServerError: the server cannot score it.
    """
    gathering = _Gathering(options)
    versions = transport.model_versions()
    duration = media.info.duration
    total_frames = None if duration is None else round(duration * FRAMES_PER_SECOND)
    with transport.open_stream() as stream:
        for block in media:
            gathering.take_block(len(block.frames), block.samples)
            gathering.take_events(cropper.push(block.frames))
            send_all(stream, gathering.chunker.ready())
            gathering.take_answers(stream.received())
            if progress is not None:
                progress(Progress(gathering.chunker.frames, gathering.windows, total_frames))
        _check_length(name, gathering.chunker)
        gathering.take_events(_flush(name, cropper))
        send_all(stream, gathering.chunker.finish())
        gathering.take_answers(stream.finish())

    if gathering.windows == 0:
        raise NoFaceError(f"{name}: no face stays in view for {MIN_FRAMES} frames with sound")
    frames, samples = gathering.chunker.frames, gathering.chunker.samples
    sound = gathering.sound
    clip_rows = clip_windows(frames, samples)
    tracks = [
        _measure(transport, options, number, track, sound, clip_rows)
        for number, track in gathering.tracks.items()
        if track.rows
    ]
    versions_after = transport.model_versions()
    warnings = [
        *media.summary.warnings,
        *cropper.summary.warnings,
        *_length_warning(frames, samples),
    ]
    if versions_after != versions:
        warnings.append(
            f"the server changed its weights from {versions} to {versions_after} "
            "while it scored this clip"
        )
    # Means over a few windows are confident by chance: such tracks come after all others.
    tracks.sort(key=lambda t: (t.windows >= LEAST_WINDOWS, t.confidence), reverse=True)
    return SyncResult(
        clip=name,
        tracks=tuple(tracks),
        frames=frames,
        audio_samples=samples,
        vshift=options.vshift,
        model_versions=versions_after,
        warnings=tuple(warnings),
    )


def _check_length(name: str, clip: Chunker) -> None:
    if clip_windows(clip.frames, clip.samples) < 1:
        raise ClipTooShortError(
            f"{name} is too short: it has {clip.frames} frames of video and "
            f"{clip.samples // SAMPLES_PER_FRAME} of audio at 25 a second, and at least "
            f"{MIN_FRAMES} of both are needed"
        )


def _flush(name: str, cropper: Cropper) -> list[CropEvent]:
    try:
        return cropper.flush()
    except NoFaceError as error:
        raise NoFaceError(f"{name}: {error}") from error


def _length_warning(frames: int, samples: int) -> list[str]:
    audio_frames = samples // SAMPLES_PER_FRAME
    if frames == audio_frames:
        return []
    return [
        f"video ({frames} frames, {frames / FRAMES_PER_SECOND:.3f} s) and audio "
        f"({samples} samples, {samples / SAMPLE_RATE:.3f} s) differ in length: the first "
        f"{min(frames, audio_frames)} frames are scored"
    ]


def _measure(
    transport: Transport,
    options: ScoreOptions,
    number: int,
    track: _Track,
    sound: npt.NDArray[np.bool_],
    clip_rows: int,
) -> TrackResult:
    distances = track.distances()
    windows = len(distances)
    metrics = transport.measure(distances, "clip")
    frame_times = np.array(track.times)
    middles = frame_times[WINDOW_FRAMES // 2 :][:windows] + FRAME_MS / 2000
    drift = _drift(transport, options, distances, middles)
    seen = slice(track.first_frame, track.first_frame + windows + WINDOW_FRAMES)
    evidence = Evidence(
        offset=metrics.offset,
        vshift=options.vshift,
        confidence=metrics.confidence,
        windows=windows,
        audible=float(sound[seen].mean()),
        detected=float(np.mean(track.detected)),
        covered=windows / clip_rows,
        drift=drift,
    )
    return TrackResult(
        track=number,
        first_frame=track.first_frame,
        offset_frames=metrics.offset,
        confidence=metrics.confidence,
        min_distance=metrics.min_distance,
        mean_distances=_mean(distances),
        distances=distances,
        frame_confidence=metrics.frame_confidence,
        times=middles,
        frame_times=frame_times,
        boxes=np.array(track.boxes, np.float32),
        detected=np.array(track.detected, np.bool_),
        drift=drift,
        verdict=judge(evidence, options.min_confidence),
    )


def _drift(
    transport: Transport,
    options: ScoreOptions,
    distances: npt.NDArray[np.float32],
    times: npt.NDArray[np.float64],
) -> Drift | None:
    """Offsets of equal windows of rows; the last one reaches back to be as long as the others."""
    size = round(options.window_s * FRAMES_PER_SECOND)
    last = len(distances) - size
    if last < size:
        return None
    windows = []
    for first in [*range(0, last, size), last]:
        rows = distances[first : first + size]
        metrics = transport.measure(rows, "chunk")
        windows.append(_offset_window(metrics, rows, times[first : first + size], options))
    return analyse_drift(windows, options.window_s)


def _offset_window(
    metrics: Metrics,
    rows: npt.NDArray[np.float32],
    times: npt.NDArray[np.float64],
    options: ScoreOptions,
) -> OffsetWindow:
    between_frames = subframe_offset(_mean(rows))
    at_edge = abs(metrics.offset) == options.vshift > 0
    return OffsetWindow(
        start_s=float(times[0]),
        end_s=float(times[-1]),
        offset_frames=metrics.offset,
        offset_ms=FRAME_MS * (metrics.offset if between_frames is None else between_frames),
        confidence=metrics.confidence,
        trusted=metrics.confidence >= options.min_confidence and not at_edge,
    )


def _mean(distances: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    mean: npt.NDArray[np.float32] = distances.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean
