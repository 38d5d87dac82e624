"""What the benchmarks score with: full-size towers of seeded random weights, and clips."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from safetensors.torch import save_file

from syncnet_client.contract import FRAME_SIZE, FRAMES_PER_SECOND, SAMPLE_RATE
from syncnet_client.media import open_media
from syncnet_export import build
from syncnet_export.network import random_checkpoint
from syncnet_server import Server, default_model_repository
from syncnet_server.processor import has_amx

SAMPLE = Path(__file__).parents[1] / "samples" / "talking-head.mp4"

# The clip of the published walk-through: 36 s, whose audio ends 24 ms before its video.
CLIP_FRAMES, CLIP_SAMPLES = 900, 575_616


# Relative error of a mean distance to that of the fp32 network in PyTorch.
DISTANCE_TOLERANCES = {"fp32": 1e-4, "int8": 3e-2, "int8-amx": 3e-2}

# The precisions that this machine serves on its processors, and the one that is fastest here.
PRECISIONS = ("fp32", "int8", "int8-amx") if has_amx() else ("fp32", "int8")
FASTEST = PRECISIONS[-1]

Clip = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int16]]  # frames RGB at 25 fps, 16 kHz mono


@dataclass(frozen=True)
class FullSize:
    """A model repository with towers as large as the published ones, in `PRECISIONS`."""

    model_repository: Path
    weights: Path
    checkpoint_sha256: str


def full_size(folder: Path, precisions: tuple[str, ...] = PRECISIONS) -> FullSize:
    """Export seeded random weights of the published layout into a copy of the repository."""
    weights = folder / "random.safetensors"
    save_file(random_checkpoint(seed=0), weights)
    repository = copy_repository(folder)
    built = build(weights, model_repository=repository, version=1, precisions=precisions)
    return FullSize(repository, weights, built.checkpoint_sha256)


def serve(towers: FullSize, precision: str) -> Server:
    """A server for one of `PRECISIONS`, to be started."""
    profile = "default" if precision == "fp32" else precision
    return Server(towers.model_repository, profile=profile)


def copy_repository(folder: Path) -> Path:
    """Copy the model repository into a folder, without the towers."""
    repository = folder / "model_repository"
    shutil.copytree(default_model_repository(), repository, ignore=_exported_towers)
    return repository


def write_clip(path: Path, frames: int, samples: int) -> None:
    """Write the sample clip again and again, to this length: H.264 and PCM in Matroska.

    PCM, because no lossy codec keeps the number of samples.
    """
    images, sound = read_sample()
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
        video.width = video.height = FRAME_SIZE
        video.pix_fmt = "yuv420p"
        video.options = {"preset": "ultrafast", "crf": "20"}
        audio = container.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        for index in range(frames):
            picture = av.VideoFrame.from_ndarray(images[index % len(images)], format="rgb24")
            picture.pts, picture.time_base = index, Fraction(1, FRAMES_PER_SECOND)
            container.mux(video.encode(picture))
            for start in _second_starts(index, samples):
                piece = np.take(sound, range(start, min(start + SAMPLE_RATE, samples)), mode="wrap")
                block = av.AudioFrame.from_ndarray(piece[None], format="s16", layout="mono")
                block.sample_rate = SAMPLE_RATE
                block.pts, block.time_base = start, Fraction(1, SAMPLE_RATE)
                container.mux(audio.encode(block))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def read_sample() -> Clip:
    """The sample clip: uint8 [T, 224, 224, 3] RGB and int16 [N]."""
    images, sound = [], []
    with open_media(SAMPLE) as media:
        for block in media:
            images += [frame.image for frame in block.frames]
            sound.append(block.samples)
    return np.stack(images), np.concatenate(sound)


def _second_starts(frame: int, samples: int) -> Iterator[int]:
    """Where the second of audio begins that goes with this frame, if one begins there."""
    start = frame // FRAMES_PER_SECOND * SAMPLE_RATE
    if frame % FRAMES_PER_SECOND == 0 and start < samples:
        yield start


def _exported_towers(folder: str, names: list[str]) -> set[str]:
    """Version folders of the towers, which the copy gets its own of."""
    if Path(folder).name in ("video_tower", "audio_tower"):
        return {name for name in names if name.isdigit()}
    return set()
