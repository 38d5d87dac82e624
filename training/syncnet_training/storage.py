"""Clips on disk, in a form that is cheap to read again and again.

A data set is a folder of clips. A clip is a folder with

* `video.yuv`: frames of 224x224 at 25 fps, raw planar YUV 4:2:0 (`ffplay -f rawvideo -pixel_format
  yuv420p -video_size 224x224 -framerate 25 video.yuv` plays it). Half the bytes of RGB, and
  converting one frame to BGR takes a tenth of the time of decoding a JPEG image;
* `audio.wav`: 16 kHz, mono, 16 bit, 640 samples for each frame;
* `clip.json`: where the clip comes from, and `jaw`, the opening of the jaw in each frame, where it
  is known. It is written last: a folder that has it is complete.
"""

import json
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from syncnet_client.contract import (
    FRAME_SIZE,
    SAMPLE_RATE,
    SAMPLES_PER_FRAME,
    WINDOW_FRAMES,
    WINDOW_SAMPLES,
)
from syncnet_training.errors import DatasetError

__all__ = ["Clip", "is_complete", "open_clips", "read_about", "to_bgr", "write_clip"]

VIDEO = "video.yuv"
AUDIO = "audio.wav"
ABOUT = "clip.json"

_FRAME_BYTES = FRAME_SIZE * FRAME_SIZE * 3 // 2


@dataclass(frozen=True)
class Clip:
    """A clip on disk.

    Attributes:
        path: its folder.
        frames: how many it has.
    """

    path: Path
    frames: int

    @property
    def windows(self) -> int:
        """Windows for which the clip has both video and audio."""
        return min(
            self.frames - WINDOW_FRAMES + 1,
            (self.frames * SAMPLES_PER_FRAME - WINDOW_SAMPLES) // SAMPLES_PER_FRAME + 1,
        )

    def read_planes(self, first: int, count: int) -> NDArray[np.uint8]:
        """Read consecutive frames as they are stored.

        Returns:
            uint8 [count, 336, 224]: 224 rows of luma (16 to 235), then the two chroma planes.

        Raises:
            DatasetError: a frame is missing.
        """
        path = self.path / VIDEO
        try:
            planes = np.fromfile(path, np.uint8, count * _FRAME_BYTES, offset=first * _FRAME_BYTES)
        except OSError as error:
            raise DatasetError(f"{path}: {error.strerror or error}") from error
        if len(planes) < count * _FRAME_BYTES:
            raise DatasetError(f"{path}: ends before frame {first + count}")
        return planes.reshape(count, -1, FRAME_SIZE)

    def read_frames(self, first: int, count: int) -> NDArray[np.uint8]:
        """Read consecutive frames.

        Returns:
            uint8 [count, 224, 224, 3] BGR.

        Raises:
            DatasetError: a frame is missing.
        """
        frames = np.empty((count, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
        for frame, planes in zip(frames, self.read_planes(first, count), strict=True):
            to_bgr(planes, out=frame)
        return frames

    def read_samples(self) -> NDArray[np.int16]:
        """Read the audio.

        Returns:
            int16 [640 * frames].

        Raises:
            DatasetError: it is missing, shorter than the video, or not 16 kHz mono 16 bit.
        """
        path = self.path / AUDIO
        try:
            with wave.open(str(path), "rb") as reader:
                layout = reader.getframerate(), reader.getnchannels(), reader.getsampwidth()
                samples = np.frombuffer(reader.readframes(reader.getnframes()), "<i2")
        except (OSError, EOFError, wave.Error) as error:
            raise DatasetError(f"{path}: {error}") from error
        needed = self.frames * SAMPLES_PER_FRAME
        if layout != (SAMPLE_RATE, 1, 2) or len(samples) < needed:
            raise DatasetError(f"{path}: not 16 kHz mono 16 bit audio of {needed} samples")
        return samples[:needed]

    def read_jaw(self) -> NDArray[np.float32]:
        """Read how far the jaw is open in each frame.

        Returns:
            float32 [frames]; NaN where nobody knows.

        Raises:
            DatasetError: `clip.json` cannot be read, or is that of another clip.
        """
        jaw = np.array(read_about(self.path).get("jaw", [np.nan] * self.frames), np.float32)
        if jaw.shape != (self.frames,):
            raise DatasetError(
                f"{self.path / ABOUT}: jaw has shape {jaw.shape}, expected {(self.frames,)}"
            )
        return jaw


def to_bgr(planes: NDArray[np.uint8], out: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert a stored frame.

    Args:
        planes: uint8 [336, 224], one of those that `read_planes` returns.
        out: uint8 [224, 224, 3], what is written to and returned: BGR.
    """
    return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420, dst=out), np.uint8)


def write_clip(
    folder: Path,
    frames: NDArray[np.uint8],
    samples: NDArray[np.int16],
    about: Mapping[str, Any],
) -> None:
    """Write a clip.

    Args:
        folder: created if missing.
        frames: uint8 [T, 224, 224, 3] RGB.
        samples: int16 [640 * T] at 16 kHz.
        about: what becomes `clip.json`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / VIDEO).open("wb") as video:
        for frame in frames:
            video.write(cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())
    with wave.open(str(folder / AUDIO), "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(SAMPLE_RATE)
        audio.writeframes(samples.astype("<i2").tobytes())
    (folder / ABOUT).write_text(json.dumps(dict(about), indent=1) + "\n", encoding="utf-8")


def is_complete(folder: Path) -> bool:
    """Whether a clip was written to its end."""
    return (folder / ABOUT).is_file()


def read_about(folder: Path) -> dict[str, Any]:
    """What `clip.json` says.

    Raises:
        DatasetError: it is missing or no JSON object.
    """
    path = folder / ABOUT
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: {error}") from error
    if not isinstance(about, dict):
        raise DatasetError(f"{path}: not a JSON object")
    return about


def open_clips(root: Path) -> Sequence[Clip]:
    """The complete clips of a data set, in the order of their names.

    Raises:
        DatasetError: there are none.
    """
    clips = [
        Clip(about.parent, (about.parent / VIDEO).stat().st_size // _FRAME_BYTES)
        for about in sorted(root.glob(f"*/{ABOUT}"))
        if (about.parent / VIDEO).is_file()
    ]
    if not clips:
        raise DatasetError(f"{root}: no clips (folders with {VIDEO}, {AUDIO} and {ABOUT})")
    return clips
