"""The training objective: of all times, pick the one that belongs together.

For every video window the audio windows of the same clip are the choices, of which one is in sync;
the negative scaled L2 distances are the logits of a softmax. The same the other way round. Choices
40 ms apart make the network precise, choices further away make it robust. (Chung et al., "Perfect
match", 2019, trains this way instead of with the pairs of the first SyncNet paper.)
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["SyncLoss", "jaw_loss", "pairwise_distances", "sync_loss"]


class SyncLoss(NamedTuple):
    """What `sync_loss` finds in one batch; scalars, still on the device."""

    total: Tensor
    in_clip: Tensor  # cross-entropy of the choice of audio within the clip, nats
    jaw: Tensor  # mean squared error of both jaw predictions, in variances
    accuracy: Tensor  # share of video windows whose closest audio in the clip is the right one


def pairwise_distances(left: Tensor, right: Tensor) -> Tensor:
    """L2 distances of all pairs, float32 [..., N, M] for [..., N, D] and [..., M, D].

    Written with one matrix product; the floor keeps the gradient of the root finite.
    """
    squares = (
        left.square().sum(-1)[..., :, None]
        + right.square().sum(-1)[..., None, :]
        - 2 * left @ right.transpose(-1, -2)
    )
    return squares.clamp(min=1e-4).sqrt()


def sync_loss(
    video: Tensor,
    audio: Tensor,
    targets: Tensor,
    log_scale: Tensor,
    across_weight: float,
) -> SyncLoss:
    """In-clip contrast in both directions, and against the audio of all clips of the batch.

    Args:
        video: [C, T, D], T windows of each of C clips.
        audio: [C, A, D], the windows of the clip's audio to choose from.
        targets: int64 [C, T], the index in A of the audio that is in sync.
        log_scale: scalar; its exponential multiplies distances into logits.
        across_weight: weight of the choice among the audio of all clips.
    """
    clips, windows, size = video.shape
    choices = audio.shape[1]
    logits = -log_scale.exp() * pairwise_distances(video, audio)  # [C, T, A]
    in_clip = F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    # The other way round: the audio that is in sync with some video window chooses among those.
    matched = logits.gather(2, targets[:, None, :].expand(clips, windows, windows))
    diagonal = torch.arange(windows, device=video.device).expand(clips, windows)
    reverse = F.cross_entropy(matched.transpose(1, 2).flatten(0, 1), diagonal.flatten())

    total = in_clip + reverse
    if across_weight:
        everything = pairwise_distances(video.reshape(-1, size), audio.reshape(-1, size))
        first_choice = choices * torch.arange(clips, device=video.device)[:, None]
        across = F.cross_entropy(-log_scale.exp() * everything, (targets + first_choice).flatten())
        total = total + across_weight * across
    accuracy = (logits.argmax(-1) == targets).float().mean()
    return SyncLoss(total, in_clip.detach(), torch.zeros_like(total), accuracy)


def jaw_loss(predicted: Tensor, jaw: Tensor) -> Tensor:
    """Mean squared error in units of the batch's variance; 0 where no opening is known.

    Args:
        predicted: [N, 5]
        jaw: [N, 5], NaN where unknown.
    """
    known = ~jaw.isnan()
    jaw = torch.where(known, jaw, 0.0)
    count = known.sum().clamp(min=1)
    mean = jaw.sum() / count
    variance = (known * (jaw - mean).square()).sum() / count
    target = (jaw - mean) / (variance + 1e-6).sqrt()
    return (known * (predicted - target).square()).sum() / count
