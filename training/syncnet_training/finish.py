"""From a trained network to weights that serve: distances to scale, and a neutral "no audio".

Two exact changes of the last layers, which leave the order of all distances as it is:

* the learned scale goes into both embeddings, so that distances come out as the training softmax
  saw them, in nats, times two: that puts the confidence of nearly all clips with wrong audio below
  2, which is where clients draw their line for any weights;
* both embeddings are moved by the same vector. That changes no distance between them, but the
  published pipeline stands zero embeddings in for audio outside the clip, and it makes those
  neither closer nor further than audio that is out of sync. (Where zero is closer, short clips
  drift to large offsets.)
"""

import torch
from torch import Tensor

from syncnet_export.network import SyncNet

__all__ = ["DISTANCE_PER_NAT", "finish"]

DISTANCE_PER_NAT = 2.0  # a power of two: exact in any float format


@torch.no_grad()
def finish(network: SyncNet, log_scale: float, video: Tensor, audio: Tensor) -> dict[str, Tensor]:
    """The state dict to publish, float32 on the CPU; `network` stays as it is.

    Args:
        network: trained, in eval mode.
        log_scale: logarithm of the learned scale.
        video: float32 [N, 1024], its embeddings of video windows from many clips.
        audio: float32 [N, 1024], its embeddings of the audio windows that belong to them.
    """
    scale = DISTANCE_PER_NAT * float(torch.tensor(log_scale).exp())
    video, audio = scale * video.double().cpu(), scale * audio.double().cpu()
    shift = _neutral_shift(video, audio)
    state = {key: tensor.detach().cpu().clone() for key, tensor in network.state_dict().items()}
    for head in ("netfclip", "netfcaud"):
        state[f"{head}.3.weight"] *= scale
        state[f"{head}.3.bias"] = state[f"{head}.3.bias"] * scale + shift.float()
    return state


def _neutral_shift(video: Tensor, audio: Tensor) -> Tensor:
    """The vector that puts zero as far from video as audio that is out of sync, float64 [D].

    Out of sync is the audio of any other row. The video is centred and then moved along the
    direction in which it varies least, so that zero is about equally far from all of it.
    """
    count = len(video)
    distances = torch.cdist(video, audio)
    wrong = float((distances.sum() - distances.diagonal().sum()) / (count * (count - 1)))
    centred = video - video.mean(0)
    direction = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, 0]
    direction = direction * direction[direction.abs().argmax()].sign()
    squared = wrong**2 - float(centred.square().sum(1).mean())
    shift: Tensor = direction * max(0.0, squared) ** 0.5 - video.mean(0)
    return shift
