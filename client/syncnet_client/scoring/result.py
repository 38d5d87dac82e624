"""What is known about a clip after it was scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from syncnet_client.contract import FRAME_MS, FRAMES_PER_SECOND
from syncnet_client.scoring.curves import (
    DECIMALS,
    median_filter,
    subframe_offset,
)
from syncnet_client.scoring.drift import Drift
from syncnet_client.scoring.protocols import Lse, Protocol
from syncnet_client.scoring.verdict import UNKNOWN_WEIGHTS, Verdict, headline, meaning
from syncnet_client.transport.base import Weights

__all__ = ["ClipAnswer", "SyncResult", "TrackResult"]


class _Measured:
    """What follows from an offset, its mean distances and its verdict."""

    offset_frames: int
    offset_interval: tuple[float, float]
    agreement: float
    confidence: float
    min_distance: float
    mean_distances: npt.NDArray[np.float32]
    verdict: Verdict

    @property
    def offset_ms(self) -> int:
        """The offset in milliseconds; positive when the audio is ahead of the video."""
        return self.offset_frames * FRAME_MS

    @property
    def offset_interval_ms(self) -> tuple[float, float]:
        """The interval of the offset in milliseconds."""
        low, high = self.offset_interval
        return low * FRAME_MS, high * FRAME_MS

    @property
    def estimate_ms(self) -> float | None:
        """The offset read between whole frames; None at the edge of the searched range."""
        frames = subframe_offset(self.mean_distances)
        return None if frames is None else frames * FRAME_MS

    @property
    def meaning(self) -> str:
        """The offset in words, or that it is unknown."""
        return meaning(self.offset_ms, self.verdict.trusted)

    def measured(self) -> dict[str, Any]:
        """All this in types that JSON knows."""
        estimate = self.estimate_ms
        return {
            "offset_frames": self.offset_frames,
            "offset_ms": self.offset_ms,
            "offset_interval_ms": [round(end, 1) for end in self.offset_interval_ms],
            "meaning": self.meaning,
            "estimate_ms": None if estimate is None else round(estimate, 1),
            "agreement": round(self.agreement, DECIMALS),
            "confidence": round(self.confidence, DECIMALS),
            "min_distance": round(self.min_distance, DECIMALS),
            "verdict": self.verdict.to_dict(),
            "mean_distances": _rounded(self.mean_distances),
        }


@dataclass(frozen=True, eq=False)
class ClipAnswer(_Measured):
    """What the faces of a clip say together.

    Attributes:
        offset_frames, offset_interval, agreement, confidence, min_distance, mean_distances: as of
            a track, over all tracks; the draws are over faces, too.
        verdict: whether to trust the offset.
        track_weights: how much each track says, by its number; the sum is 1.
    """

    offset_frames: int
    offset_interval: tuple[float, float]
    agreement: float
    confidence: float
    min_distance: float
    mean_distances: npt.NDArray[np.float32]
    verdict: Verdict
    track_weights: Mapping[int, float]


@dataclass(frozen=True, eq=False)
class TrackResult(_Measured):
    """The score of one face.

    K is the number of windows: window k shows the track's frames k..k+4.

    Attributes:
        track: number of the track, in the order of appearance.
        first_frame: index of its first frame in the clip, at 25 a second.
        offset_frames: positive when the audio is ahead of the video.
        offset_interval: in frames, read between whole ones; 95 % of the draws lie in it.
        agreement: share of the draws that give the offset to within a frame, 0 to 1.
        confidence: median minus minimum of the mean distances.
        min_distance: minimum of the mean distances.
        mean_distances: float32 [2*vshift+1], mean over all windows at shifts -vshift..vshift.
        distances: float32 [K, 2*vshift+1], what all the above is computed from.
        frame_confidence: float32 [K], confidence of each window.
        times: float64 [K], middle of each window in seconds on the source's clock.
        frame_times: float64 [frames], time stamp of each frame of the track on that clock.
        boxes: float32 [frames, 4], what was cut out: x, y, width, height in source pixels.
        detected: bool [frames], whether the detector saw the face there or it was interpolated.
        drift: how the offset develops; None for clips of less than two segments.
        verdict: whether to trust the offset.
    """

    track: int
    first_frame: int
    offset_frames: int
    offset_interval: tuple[float, float]
    agreement: float
    confidence: float
    min_distance: float
    mean_distances: npt.NDArray[np.float32]
    distances: npt.NDArray[np.float32]
    frame_confidence: npt.NDArray[np.float32]
    times: npt.NDArray[np.float64]
    frame_times: npt.NDArray[np.float64]
    boxes: npt.NDArray[np.float32]
    detected: npt.NDArray[np.bool_]
    drift: Drift | None
    verdict: Verdict

    @property
    def windows(self) -> int:
        """K, the number of windows scored."""
        return len(self.distances)

    @property
    def frame_confidence_median(self) -> npt.NDArray[np.float32]:
        """``frame_confidence``, smoothed by the published median over 9 windows."""
        return median_filter(self.frame_confidence)

    def to_dict(self) -> dict[str, Any]:
        """All but the raw distances and the boxes, in types that JSON knows."""
        return {
            "track": self.track,
            "first_frame": self.first_frame,
            "track_frames": len(self.frame_times),
            "start_s": round(float(self.frame_times[0]), 3),
            "end_s": round(float(self.frame_times[-1]) + FRAME_MS / 1000, 3),
            "box": [round(float(value)) for value in np.median(self.boxes, axis=0)],
            "detected": round(float(self.detected.mean()), 3),
            "windows": self.windows,
            **self.measured(),
            "times": _rounded(self.times),
            "frame_confidence": _rounded(self.frame_confidence),
            "frame_confidence_median": _rounded(self.frame_confidence_median),
            "drift": None if self.drift is None else self.drift.to_dict(),
        }


@dataclass(frozen=True, eq=False)
class SyncResult:
    """The score of a clip. Its offset, agreement, verdict and so on are those of the whole clip.

    Attributes:
        clip: where it came from.
        tracks: every face that could be scored, the speaker (highest agreement) first.
        frames: of the clip, at 25 a second.
        audio_samples: of the clip, at 16 kHz.
        vshift: frames searched to each side.
        model_versions: versions of the weights that answered, by model.
        warnings: sentences about the clip or the way it was scored.
        detector: name of what found the faces; None where none was looked for.
        protocol: the score protocol; None outside of any.
        lossy: pictures and sound went through the files of the protocol's script.
        several: what the faces say together; None where there is one, which then says it all.
        weights: what the server says its weights are.
    """

    clip: str
    tracks: tuple[TrackResult, ...]
    frames: int
    audio_samples: int
    vshift: int
    model_versions: Mapping[str, str]
    warnings: tuple[str, ...] = field(default=())
    detector: str | None = None
    protocol: Protocol | None = None
    lossy: bool = False
    several: ClipAnswer | None = None
    weights: Weights = UNKNOWN_WEIGHTS

    @property
    def lse(self) -> Lse | None:
        """LSE-D, LSE-C and the offset as the protocol has them; None outside of any."""
        return None if self.protocol is None else self.protocol.of_clip(self.tracks)

    @property
    def speaker(self) -> TrackResult:
        """The track with the highest agreement."""
        return self.tracks[0]

    @property
    def answer(self) -> ClipAnswer:
        """What the clip says: what its faces say together."""
        speaker = self.speaker
        return self.several or ClipAnswer(
            offset_frames=speaker.offset_frames,
            offset_interval=speaker.offset_interval,
            agreement=speaker.agreement,
            confidence=speaker.confidence,
            min_distance=speaker.min_distance,
            mean_distances=speaker.mean_distances,
            verdict=speaker.verdict,
            track_weights={speaker.track: 1.0},
        )

    @property
    def offset_frames(self) -> int:
        """The clip's offset; positive when the audio is ahead of the video."""
        return self.answer.offset_frames

    @property
    def offset_ms(self) -> int:
        """The clip's offset in milliseconds."""
        return self.answer.offset_ms

    @property
    def agreement(self) -> float:
        """The clip's agreement."""
        return self.answer.agreement

    @property
    def confidence(self) -> float:
        """The clip's confidence."""
        return self.answer.confidence

    @property
    def min_distance(self) -> float:
        """The clip's minimum distance."""
        return self.answer.min_distance

    @property
    def verdict(self) -> Verdict:
        """Whether to trust the clip's offset."""
        return self.answer.verdict

    @property
    def meaning(self) -> str:
        """The clip's offset in words with the known error of the weights, or that it is unknown."""
        return meaning(self.offset_ms, self.verdict.trusted, self.weights)

    @property
    def headline(self) -> str:
        """The meaning, the agreement, the confidence and the verdict, in one line."""
        return headline(self.meaning, self.agreement, self.confidence, self.verdict.trusted)

    @property
    def duration_s(self) -> float:
        """Length of the clip's picture in seconds."""
        return self.frames / FRAMES_PER_SECOND

    def to_dict(self) -> dict[str, Any]:
        """The object that ``--json`` prints, in types that JSON knows; see docs/json.md."""
        speaker = self.speaker
        return {
            "clip": self.clip,
            **speaker.to_dict(),
            **self.answer.measured(),
            "meaning": self.meaning,
            "speaker": {
                "track": speaker.track,
                "offset_frames": speaker.offset_frames,
                "agreement": round(speaker.agreement, DECIMALS),
                "confidence": round(speaker.confidence, DECIMALS),
                "verdict": speaker.verdict.to_dict(),
            },
            "track_weights": [
                round(self.answer.track_weights.get(track.track, 0.0), DECIMALS)
                for track in self.tracks
            ],
            "weights": asdict(self.weights),
            "frames": self.frames,
            "audio_samples": self.audio_samples,
            "vshift": self.vshift,
            "model_versions": dict(self.model_versions),
            "detector": self.detector,
            **self._protocol_to_dict(),
            "warnings": list(self.warnings),
            "other_tracks": [track.to_dict() for track in self.tracks[1:]],
        }

    def _protocol_to_dict(self) -> dict[str, Any]:
        lse = self.lse
        if self.protocol is None or lse is None:
            return {"protocol": None}
        return {
            "protocol": self.protocol.name,
            "lossy": self.lossy,
            "protocol_offset_frames": lse.offset_frames,
            "lse_d": round(lse.lse_d, DECIMALS),
            "lse_c": round(lse.lse_c, DECIMALS),
            "track_lse": [
                {
                    "offset_frames": each.offset_frames,
                    "lse_d": round(each.min_distance, DECIMALS),
                    "lse_c": round(each.confidence, DECIMALS),
                }
                for each in self.tracks
            ],
        }


def _rounded(values: npt.NDArray[np.floating[Any]]) -> list[float]:
    return [round(float(value), DECIMALS) for value in values]
