"""Prove that exported files are still the network of their checkpoint.

Every file embeds the same inputs as the published PyTorch network. The error of a file is that of
its worst embedding, ``max ||e - r|| / ||r||``. On clips the scores are compared too, since they
are what users read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from syncnet_client.contract import FRAME_SIZE, MFCC_COEFFICIENTS, MFCC_FRAMES, WINDOW_FRAMES
from syncnet_export.network import SyncNet
from syncnet_export.onnx_files import embed, open_session
from syncnet_export.precision import TowerFile
from syncnet_export.serving import VIDEO, TowerSpec

__all__ = [
    "Comparison",
    "EmbeddingCheck",
    "Embeddings",
    "Inputs",
    "compare",
    "published_embeddings",
    "seeded_inputs",
]

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


@dataclass(frozen=True)
class Comparison:
    """The same inputs embedded by the published network and by files.

    Attributes:
        checks: one for each file.
        published: embeddings of the PyTorch network.
        exported: embeddings of a pair of files, by the name of the precision.
    """

    checks: list[EmbeddingCheck]
    published: Embeddings
    exported: dict[str, Embeddings]


@dataclass(frozen=True)
class EmbeddingCheck:
    """How far the embeddings of one file are from those of the published network."""

    file: str
    tower: str
    precision: str
    inputs: str
    relative_error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; NaN is not."""
        return self.relative_error <= self.tolerance


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


def compare(
    files: Sequence[TowerFile], network: SyncNet, name: str, blocks: Iterable[Inputs]
) -> Comparison:
    """Embed inputs with the published network and with pairs of files, block by block.

    Args:
        files: both towers of each precision.
        network: that the files are to be compared with.
        name: of the inputs, for the report.
        blocks: the inputs; embeddings are kept of all of them, frames of one at a time.
    """
    sessions = [(file, open_session(file.path)) for file in files]
    published: list[Embeddings] = []
    outputs: list[list[npt.NDArray[np.float32]]] = [[] for _ in files]
    for inputs in blocks:
        published.append(published_embeddings(network, inputs))
        for (file, session), parts in zip(sessions, outputs, strict=True):
            parts.append(embed(session, file.spec, inputs.of(file.spec)[None])[0])
    reference = Embeddings(
        np.concatenate([part.video for part in published]),
        np.concatenate([part.audio for part in published]),
    )
    checks = []
    pairs: dict[str, dict[str, npt.NDArray[np.float32]]] = {}
    for file, parts in zip(files, outputs, strict=True):
        embeddings = np.concatenate(parts)
        expected = reference.video if file.spec is VIDEO else reference.audio
        checks.append(
            EmbeddingCheck(
                file=file.path.name,
                tower=file.spec.name,
                precision=file.precision.name,
                inputs=name,
                relative_error=_relative_error(embeddings, expected),
                tolerance=file.precision.embedding_tolerance,
            )
        )
        side = "video" if file.spec is VIDEO else "audio"
        pairs.setdefault(file.precision.name, {})[side] = embeddings
    return Comparison(checks, reference, {key: Embeddings(**pair) for key, pair in pairs.items()})


def _relative_error(
    embeddings: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]
) -> float:
    """The largest ``||e - r|| / ||r||`` over the windows; NaN where there is one."""
    error = np.linalg.norm(embeddings - expected, axis=1) / np.linalg.norm(expected, axis=1)
    return float(error.max())
