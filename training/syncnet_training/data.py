"""Training batches from clips.

Batch number n is a function of the seed and of n alone, so a
run that is resumed sees what an uninterrupted one would have seen.
"""

import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from syncnet_client.contract import (
    FRAME_SIZE,
    SAMPLES_PER_FRAME,
    WINDOW_FRAMES,
    WINDOW_SAMPLES,
)
from syncnet_client.waiting import interrupts_for_parent
from syncnet_server import default_model_repository, load_model_module
from syncnet_training.augment import augment_audio, augment_video
from syncnet_training.errors import DatasetError
from syncnet_training.storage import Clip

__all__ = ["Batch", "BatchShape", "Batches", "audio_windows", "batch_loader", "started"]


def audio_windows(samples: NDArray[np.int16], first: int, count: int) -> NDArray[np.float32]:
    """MFCC of consecutive audio windows of a clip, as the served `mfcc` model computes them.

    Args:
        samples: int16 [N], the clip's audio from its start.
        first: number of the first window; window k belongs to the video frames k to k + 4.
        count: of windows.

    Returns:
        float32 [count, 13, 20]
    """
    start = first * SAMPLES_PER_FRAME
    stop = start + (count - 1) * SAMPLES_PER_FRAME + WINDOW_SAMPLES
    context = samples[start - 1 : start] if start else np.zeros(1, np.int16)
    module = load_model_module(default_model_repository(), "mfcc")
    windows: NDArray[np.float32] = module.mfcc_windows(
        np.concatenate([context, samples[start:stop]])
    )
    return windows


@dataclass(frozen=True)
class BatchShape:
    """What is drawn for one step.

    Every clip gives `windows` video windows, `stride` frames apart, and all audio windows from
    `margin` before the first to `margin` after the last of them.
    """

    clips: int = 14
    windows: int = 5
    stride: int = 3
    margin: int = 2

    @property
    def frames(self) -> int:
        """Frames of a clip that are read."""
        return (self.windows - 1) * self.stride + WINDOW_FRAMES

    @property
    def audio_windows(self) -> int:
        """Audio windows of a clip to choose from."""
        return (self.windows - 1) * self.stride + 1 + 2 * self.margin

    @property
    def samples(self) -> int:
        """Samples of a step as throughput counts them: pairs of video and audio in sync."""
        return self.clips * self.windows


class Batch(NamedTuple):
    """The input of one step."""

    frames: Tensor  # uint8 [C, F, 224, 224, 3] BGR
    mfcc: Tensor  # float32 [C, A, 13, 20]
    targets: Tensor  # int64 [C, T], index in A of the audio window in sync
    jaw: Tensor  # float32 [C, A, 5], opening in the frames of each audio window; NaN: unknown
    seconds: Tensor  # float64 [3], spent on reading frames, on reading audio, on preprocessing


class Batches(Dataset[Batch]):
    """Batch n of a run, for any n.

    Args:
        clips: what to draw from; every clip once before any comes twice.
        augment: change clips at random (see `augment`).
        ramp: steps over which the changes grow to full strength.

    Raises:
        DatasetError: clips are too short or too few for the shape.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        shape: BatchShape,
        *,
        seed: int,
        augment: bool = True,
        ramp: int = 0,
    ) -> None:
        short = [clip for clip in clips if clip.windows < shape.audio_windows]
        if short:
            raise DatasetError(
                f"{short[0].path}: {short[0].frames} frames give {short[0].windows} windows, "
                f"but a step takes {shape.audio_windows} of a clip"
            )
        if len(clips) < shape.clips:
            raise DatasetError(f"a step takes {shape.clips} clips, there are {len(clips)}")
        self.clips = list(clips)
        self.shape = shape
        self.seed = seed
        self.augment = augment
        self.ramp = ramp

    def __getitem__(self, step: int) -> Batch:
        shape = self.shape
        rng = np.random.default_rng([self.seed, 1, step])
        frames = np.empty((shape.clips, shape.frames, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
        mfcc = np.empty((shape.clips, shape.audio_windows, 13, 20), np.float32)
        targets = np.empty((shape.clips, shape.windows), np.int64)
        jaw = np.empty((shape.clips, shape.audio_windows, WINDOW_FRAMES), np.float32)
        seconds = np.zeros(3)
        strength = min(1.0, step / self.ramp) if self.ramp else 1.0
        chosen = [self._clip(step * shape.clips + slot) for slot in range(shape.clips)]
        clock = time.perf_counter()
        recordings = [clip.read_samples() for clip in chosen]
        seconds[1] += time.perf_counter() - clock
        for slot, (clip, samples) in enumerate(zip(chosen, recordings, strict=True)):
            first_audio = int(rng.integers(0, clip.windows - shape.audio_windows + 1))
            # The video may begin anywhere in that stretch, so that no shift is favoured.
            lead = int(rng.integers(0, 2 * shape.margin + 1))
            first_frame = first_audio + lead
            clock = time.perf_counter()
            read = clip.read_planes if self.augment else clip.read_frames
            images = read(first_frame, shape.frames)
            seconds[0] += time.perf_counter() - clock
            clock = time.perf_counter()
            if self.augment:
                augment_video(images, rng, strength, out=frames[slot])
                other = recordings[(slot + 1) % shape.clips]
                samples = augment_audio(samples, other, rng)
            else:
                frames[slot] = images
            mfcc[slot] = audio_windows(samples, first_audio, shape.audio_windows)
            targets[slot] = lead + shape.stride * np.arange(shape.windows)
            openings = sliding_window_view(clip.read_jaw(), WINDOW_FRAMES)
            jaw[slot] = openings[first_audio : first_audio + shape.audio_windows]
            seconds[2] += time.perf_counter() - clock
        return Batch(
            torch.from_numpy(frames),
            torch.from_numpy(mfcc),
            torch.from_numpy(targets),
            torch.from_numpy(jaw),
            torch.from_numpy(seconds),
        )

    def _clip(self, draw: int) -> Clip:
        epoch, position = divmod(draw, len(self.clips))
        return self.clips[_order(self.seed, epoch, len(self.clips))[position]]


@functools.lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> list[int]:
    order: list[int] = np.random.default_rng([seed, 0, epoch]).permutation(count).tolist()
    return order


def batch_loader(
    batches: Batches, steps: range, *, workers: int, pin_memory: bool = False
) -> DataLoader[Batch]:
    """Iterate over the batches of these steps, in order, made ahead of time by processes.

    Args:
        batches: makes a batch for each step.
        steps: numbers of the steps.
        workers: processes; 0 makes each batch when it is asked for.
        pin_memory: page-locked tensors, which copy to a GPU while it computes.
    """
    return DataLoader(
        batches,
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        pin_memory=pin_memory,
        prefetch_factor=3 if workers else None,
        # A forked process may inherit a lock that a thread of OpenMP or OpenCV held, and then
        # waits for it forever.
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_start_worker,
    )


def started(loader: DataLoader[Batch]) -> Iterator[Batch]:
    """Iterate over a loader whose processes are started now, and leave Ctrl-C to this one."""
    with interrupts_for_parent():
        return iter(loader)


def _start_worker(_: int) -> None:
    cv2.setNumThreads(1)  # the processes are the parallelism
