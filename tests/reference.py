"""The published pipeline, written plainly and on its own: what the project's numbers are held to.

It shares no code with the project. MFCC come from python_speech_features, the network runs layer by
layer from the state dict in batches of 20 windows, and every step keeps the order and the
parameters of the published evaluation (Chung & Zisserman, 2016), however slow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import python_speech_features
import torch
import torch.nn.functional as F
from scipy.signal import medfilt
from torch import Tensor

BATCH = 20


@dataclass(frozen=True)
class Evaluation:
    """Everything that the published evaluation computes for one clip."""

    mfcc_frames: int
    min_length: int
    video: np.ndarray  # [windows, 1024]
    audio: np.ndarray  # [windows, 1024]
    distances: np.ndarray  # [windows, 2*vshift+1]
    offset: int
    confidence: float
    min_distance: float
    frame_confidence: np.ndarray  # [windows]
    frame_confidence_filtered: np.ndarray  # [windows]


def mfcc(samples: np.ndarray) -> np.ndarray:
    """MFCC of int16 samples at 16 kHz, [13, frames]."""
    return np.stack(list(zip(*python_speech_features.mfcc(samples, 16000), strict=True)))


def _norm_relu(weights: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.relu(
        F.batch_norm(
            x,
            weights[f"{name}.running_mean"],
            weights[f"{name}.running_var"],
            weights[f"{name}.weight"],
            weights[f"{name}.bias"],
            training=False,
        )
    )


def embed_video(weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Video windows [N, 3, 5, 224, 224], BGR 0-255, to embeddings [N, 1024]."""

    def conv(i: int, x: Tensor, stride: tuple[int, int, int], pad: tuple[int, int, int]) -> Tensor:
        kernel, bias = weights[f"netcnnlip.{i}.weight"], weights[f"netcnnlip.{i}.bias"]
        return _norm_relu(weights, f"netcnnlip.{i + 1}", F.conv3d(x, kernel, bias, stride, pad))

    x = F.max_pool3d(conv(0, x, (1, 2, 2), (0, 0, 0)), (1, 3, 3), (1, 2, 2))
    x = F.max_pool3d(conv(4, x, (1, 2, 2), (0, 1, 1)), (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for i in (8, 11, 14):
        x = conv(i, x, (1, 1, 1), (0, 1, 1))
    x = conv(18, F.max_pool3d(x, (1, 3, 3), (1, 2, 2)), (1, 1, 1), (0, 0, 0))
    return _fully_connected(weights, "netfclip", x)


def embed_audio(weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Audio windows [N, 1, 13, 20] to embeddings [N, 1024]."""

    def conv(i: int, x: Tensor, padding: int) -> Tensor:
        kernel, bias = weights[f"netcnnaud.{i}.weight"], weights[f"netcnnaud.{i}.bias"]
        return _norm_relu(weights, f"netcnnaud.{i + 1}", F.conv2d(x, kernel, bias, 1, padding))

    x = F.max_pool2d(conv(0, x, 1), 1, 1)
    x = F.max_pool2d(conv(4, x, 1), 3, (1, 2))
    for i in (8, 11, 14):
        x = conv(i, x, 1)
    x = conv(18, F.max_pool2d(x, 3, 2), 0)
    return _fully_connected(weights, "netfcaud", x)


def _fully_connected(weights: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    x = F.linear(x.reshape(len(x), -1), weights[f"{name}.0.weight"], weights[f"{name}.0.bias"])
    x = _norm_relu(weights, f"{name}.1", x)
    return F.linear(x, weights[f"{name}.3.weight"], weights[f"{name}.3.bias"])


def calc_pdist(video: Tensor, audio: Tensor, vshift: int) -> Tensor:
    """Distance of every video window to the audio at every shift, [windows, 2*vshift+1]."""
    padded = F.pad(audio, (0, 0, vshift, vshift))
    rows = []
    for i in range(len(video)):
        around = padded[i : i + 2 * vshift + 1]
        rows.append(F.pairwise_distance(video[[i]].repeat(2 * vshift + 1, 1), around, eps=1e-6))
    return torch.stack(rows)


@torch.no_grad()
def evaluate(
    weights: Mapping[str, Tensor], frames_rgb: np.ndarray, samples: np.ndarray, vshift: int
) -> Evaluation:
    """Score a clip of uint8 [T, 224, 224, 3] RGB frames at 25 fps and int16 samples at 16 kHz."""
    images = np.stack(list(frames_rgb[..., ::-1]), axis=3)  # BGR, [224, 224, 3, T]
    video_in = torch.from_numpy(np.transpose(images, (2, 3, 0, 1))[None].astype(np.float32))
    coefficients = mfcc(samples)
    audio_in = torch.from_numpy(coefficients[None, None].astype(np.float32))

    min_length = min(len(frames_rgb), math.floor(len(samples) / 640))
    last_frame = min_length - 5
    video_features, audio_features = [], []
    for i in range(0, last_frame, BATCH):
        batch = range(i, min(last_frame, i + BATCH))
        video_features.append(
            embed_video(weights, torch.cat([video_in[:, :, v : v + 5] for v in batch]))
        )
        audio_features.append(
            embed_audio(weights, torch.cat([audio_in[:, :, :, v * 4 : v * 4 + 20] for v in batch]))
        )
    video, audio = torch.cat(video_features), torch.cat(audio_features)

    distances = calc_pdist(video, audio, vshift)
    mean = distances.mean(dim=0)
    minimum, index = torch.min(mean, 0)
    frame_confidence = torch.median(mean).numpy() - distances[:, index].numpy()
    return Evaluation(
        mfcc_frames=coefficients.shape[1],
        min_length=min_length,
        video=video.numpy(),
        audio=audio.numpy(),
        distances=distances.numpy(),
        offset=int(vshift - index),
        confidence=float(torch.median(mean) - minimum),
        min_distance=float(minimum),
        frame_confidence=frame_confidence,
        frame_confidence_filtered=medfilt(frame_confidence, kernel_size=9),
    )
