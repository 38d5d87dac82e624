"""Score protocols: what the scripts do whose numbers stand in papers, as data.

LSE-D and LSE-C are the minimum and the median minus the minimum of the mean distances. Both depend
on what is scored: how many shifts are searched, which frames, which faces, which sound. So they
have these names only where a protocol says all of that. Everything else is common to all scripts:
BGR pixels of 0 to 255, the MFCC of ``python_speech_features``, L2 distances with 1e-6 added to
every difference, zero embeddings beyond the ends of what is scored, means over
``min(frames, samples // 640) - 5`` windows, and no rule about where the minimum may lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal, NamedTuple
from typing import Protocol as Interface

from syncnet_client.errors import UsageError
from syncnet_client.faces import Cropper, DetectorName, detector_maker
from syncnet_client.faces.published import PublishedCropper, TrackRules, WholeFrameCropper

__all__ = [
    "PROTOCOLS",
    "Lse",
    "Protocol",
    "Scored",
    "TrackRules",
    "find_protocol",
    "protocol_cropper",
]

# Of a median over 31 shifts, in all scripts.
PUBLISHED_VSHIFT = 15


class Lse(NamedTuple):
    """What a protocol makes of a clip.

    Attributes:
        offset_frames: positive when the audio is ahead of the video.
        lse_d: lip-sync error, distance.
        lse_c: lip-sync error, confidence.
    """

    offset_frames: int
    lse_d: float
    lse_c: float


class Scored(Interface):
    """What is known of a track."""

    @property
    def offset_frames(self) -> int:
        """Positive when the audio is ahead of the video."""

    @property
    def min_distance(self) -> float:
        """Minimum of its mean distances."""

    @property
    def confidence(self) -> float:
        """Median minus minimum of its mean distances."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How one published script scores a clip.

    Attributes:
        name: as on the command line.
        source: the script.
        vshift: frames searched to each side.
        every_frame: the frames are those of the file, taken for 25 a second whatever their rate
            is; otherwise the clip is sampled at 25 a second.
        tracks: rules for face tracks, each scored by itself with its sound cut to it; None to take
            the whole frame.
        only_face_crops: frames must have 224x224 pixels.
        of_tracks: what the clip's numbers are. ``"each"``: every track has its own, and a line of
            its own in statistics; the clip's are those of the track with the highest confidence.
            ``"mean"``: means over the tracks, the offset cut to a whole number. ``"best"``: the
            highest confidence and the lowest distance, each by itself.
        separate_speech: the speech comes from a file of its own.
        decimals: with which the script prints; None for all.
    """

    name: str
    source: str
    vshift: int = PUBLISHED_VSHIFT
    every_frame: bool = False
    tracks: TrackRules | None = None
    only_face_crops: bool = False
    of_tracks: Literal["each", "mean", "best"] = "each"
    separate_speech: bool = False
    decimals: int | None = None

    def of_clip(self, tracks: Sequence[Scored]) -> Lse:
        """The clip's numbers.

        Args:
            tracks: at least one.
        """
        if self.of_tracks == "mean":
            return Lse(
                int(fmean(track.offset_frames for track in tracks)),
                fmean(track.min_distance for track in tracks),
                fmean(track.confidence for track in tracks),
            )
        surest = max(tracks, key=lambda track: track.confidence)
        distance = surest.min_distance
        if self.of_tracks == "best":
            distance = min(track.min_distance for track in tracks)
        return Lse(surest.offset_frames, distance, surest.confidence)

    def printed(self, value: float) -> str:
        """A number with the decimals of the script."""
        return str(value) if self.decimals is None else f"{value:.{self.decimals}f}"


SYNCNET_DEMO = Protocol(
    name="syncnet-demo",
    source="syncnet_python, demo_syncnet.py",
    every_frame=True,
    only_face_crops=True,
    decimals=3,
)
SYNCNET = Protocol(
    name="syncnet",
    source="syncnet_python, run_pipeline.py and run_syncnet.py",
    tracks=TrackRules(),
    decimals=3,
)
WAV2LIP_LRS = Protocol(
    name="wav2lip-lrs",
    source="Wav2Lip, evaluation/scores_LSE/calculate_scores_LRS.py",
    every_frame=True,
)
WAV2LIP_REAL = Protocol(
    name="wav2lip-real",
    source="Wav2Lip, evaluation/scores_LSE/calculate_scores_real_videos.py",
    tracks=TrackRules(),
)
LATENTSYNC = Protocol(
    name="latentsync",
    source="LatentSync, eval/eval_sync_conf.py",
    tracks=TrackRules(detections_above=50),
    of_tracks="mean",
    decimals=2,
)
MOCHA = Protocol(
    name="mocha",
    source="MoChaBench, eval-lipsync",
    tracks=TrackRules(detections_above=50, low_overlap_ends=True),
    of_tracks="best",
    separate_speech=True,
)

PROTOCOLS: dict[str, Protocol] = {
    each.name: each
    for each in (SYNCNET_DEMO, SYNCNET, WAV2LIP_LRS, WAV2LIP_REAL, LATENTSYNC, MOCHA)
}


def find_protocol(name: str) -> Protocol:
    """Return the protocol of that name.

    Raises:
        UsageError: there is none.
    """
    try:
        return PROTOCOLS[name]
    except KeyError:
        known = ", ".join(PROTOCOLS)
        raise UsageError(f"there is no protocol {name!r}; there are {known}") from None


def protocol_cropper(
    protocol: Protocol, detector: DetectorName | None, yunet: str | Path | None
) -> Cropper:
    """Make what takes the faces, or the frames as they are, out of one clip.

    Args:
        protocol: what decides.
        detector: what finds faces; as of ``make_cropper``.
        yunet: ONNX file of YuNet; as of ``make_cropper``.

    Raises:
        UsageError: the detector is not one of those, or its file is missing.
    """
    if protocol.tracks is None:
        return WholeFrameCropper(must_fit=protocol.only_face_crops)
    return PublishedCropper(detector_maker(detector, yunet)(), protocol.tracks)
