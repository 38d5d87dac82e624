"""What towers are compared on, and what they make of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from syncnet_client.contract import FRAME_SIZE, MFCC_COEFFICIENTS, MFCC_FRAMES, WINDOW_FRAMES
from syncnet_export.network import SyncNet
from syncnet_export.tower_specs import VIDEO, TowerSpec

__all__ = [
    "VERIFICATION_SEED",
    "Embeddings",
    "Inputs",
    "published_embeddings",
    "relative_error",
    "seeded_inputs",
]

VERIFICATION_SEED = 1  # of the inputs that every file is verified on

_WINDOWS_AT_ONCE = 16  # of the PyTorch network, which takes 14 MB for the first layer of each


@dataclass(frozen=True)
class Inputs:
    """Some consecutive windows of video and of audio.

    Attributes:
        frames: uint8 [K+4, 224, 224, 3], RGB.
        mfcc: float32 [A, 13, 20]
    """

    frames: npt.NDArray[np.uint8]
    mfcc: npt.NDArray[np.float32]

    def of(self, spec: TowerSpec) -> npt.NDArray[np.generic]:
        """The input of this tower, without a batch dimension."""
        return self.frames if spec is VIDEO else self.mfcc


@dataclass(frozen=True)
class Embeddings:
    """float32 [K, 1024] of the video and [A, 1024] of the audio."""

    video: npt.NDArray[np.float32]
    audio: npt.NDArray[np.float32]

    def of(self, spec: TowerSpec) -> npt.NDArray[np.float32]:
        """The embeddings from this tower."""
        return self.video if spec is VIDEO else self.audio


def relative_error(embeddings: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    """The largest ``||e - r|| / ||r||`` over the windows; NaN where there is one."""
    error = np.linalg.norm(embeddings - expected, axis=1) / np.linalg.norm(expected, axis=1)
    return float(error.max())


def seeded_inputs(seed: int, windows: int = 8) -> Inputs:
    """Frames and MFCC from a random generator: noise, and noise smoothed to 14 pixel blobs.

    Half the frames have every pixel on its own, half look like out-of-focus images. The MFCC have
    the mean and spread of speech: a log energy, and cepstra around zero.
    """
    generator = np.random.default_rng(seed)
    count = windows + WINDOW_FRAMES - 1
    sharp = count // 2
    noise = generator.integers(0, 256, (sharp, FRAME_SIZE, FRAME_SIZE, 3), dtype=np.uint8)
    coarse = generator.uniform(0, 255, (count - sharp, 3, 16, 16)).astype(np.float32)
    smooth = torch.nn.functional.interpolate(
        torch.from_numpy(coarse), size=(FRAME_SIZE, FRAME_SIZE), mode="bilinear"
    )
    frames = np.concatenate([noise, smooth.permute(0, 2, 3, 1).byte().numpy()])
    mfcc = generator.normal(0, 10, (windows, MFCC_COEFFICIENTS, MFCC_FRAMES))
    mfcc[:, 0] = mfcc[:, 0] / 3 + 15
    return Inputs(frames, mfcc.astype(np.float32))


def published_embeddings(network: SyncNet, inputs: Inputs) -> Embeddings:
    """What the network embeds, in the form it was published in: windows cut out, BGR floats."""
    video: list[npt.NDArray[np.float32]] = []
    audio: list[npt.NDArray[np.float32]] = []
    windows = torch.from_numpy(inputs.frames).unfold(0, WINDOW_FRAMES, 1)  # [K, H, W, RGB, 5]
    mfcc = torch.from_numpy(inputs.mfcc).unsqueeze(1)
    with torch.inference_mode():
        for start in range(0, len(windows), _WINDOWS_AT_ONCE):
            bgr = windows[start : start + _WINDOWS_AT_ONCE].flip(3).permute(0, 3, 4, 1, 2)
            video.append(network.forward_video(bgr.float()).numpy())
        for start in range(0, len(mfcc), _WINDOWS_AT_ONCE):
            part = mfcc[start : start + _WINDOWS_AT_ONCE]
            audio.append(network.forward_audio(part).numpy())
    return Embeddings(np.concatenate(video), np.concatenate(audio))
