"""How well a SyncNet tells the offset: on synthetic clips it has never seen, and on real ones.

A shift is imposed by cutting: video frames M to T - M stay, and the audio is cut s frames later.
Every shift so sees the same pictures, all of them with sound from the clip itself. As everywhere,
a positive offset means that the audio is ahead of the video.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from syncnet_client.contract import (
    SAMPLES_PER_FRAME,
    WINDOW_FRAMES,
    WINDOW_SAMPLES,
)
from syncnet_export.network import SyncNet
from syncnet_server import default_model_repository, load_model_module
from syncnet_training.data import audio_windows
from syncnet_training.errors import DatasetError
from syncnet_training.towers import best_precision, embed_audio, embed_video, video_windows

__all__ = [
    "EvaluationClip",
    "FollowReport",
    "SyntheticReport",
    "evaluate_following",
    "evaluate_synthetic",
]

_BATCH_WINDOWS = 32  # video windows embedded at once
AGREEING = 0.9  # from where on the client trusts an offset
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
class SyntheticClip:
    """What came out on one synthetic clip."""

    name: str
    shift: int  # imposed, frames
    offset: int  # found, frames
    confidence: float
    min_distance: float
    agreement: float
    wrong_audio_confidence: float  # the highest with the audio of another clip
    wrong_audio_agreement: float  # the highest with the audio of another clip


@dataclass(frozen=True)
class SyntheticReport:
    """The result on synthetic clips; see `evaluate_synthetic`."""

    vshift: int
    clips: list[SyntheticClip]
    exact: int  # clips whose offset is the imposed shift
    within_one: int
    wrong_audio_pairs: int  # pairs of a video and another clip's audio
    wrong_audio_below_all: float  # share of those with less confidence than every clip in sync
    wrong_audio_below: float  # share of (such pair, clip in sync) with less confidence
    agreeing: float  # share of clips in sync with an agreement of at least 0.9
    wrong_audio_agreeing: float  # share of such pairs with that

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class FollowReport:
    """Whether the answer on one clip moves with an imposed shift."""

    name: str
    frames: int
    offset: int  # as recorded, frames
    confidence: float
    min_distance: float
    shifts: list[int]
    offsets: list[int]  # found at each shift
    follows: bool  # each within one frame of `offset` plus the shift

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON."""
        return asdict(self)


def evaluate_synthetic(
    network: SyncNet,
    clips: Iterable[EvaluationClip],
    *,
    seed: int = 0,
    max_shift: int = 10,
    vshift: int = 15,
    others: int | None = None,
) -> SyntheticReport:
    """Impose a random shift on each clip and find it; then try every clip with other audio.

    Args:
        network: in eval mode.
        clips: in sync, all of one length, at least two.
        seed: draws the shifts, and the others.
        others: how many other clips' audio each clip is tried with; None for all.

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

    own = [_metrics(*pair, vshift) for pair in embedded]
    confidences = np.array([metrics.confidence for metrics in own])
    count = len(own) - 1 if others is None else min(others, len(own) - 1)
    wrong = np.empty((len(own), count, 2))  # confidence and agreement
    for row, (video, _) in enumerate(embedded):
        for place, column in enumerate(
            rng.permutation(np.delete(np.arange(len(own)), row))[:count]
        ):
            metrics = _metrics(video, embedded[column][1], vshift)
            wrong[row, place] = metrics.confidence, metrics.agreement
    pairs = wrong[:, :, 0].ravel()
    errors = np.array([abs(m.offset - s) for m, s in zip(own, shifts, strict=True)])
    return SyntheticReport(
        vshift=vshift,
        clips=[
            SyntheticClip(
                name,
                shift,
                m.offset,
                m.confidence,
                m.min_distance,
                m.agreement,
                *(float(highest) for highest in wrong[row].max(axis=0)),
            )
            for row, (name, shift, m) in enumerate(zip(names, shifts, own, strict=True))
        ],
        exact=int((errors == 0).sum()),
        within_one=int((errors <= 1).sum()),
        wrong_audio_pairs=len(pairs),
        wrong_audio_below_all=float((pairs < confidences.min()).mean()),
        wrong_audio_below=float((pairs[:, None] < confidences).mean()),
        agreeing=float(np.mean([m.agreement >= AGREEING for m in own])),
        wrong_audio_agreeing=float((wrong[:, :, 1] >= AGREEING).mean()),
    )


def evaluate_following(
    network: SyncNet,
    clips: Iterable[EvaluationClip],
    *,
    shifts: Sequence[int] = range(-5, 6),
    vshift: int = 15,
) -> Iterator[FollowReport]:
    """Score each clip as recorded and with its audio shifted.

    Raises:
        DatasetError: a clip is too short to be cut.
    """
    margin = max(abs(shift) for shift in shifts)
    for clip in clips:
        recorded = _metrics(*_embed(network, clip), vshift)
        offsets = [
            _metrics(*_embed(network, clip.cut(margin, shift)), vshift).offset for shift in shifts
        ]
        yield FollowReport(
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


@torch.inference_mode()
def _embed(
    network: SyncNet, clip: EvaluationClip
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
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


def _metrics(video: NDArray[np.float32], audio: NDArray[np.float32], vshift: int) -> Any:
    """`sync_metrics` of whole embedded clips, as the server computes them."""
    repository = default_model_repository()
    distances = load_model_module(repository, "shift_distance").shift_distances(
        video, audio, vshift, vshift
    )
    return load_model_module(repository, "sync_metrics").sync_metrics(distances)
