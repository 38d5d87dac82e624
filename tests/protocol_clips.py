"""Clips that differ in what score protocols decide, and a detector that finds what is written."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from syncnet_client.faces import Box, Face
from syncnet_client.faces.geometry import S3FD_MARGINS
from syncnet_client.media import Picture

Detection = tuple[float, float, float, float]  # left, top, right, bottom


class ScriptedDetector:
    """Finds in each frame, one after the other, what was written for it."""

    name = "script"
    title = "the script"
    advice = ""
    sure = 0.0

    def __init__(self, detections: list[list[Detection]]) -> None:
        self._script = iter(detections)

    def search(self, picture: Picture) -> list[Face]:  # noqa: ARG002
        faces = []
        for left, top, right, bottom in next(self._script):
            box = Box(left, top, right - left, bottom - top)
            faces.append(Face(box, S3FD_MARGINS.crop(box), 1.0))
        return faces

    def follow(self, *_: object) -> Face | None:
        raise AssertionError("every frame is searched")

    def second_opinion(self, *_: object) -> float:
        raise AssertionError("every detection counts")


def speech(samples: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    loudness = np.repeat(random.uniform(50, 4000, samples // 800 + 1), 800)[:samples]
    return (random.normal(size=samples) * loudness).clip(-32768, 32767).astype(np.int16)


def pictures(count: int, height: int, width: int, seed: int) -> np.ndarray:
    """A picture with soft blobs that drift, so that neighbours are alike: one scene."""
    random = np.random.default_rng(seed)
    big = random.integers(0, 240, (height // 8 + 20, width // 8 + 20, 3), np.uint8)
    big = np.kron(big, np.ones((8, 8, 1), np.uint8))
    steps = np.abs(np.arange(count) % 80 - 40)
    frames = np.stack([big[s // 4 : s // 4 + height, s // 4 : s // 4 + width] for s in steps])
    frames[:, ::7] //= 2
    return frames + random.integers(0, 20, (count, 1, 1, 3)).astype(np.uint8) // 8


def moving_box(frame: int, x: float, y: float, side: float) -> Detection:
    """A box that sways, and whose longer side is now its width and now its height."""
    x, y = x + 6 * np.sin(frame / 9), y + 4 * np.cos(frame / 7)
    wide = 3 * np.sin(frame / 3)
    return (x - side / 2 - wide, y - side / 2, x + side / 2 + wide, y + side / 2)


def write_lossless(
    path: Path, frames: np.ndarray, samples: np.ndarray, rate: int, *, pixels: str = "bgr0"
) -> Path:
    """FFV1 and PCM: what comes out is what went in, once it is in that pixel format."""
    with av.open(path, "w") as container:
        video = container.add_stream("ffv1", rate=rate)
        video.width, video.height, video.pix_fmt = frames.shape[2], frames.shape[1], pixels
        audio = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for image in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            container.mux(video.encode(frame.reformat(format=pixels)))
        container.mux(video.encode(None))
        for start in range(0, len(samples), 1600):
            sound = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples[None, start : start + 1600]), "s16", "mono"
            )
            sound.sample_rate, sound.pts = 16_000, start
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    return path
