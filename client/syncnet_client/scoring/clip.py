"""A clip: gather its rows of distances, have them scored, judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    SYNCNET,
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
from syncnet_client.scoring.result import ClipAnswer, SyncResult, TrackResult
from syncnet_client.scoring.verdict import Evidence, audible, judge
from syncnet_client.transport.base import ChunkAnswer, SegmentMetrics, Transport

__all__ = ["Progress", "score_media"]

# A face speaks for the clip if it agrees with itself more often than not, and with the clip.
SPEAKS_FROM = 0.5
# A face that contradicts the others counts if so much of the answer rests on it.
COUNTS_FROM = 0.1

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
    """What is known of one face so far."""

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
    protocol = options.rules
    chunker = Chunker(
        vshift=options.vshift,
        chunk=options.chunk,
        cut_sound=protocol is not None and protocol.tracks is not None,
    )
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
    seen = {
        number: track
        for number, track in gathering.tracks.items()
        if track.rows and number not in cropper.summary.dropped
    }
    tracks = [
        _measure(transport, options, number, track, sound, clip_rows, alone=len(seen) == 1)
        for number, track in seen.items()
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
    tracks.sort(key=_how_sure, reverse=True)
    return SyncResult(
        clip=name,
        tracks=tuple(tracks),
        frames=frames,
        audio_samples=samples,
        vshift=options.vshift,
        model_versions=versions_after,
        detector=cropper.summary.detector,
        warnings=tuple(warnings),
        several=_answer(transport, options, tracks, sound, clip_rows) if len(tracks) > 1 else None,
        weights=transport.weights(versions_after[SYNCNET.video_tower]),
        protocol=protocol,
        lossy=options.lossy,
    )


def _how_sure(track: TrackResult) -> tuple[bool, float, float]:
    return track.windows >= MIN_SCORED_WINDOWS, track.agreement, track.confidence


def _check_length(name: str, clip: Chunker) -> None:
    if clip_windows(clip.frames, clip.samples) < 1:
        raise ClipTooShortError(
            f"{name} is too short: it has {clip.frames} frames of video and "
            f"{clip.samples // SAMPLES_PER_FRAME} of audio at 25 a second, and at least "
            f"{MIN_FRAMES} of both are needed"
        )


def _length_warning(frames: int, samples: int) -> list[str]:
    audio_frames = samples // SAMPLES_PER_FRAME
    if abs(frames - audio_frames) < WINDOW_FRAMES:  # encoders round to blocks of sound
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
    *,
    alone: bool,
) -> TrackResult:
    distances = track.distances()
    windows = len(distances)
    segment = round(options.segment_s * FRAMES_PER_SECOND)
    segmented = windows >= 2 * segment
    metrics = transport.measure(
        distances, "clip" if alone else "track", segment_windows=segment if segmented else 0
    )
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
        offset_interval=metrics.offset_interval,
        agreement=metrics.agreement,
        confidence=metrics.confidence,
        min_distance=metrics.min_distance,
        mean_distances=metrics.mean_distances,
        distances=distances,
        frame_confidence=metrics.frame_confidence,
        times=middles,
        frame_times=frame_times,
        boxes=np.array(track.boxes, np.float32),
        detected=np.array(track.detected, np.bool_),
        drift=drift,
        verdict=judge(evidence, options.min_agreement, options.min_confidence),
    )


def _answer(
    transport: Transport,
    options: ScoreOptions,
    tracks: Sequence[TrackResult],
    sound: npt.NDArray[np.bool_],
    clip_rows: int,
) -> ClipAnswer:
    """What several faces say together; `tracks` has the speaker first."""
    owners = np.repeat(
        np.array([each.track for each in tracks], np.int32), [each.windows for each in tracks]
    )
    rows = np.concatenate([each.distances for each in tracks])
    metrics = transport.measure(rows, "clip", tracks=owners)
    numbers = sorted(each.track for each in tracks)
    weights = dict(zip(numbers, metrics.track_weights, strict=True))

    speaking = [
        each
        for each in tracks
        if each.agreement >= SPEAKS_FROM and abs(each.offset_frames - metrics.offset) <= 1
    ] or [tracks[0]]
    in_view = np.zeros(clip_rows, np.bool_)
    for each in speaking:
        in_view[each.first_frame : each.first_frame + each.windows] = True
    contradicting = [
        each
        for each in tracks
        if each.agreement >= options.min_agreement
        and each.windows >= MIN_SCORED_WINDOWS
        and weights[each.track] >= COUNTS_FROM
        and abs(each.offset_frames - metrics.offset) > 1
    ]
    evidence = Evidence(
        offset=metrics.offset,
        vshift=options.vshift,
        agreement=metrics.agreement,
        confidence=metrics.confidence,
        windows=int(in_view.sum()),
        audible=float(sound[:clip_rows][in_view[: len(sound)]].mean()),
        detected=float(np.concatenate([each.detected for each in speaking]).mean()),
        covered=float(in_view.mean()),
        drift=next((each.drift for each in speaking if each.drift and each.drift.changes), None),
        contradiction=_contradiction([*contradicting, *speaking]) if contradicting else "",
    )
    return ClipAnswer(
        offset_frames=metrics.offset,
        offset_interval=metrics.offset_interval,
        agreement=metrics.agreement,
        confidence=metrics.confidence,
        min_distance=metrics.min_distance,
        mean_distances=metrics.mean_distances,
        verdict=judge(evidence, options.min_agreement, options.min_confidence),
        track_weights=weights,
    )


def _contradiction(tracks: Sequence[TrackResult]) -> str:
    """As in "the faces differ: +0 ms from 0.0 to 4.1 s, +200 ms from 4.1 to 9.0 s"."""
    told = [
        f"{each.offset_ms:+d} ms from {each.frame_times[0]:.1f} to {each.frame_times[-1]:.1f} s"
        for each in sorted(tracks, key=lambda track: track.first_frame)
    ]
    return f"the faces differ: {', '.join(told)}"


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
        agreement=metrics.agreement,
        trusted=(
            metrics.agreement >= options.min_agreement
            and metrics.confidence >= options.min_confidence
            and not at_edge
        ),
    )
