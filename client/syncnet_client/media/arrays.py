"""Frames and samples that are already in memory, behind the interface of a source."""

from __future__ import annotations

from collections.abc import Generator
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from syncnet_client.contract import FRAMES_PER_SECOND, SAMPLE_RATE, SAMPLES_PER_FRAME
from syncnet_client.errors import UsageError
from syncnet_client.media.audio import resample
from syncnet_client.media.pictures import ArrayPicture
from syncnet_client.media.types import Frame, Media, MediaBlock, MediaSummary, StreamInfo

__all__ = ["ArrayMedia"]

Floats = npt.NDArray[np.floating[Any]]

BLOCK_FRAMES = 25


class ArrayMedia(Media):
    """A clip given as arrays.

    Args:
        frames: uint8 [T, height, width, 3], RGB, 25 a second; frame 0 begins with sample 0.
        samples: mono, int16 [N], or floating point [N] between -1 and 1.
        sample_rate: of the samples, Hz. Other rates than 16 kHz are resampled with librosa, which
            the extra ``audio`` brings.

    Raises:
        UsageError: a shape or type is not one of those.
        SyncNetError: librosa is needed and not installed.
    """

    def __init__(
        self,
        frames: npt.NDArray[np.uint8],
        samples: npt.NDArray[np.int16] | Floats,
        *,
        sample_rate: int = SAMPLE_RATE,
    ) -> None:
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
            raise UsageError(
                "frames must be uint8 [T, height, width, 3] in RGB, "
                f"not {frames.dtype} {list(frames.shape)}"
            )
        if not len(frames) or 0 in frames.shape:
            raise UsageError("there are no frames")
        self._frames = frames
        self._samples = _to_contract(samples, sample_rate)
        self._blocks = self._cut()

    @property
    def info(self) -> StreamInfo:
        """The facts about the arrays, in the terms of a file."""
        seconds = max(
            Fraction(len(self._frames), FRAMES_PER_SECOND),
            Fraction(len(self._samples), SAMPLE_RATE),
        )
        return StreamInfo(
            source="arrays",
            container="arrays",
            video_codec="rgb24",
            audio_codec="pcm_s16le",
            width=self._frames.shape[2],
            height=self._frames.shape[1],
            source_fps=Fraction(FRAMES_PER_SECOND),
            sample_rate=SAMPLE_RATE,
            channels=1,
            video_start=Fraction(0),
            audio_start=Fraction(0),
            duration=seconds,
            live=False,
        )

    def __next__(self) -> MediaBlock:
        """Return the next block."""
        return next(self._blocks)

    def close(self) -> None:
        """End the iteration."""
        self._blocks.close()

    def _cut(self) -> Generator[MediaBlock, None, None]:
        ticks = -(-len(self._samples) // SAMPLES_PER_FRAME)
        for first in range(0, max(len(self._frames), ticks), BLOCK_FRAMES):
            last = first + BLOCK_FRAMES
            frames = [
                Frame(
                    first + index, Fraction(first + index, FRAMES_PER_SECOND), ArrayPicture(image)
                )
                for index, image in enumerate(self._frames[first:last])
            ]
            samples = self._samples[first * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME]
            yield MediaBlock(frames, samples)
        self._summary = MediaSummary(
            frames=len(self._frames),
            samples=len(self._samples),
            start=Fraction(0),
            source_frames=len(self._frames),
        )


def _to_contract(
    samples: npt.NDArray[np.int16] | Floats, sample_rate: int
) -> npt.NDArray[np.int16]:
    """Return samples as int16 at 16 kHz."""
    if samples.ndim != 1 or not (samples.dtype == np.int16 or samples.dtype.kind == "f"):
        raise UsageError(
            "samples must be mono: int16 [N], or floating point [N] between -1 and 1, "
            f"not {samples.dtype} {list(samples.shape)}"
        )
    if sample_rate <= 0:
        raise UsageError(f"the sample rate must be positive, not {sample_rate}")
    if samples.dtype == np.int16 and sample_rate == SAMPLE_RATE:
        return samples.astype(np.int16, copy=False)
    scale = 1.0 if samples.dtype.kind == "f" else 1 / 32768
    signal = samples.astype(np.float32) * np.float32(scale)
    if not np.isfinite(signal).all():
        raise UsageError("samples must be finite")
    if sample_rate != SAMPLE_RATE:
        signal = resample(signal, sample_rate)
    scaled: npt.NDArray[np.int16] = np.clip(np.round(signal * 32768), -32768, 32767).astype(
        np.int16
    )
    return scaled
