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
from syncnet_client.faces.lossy import LossyCropper
from syncnet_client.faces.published import PublishedCropper, TrackRules, WholeFrameCropper
from syncnet_client.media.conversion import Conversion, repeat_and_drop, skip_and_drop
from syncnet_client.media.lossy import Losses
from syncnet_client.media.recoding import Coding

__all__ = [
    "PROTOCOLS",
    "Lse",
    "Protocol",
    "Scored",
    "TrackRules",
    "find_protocol",
    "protocol_cropper",
    "with_losses",
]

# Of a median over 31 shifts, in all scripts.
PUBLISHED_VSHIFT = 15

# FFmpeg's -qscale:v 2, in units of FF_QP2LAMBDA.
_QSCALE_2 = (("flags", "+qscale"), ("global_quality", str(2 * 118)))
_JPEG_QSCALE_2 = Coding(codec="mjpeg", pixels="yuvj420p", options=_QSCALE_2)
# Without -qscale, FFmpeg's 200 kbit/s hold for JPEG, too.
_JPEG = Coding(codec="mjpeg", pixels="yuvj420p")
# What OpenCV's VideoWriter asks of FFmpeg for XVID and mp4v: 1.5 x 64 bits for each of the 224x224
# pixels and 25 frames, which is more than qmin lets it spend.
_OPENCV_MPEG4 = Coding(
    codec="mpeg4", options=(("b", str(96 * 25 * 224 * 224)), ("qmin", "3"), ("g", "12"))
)
# Joined in AVI; the sound is that of libmp3lame, whose delay stays in.
_AVI = Losses(
    conversion=Conversion(
        suffix=".avi",
        picture=Coding(codec="mpeg4", options=_QSCALE_2),
        sound="libmp3lame",
        rule=skip_and_drop,
    ),
    frames=_JPEG_QSCALE_2,
    crops=_OPENCV_MPEG4,
    crop_frames=_JPEG,
)
# In MP4, -qscale:v means nothing to the encoder, and time stamps stay.
_MP4 = Losses(
    conversion=Conversion(
        suffix=".mp4", picture=Coding(codec="libx264"), sound="aac", rule=repeat_and_drop
    ),
    frames=_JPEG_QSCALE_2,
    crops=_OPENCV_MPEG4,
    crop_frames=_JPEG,
)
_NO_CONVERSION = Losses(frames=_JPEG)


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
        losses: the files in between, which ``lossy`` puts in.
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
    losses: Losses

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
    losses=_NO_CONVERSION,
)
SYNCNET = Protocol(
    name="syncnet",
    source="syncnet_python, run_pipeline.py and run_syncnet.py",
    tracks=TrackRules(),
    decimals=3,
    losses=_AVI,
)
WAV2LIP_LRS = Protocol(
    name="wav2lip-lrs",
    source="Wav2Lip, evaluation/scores_LSE/calculate_scores_LRS.py",
    every_frame=True,
    losses=_NO_CONVERSION,
)
WAV2LIP_REAL = Protocol(
    name="wav2lip-real",
    source="Wav2Lip, evaluation/scores_LSE/calculate_scores_real_videos.py",
    tracks=TrackRules(),
    losses=_AVI,
)
LATENTSYNC = Protocol(
    name="latentsync",
    source="LatentSync, eval/eval_sync_conf.py",
    tracks=TrackRules(detections_above=50),
    of_tracks="mean",
    decimals=2,
    losses=_MP4,
)
MOCHA = Protocol(
    name="mocha",
    source="MoChaBench, eval-lipsync",
    tracks=TrackRules(detections_above=50, low_overlap_ends=True),
    of_tracks="best",
    separate_speech=True,
    losses=_AVI,
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
    protocol: Protocol,
    detector: DetectorName | None,
    yunet: str | Path | None,
    *,
    lossy: bool = False,
) -> Cropper:
    """Make what takes the faces, or the frames as they are, out of one clip.

    Args:
        protocol: what decides.
        detector: what finds faces; as of ``make_cropper``.
        yunet: ONNX file of YuNet; as of ``make_cropper``.
        lossy: crops go through the files that the script keeps them in.

    Raises:
        UsageError: the detector is not one of those, or its file is missing.
    """
    if protocol.tracks is None:
        return WholeFrameCropper(must_fit=protocol.only_face_crops)
    cropper = PublishedCropper(detector_maker(detector, yunet)(), protocol.tracks)
    return with_losses(cropper, protocol.losses) if lossy else cropper


def with_losses(cropper: Cropper, losses: Losses) -> Cropper:
    """Put the files of the faces behind a cropper, where there are any."""
    if losses.crops is None or losses.crop_frames is None:
        return cropper
    return LossyCropper(cropper, losses.crops, losses.crop_frames)
