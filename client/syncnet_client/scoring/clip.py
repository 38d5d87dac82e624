"""A clip: gather its rows of distances, have them scored, judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from syncnet_client.chunks import Chunker, clip_windows
from syncnet_client.contract import (
    FRAME_MS,
    FRAMES_PER_SECOND,
    MIN_FRAMES,
    SAMPLE_RATE,
    SAMPLES_PER_FRAME,
    WINDOW_FRAMES,
)
from syncnet_client.defaults import MIN_SCORED_WINDOWS
from syncnet_client.errors import ClipTooShortError, NoFaceError
from syncnet_client.faces import Box, Cropper, TrackFrames
from syncnet_client.media import Media
from syncnet_client.scoring.curves import mean_curve, subframe_offset
from syncnet_client.scoring.drift import Drift, Segment, analyse_drift
from syncnet_client.scoring.feed import feed
from syncnet_client.scoring.options import ScoreOptions
from syncnet_client.scoring.result import SyncResult, TrackResult
from syncnet_client.scoring.verdict import Evidence, audible, judge
from syncnet_client.transport.base import ChunkAnswer, SegmentMetrics, Transport

__all__ = ["Progress", "score_media"]

# Clips that follow each other on one connection ask once between them which weights answer.
VERSIONS_MAX_AGE_S = 1.0


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
    """A ``Collector`` that keeps all rows of a clip."""

    def __init__(self) -> None:
        self.tracks: dict[int, _Track] = {}
        self.windows = 0
        self._sound: list[npt.NDArray[np.bool_]] = []

    @property
    def sound(self) -> npt.NDArray[np.bool_]:
        """Whether there is sound in each frame of the clip."""
        return np.concatenate([np.zeros(0, np.bool_), *self._sound])

    def take_samples(self, samples: npt.NDArray[np.int16]) -> None:
        self._sound.append(audible(samples))

    def take_frames(self, event: TrackFrames) -> None:
        track = self.tracks.setdefault(event.track, _Track(event.frames[0].index))
        track.times += [float(frame.time) for frame in event.frames]
        track.boxes += [frame.box for frame in event.frames]
        track.detected += [frame.detected for frame in event.frames]

    def take_answer(self, answer: ChunkAnswer) -> None:
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
    chunker = Chunker(vshift=options.vshift, chunk=options.chunk)
    gathering = _Gathering()
    versions = transport.model_versions(max_age_s=VERSIONS_MAX_AGE_S)
    duration = media.info.duration
    total_frames = None if duration is None else round(duration * FRAMES_PER_SECOND)
    with transport.open_stream() as stream:
        try:
            for _ in feed(media, cropper, chunker, stream, gathering):
                if progress is not None:
                    progress(Progress(chunker.frames, gathering.windows, total_frames))
        except NoFaceError as error:
            _check_length(name, chunker)
            raise NoFaceError(f"{name}: {error}") from error
    _check_length(name, chunker)
    if gathering.windows == 0:
        raise NoFaceError(f"{name}: no face stays in view for {MIN_FRAMES} frames with sound")

    frames, samples = chunker.frames, chunker.samples
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
    tracks.sort(key=lambda t: (t.windows >= MIN_SCORED_WINDOWS, t.confidence), reverse=True)
    return SyncResult(
        clip=name,
        tracks=tuple(tracks),
        frames=frames,
        audio_samples=samples,
        vshift=options.vshift,
        model_versions=versions_after,
        detector=cropper.summary.detector,
        warnings=tuple(warnings),
    )


def _check_length(name: str, clip: Chunker) -> None:
    if clip_windows(clip.frames, clip.samples) < 1:
        raise ClipTooShortError(
            f"{name} is too short: it has {clip.frames} frames of video and "
            f"{clip.samples // SAMPLES_PER_FRAME} of audio at 25 a second, and at least "
            f"{MIN_FRAMES} of both are needed"
        )


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
    segment = round(options.segment_s * FRAMES_PER_SECOND)
    segmented = windows >= 2 * segment
    metrics = transport.measure(distances, "clip", segment_windows=segment if segmented else 0)
    frame_times = np.array(track.times)
    middles = frame_times[WINDOW_FRAMES // 2 :][:windows] + FRAME_MS / 2000
    drift: Drift | None = None
    if segmented:
        segments = [
            _segment(each, slice(each.start, each.start + segment), distances, middles, options)
            for each in metrics.segments
        ]
        drift = analyse_drift(segments, options.segment_s)
    evidence = Evidence.gather(
        metrics,
        vshift=options.vshift,
        sound=sound[track.first_frame : track.first_frame + windows + WINDOW_FRAMES],
        detected=track.detected,
        covered=windows / clip_rows,
        drift=drift,
    )
    return TrackResult(
        track=number,
        first_frame=track.first_frame,
        offset_frames=metrics.offset,
        confidence=metrics.confidence,
        min_distance=metrics.min_distance,
        mean_distances=mean_curve(distances),
        distances=distances,
        frame_confidence=metrics.frame_confidence,
        times=middles,
        frame_times=frame_times,
        boxes=np.array(track.boxes, np.float32),
        detected=np.array(track.detected, np.bool_),
        drift=drift,
        verdict=judge(evidence, options.min_confidence),
    )


def _segment(
    metrics: SegmentMetrics,
    part: slice,
    distances: npt.NDArray[np.float32],
    times: npt.NDArray[np.float64],
    options: ScoreOptions,
) -> Segment:
    between_frames = subframe_offset(mean_curve(distances[part]))
    at_edge = abs(metrics.offset) == options.vshift > 0
    return Segment(
        start_s=float(times[part][0]),
        end_s=float(times[part][-1]),
        offset_frames=metrics.offset,
        offset_ms=FRAME_MS * (metrics.offset if between_frames is None else between_frames),
        confidence=metrics.confidence,
        trusted=metrics.confidence >= options.min_confidence and not at_edge,
    )
