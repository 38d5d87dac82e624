"""How well a SyncNet tells the offset: on clips whose sync is known, and on others.

A shift is imposed by cutting: video frames M to T - M stay, and the audio is cut s frames later.
Every shift so sees the same pictures, all of them with sound from the clip itself. As everywhere,
a positive offset means that the audio is ahead of the video.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from syncnet_client.contract import (
    SAMPLES_PER_FRAME,
    WINDOW_FRAMES,
    WINDOW_SAMPLES,
)
from syncnet_client.scoring.curves import subframe_offset
from syncnet_export.network import SyncNet
from syncnet_server import default_model_repository, load_model_module
from syncnet_training.data import audio_windows
from syncnet_training.embedding import best_precision, embed_audio, embed_video, video_windows
from syncnet_training.errors import DatasetError

__all__ = [
    "EvaluationClip",
    "FollowReport",
    "InSyncReport",
    "RealReport",
    "Separation",
    "evaluate_in_sync",
    "evaluate_real",
]

ACCEPTED_PERCENT = (1, 2, 5)  # of wrong pairs

AGREEING = 0.9  # from where on the client trusts an offset

_BATCH_WINDOWS = 32  # video windows embedded at once
_EXACT_ENOUGH = 1  # frames that an offset may be off and still follows


@dataclass(frozen=True)
class EvaluationClip:
    """A clip in memory: frames uint8 [T, 224, 224, 3] RGB at 25 fps, samples int16 at 16 kHz."""

    name: str
    frames: NDArray[np.uint8]
    samples: NDArray[np.int16]

    def cut(self, margin: int, shift: int) -> "EvaluationClip":
        """The clip without `margin` frames at both ends, its audio ahead by `shift` frames."""
        count = min(len(self.frames), len(self.samples) // SAMPLES_PER_FRAME) - 2 * margin
        first = (margin + shift) * SAMPLES_PER_FRAME
        return EvaluationClip(
            self.name,
            self.frames[margin : margin + count],
            self.samples[first : first + count * SAMPLES_PER_FRAME],
        )


@dataclass(frozen=True)
class Separation:
    """How well confidence tells clips in sync from videos with another clip's sound.

    Attributes:
        pairs: wrong pairs, a video with the audio of another clip.
        area: share of all (clip in sync, wrong pair) in which the clip in sync is surer; equal
            confidence counts half. The area under the ROC curve.
        accepted: share of the clips in sync that are accepted by the lowest threshold that accepts
            no more than 1, 2 and 5 % of the wrong pairs.
    """

    pairs: int
    area: float
    accepted: dict[str, float]

    @classmethod
    def of(cls, own: NDArray[np.float64], wrong: NDArray[np.float64]) -> "Separation":
        """Compare the confidence of clips in sync [N] with that of wrong pairs [M]."""
        ordered = np.sort(wrong)
        below = np.searchsorted(ordered, own, "left") + np.searchsorted(ordered, own, "right")
        accepted = {}
        for percent in ACCEPTED_PERCENT:
            allowed = int(len(wrong) * percent / 100)  # wrong pairs that may be accepted
            # Above this one, so that ties do not let more in.
            limit = ordered[len(wrong) - 1 - allowed]
            accepted[f"{percent}%"] = float((own > limit).mean())
        return cls(len(wrong), float(below.mean() / (2 * len(wrong))), accepted)


@dataclass(frozen=True)
class InSyncClip:
    """What came out on one clip that is in sync.

    Attributes:
        name: of the clip.
        shift: imposed, frames.
        offset: found, frames.
        estimate: the offset read between frames; None at the edge of the searched range.
        confidence: with its own audio.
        min_distance: with its own audio.
        agreement: with its own audio.
        wrong_audio_confidence: the highest with the audio of another clip.
        wrong_audio_agreement: the highest with the audio of another clip.
    """

    name: str
    shift: int
    offset: int
    estimate: float | None
    confidence: float
    min_distance: float
    agreement: float
    wrong_audio_confidence: float
    wrong_audio_agreement: float


@dataclass(frozen=True)
class InSyncReport:
    """The result on clips that are in sync; see `evaluate_in_sync`.

    Attributes:
        vshift: frames searched to each side.
        clips: each of them.
        exact: clips whose offset is the imposed shift.
        within_one: clips whose offset is at most one frame off.
        estimate_bias: median of estimate minus shift, frames: where the network takes sync to be.
        estimate_spread: median deviation of that from its median, frames.
        agreeing: share of the clips whose agreement the client trusts.
        wrong_audio_agreeing: share of the wrong pairs whose agreement it would trust.
        separation: against wrong pairs, by confidence.
        agreement_separation: the same by agreement.
    """

    vshift: int
    clips: list[InSyncClip]
    exact: int
    within_one: int
    estimate_bias: float
    estimate_spread: float
    agreeing: float
    wrong_audio_agreeing: float
    separation: Separation
    agreement_separation: Separation

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class FollowReport:
    """Whether the answer on one clip moves with an imposed shift.

    Attributes:
        name: of the clip.
        frames: its length.
        offset: as recorded, frames.
        confidence: as recorded.
        min_distance: as recorded.
        shifts: imposed, frames.
        offsets: found at each shift.
        follows: each is within one frame of `offset` plus the shift.
    """

    name: str
    frames: int
    offset: int
    confidence: float
    min_distance: float
    shifts: list[int]
    offsets: list[int]
    follows: bool


@dataclass(frozen=True)
class RealReport:
    """The result on clips whose offsets nobody knows; see `evaluate_real`.

    Attributes:
        clips: each of them.
        separation: against wrong pairs, by confidence; None for a single clip.
        agreement_separation: the same by agreement.
    """

    clips: list[FollowReport]
    separation: Separation | None
    agreement_separation: Separation | None

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON."""
        return asdict(self)


def evaluate_in_sync(
    network: SyncNet,
    clips: Iterable[EvaluationClip],
    *,
    seed: int = 0,
    max_shift: int = 10,
    vshift: int = 15,
    others: int | None = None,
) -> InSyncReport:
    """Impose a random shift on each clip and find it; then try every clip with all other audio.

    Args:
        network: in eval mode.
        clips: in sync, at least two.
        seed: draws the shifts.
        max_shift: the largest, frames.
        vshift: frames searched to each side.
        others: clips whose audio each video is tried with, drawn at random; all by default.

    Raises:
        DatasetError: fewer than two clips, or they are too short.
    """
    rng = np.random.default_rng(seed)
    shifts, embedded, names = [], [], []
    for clip in clips:
        shift = int(rng.integers(-max_shift, max_shift + 1))
        shifts.append(shift)
        names.append(clip.name)
        embedded.append(_embed(network, clip.cut(max_shift, shift)))
    if len(names) < 2:
        raise DatasetError("an evaluation takes at least two clips")

    own = [_measure(*pair, vshift) for pair in embedded]
    wrong = _swapped(embedded, vshift, others, rng)
    found = [
        InSyncClip(
            name,
            shift,
            m.offset,
            m.estimate,
            m.confidence,
            m.min_distance,
            m.agreement,
            *(float(highest) for highest in row.max(axis=0)),
        )
        for name, shift, m, row in zip(names, shifts, own, wrong, strict=True)
    ]
    errors = np.array([abs(clip.offset - clip.shift) for clip in found])
    between = np.array([c.estimate - c.shift for c in found if c.estimate is not None])
    bias = float(np.median(between)) if len(between) else float("nan")
    return InSyncReport(
        vshift=vshift,
        clips=found,
        exact=int((errors == 0).sum()),
        within_one=int((errors <= 1).sum()),
        estimate_bias=bias,
        estimate_spread=float(np.median(abs(between - bias))) if len(between) else float("nan"),
        agreeing=float(np.mean([m.agreement >= AGREEING for m in own])),
        wrong_audio_agreeing=float((wrong[:, :, 1] >= AGREEING).mean()),
        separation=Separation.of(_column(own, 0), wrong[:, :, 0].ravel()),
        agreement_separation=Separation.of(_column(own, 1), wrong[:, :, 1].ravel()),
    )


def evaluate_real(
    network: SyncNet,
    clips: Iterable[EvaluationClip],
    *,
    shifts: Sequence[int] = range(-5, 6),
    vshift: int = 15,
) -> RealReport:
    """Score each clip as recorded, with its audio shifted, and with the audio of every other clip.

    Args:
        network: in eval mode.
        clips: at least one.
        shifts: imposed, frames.
        vshift: frames searched to each side.

    Raises:
        DatasetError: a clip is too short to be cut.
    """
    margin = max(abs(shift) for shift in shifts)
    reports, embedded, own = [], [], []
    for clip in clips:
        embedded.append(_embed(network, clip))
        recorded = _measure(*embedded[-1], vshift)
        own.append(recorded)
        offsets = [
            _measure(*_embed(network, clip.cut(margin, shift)), vshift).offset for shift in shifts
        ]
        reports.append(
            FollowReport(
                name=clip.name,
                frames=len(clip.frames),
                offset=recorded.offset,
                confidence=recorded.confidence,
                min_distance=recorded.min_distance,
                shifts=list(shifts),
                offsets=offsets,
                follows=all(
                    abs(offset - recorded.offset - shift) <= _EXACT_ENOUGH
                    for offset, shift in zip(offsets, shifts, strict=True)
                ),
            )
        )
    if len(own) < 2:
        return RealReport(reports, None, None)
    wrong = _swapped(embedded, vshift, None, np.random.default_rng(0))
    return RealReport(
        reports,
        Separation.of(_column(own, 0), wrong[:, :, 0].ravel()),
        Separation.of(_column(own, 1), wrong[:, :, 1].ravel()),
    )


Embedded = tuple[NDArray[np.float32], NDArray[np.float32]]


def _swapped(
    embedded: Sequence[Embedded], vshift: int, others: int | None, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Confidence and agreement of each video with the audio of other clips, [N, others, 2]."""
    count = len(embedded) - 1 if others is None else min(others, len(embedded) - 1)
    wrong = np.empty((len(embedded), count, 2))
    for row, (video, _) in enumerate(embedded):
        choices = rng.permutation(np.delete(np.arange(len(embedded)), row))[:count]
        for place, column in enumerate(choices):
            audio = embedded[column][1]
            length = min(len(video), len(audio))
            measured = _measure(video[:length], audio[:length], vshift)
            wrong[row, place] = measured.confidence, measured.agreement
    return wrong


def _column(own: Sequence["_Measured"], which: int) -> NDArray[np.float64]:
    """Confidence (0) or agreement (1) of clips with their own audio."""
    return np.array([(measured.confidence, measured.agreement)[which] for measured in own])


@torch.inference_mode()
def _embed(network: SyncNet, clip: EvaluationClip) -> Embedded:
    """Embeddings of all windows of a clip that have both, float32 [K, 1024] twice."""
    device = next(network.parameters()).device
    audio_count = (len(clip.samples) - WINDOW_SAMPLES) // SAMPLES_PER_FRAME + 1
    count = min(len(clip.frames) - WINDOW_FRAMES + 1, audio_count)
    if count < 1:
        raise DatasetError(f"{clip.name}: too short, {len(clip.frames)} frames")
    bgr = torch.from_numpy(np.ascontiguousarray(clip.frames[..., ::-1]))[None].to(device)
    mfcc = torch.from_numpy(audio_windows(clip.samples, 0, count)).to(device)
    precision = best_precision(device)
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        video = torch.cat(
            [
                embed_video(
                    network,
                    video_windows(
                        bgr[:, first : min(first + _BATCH_WINDOWS, count) + WINDOW_FRAMES - 1]
                    ),
                )
                for first in range(0, count, _BATCH_WINDOWS)
            ]
        )
        audio = embed_audio(network, mfcc)
    return video.cpu().numpy(), audio.cpu().numpy()


class _Measured(NamedTuple):
    """What whole clips are measured by; `estimate` is the offset read between frames."""

    offset: int
    estimate: float | None
    confidence: float
    min_distance: float
    agreement: float


def _measure(video: NDArray[np.float32], audio: NDArray[np.float32], vshift: int) -> _Measured:
    """Measure an embedded clip as the server and the client do."""
    repository = default_model_repository()
    distances = load_model_module(repository, "shift_distance").shift_distances(
        video, audio, vshift, vshift
    )
    metrics = load_model_module(repository, "sync_metrics").sync_metrics(distances)
    estimate = subframe_offset(distances.mean(axis=0, dtype=np.float64))
    return _Measured(
        metrics.offset, estimate, metrics.confidence, metrics.min_distance, metrics.agreement
    )
