"""Clips whose offset anybody can see and hear: a white flash and a click."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from results import result_of

from syncnet_client.media import open_media
from syncnet_client.scoring.result import SyncResult

FPS = 25
FLASH = 30  # the frame that is white
SIZE = 64

# Video codec (with B-frames where it has them), audio codec and its sample rate.
CODECS = {
    ".mp4": ("libx264", "aac", 44_100),
    ".mov": ("libx264", "aac", 48_000),
    ".mkv": ("libx264", "libopus", 48_000),
    ".webm": ("libvpx-vp9", "libopus", 48_000),
    ".avi": ("mpeg4", "ac3", 48_000),
}


def write_flash_clip(path: Path, *, audio_late_frames: int = 0, frames: int = 60) -> Path:
    """A dim, noisy clip with one white frame, and one click that comes so many frames after it."""
    video, audio, rate = CODECS[path.suffix]
    random = np.random.default_rng(1)
    images = random.integers(0, 60, (frames, SIZE, SIZE, 3), np.uint8)
    images[FLASH] = 255
    samples = random.integers(-100, 100, (1, frames * rate // FPS)).astype(np.int16)
    click = (FLASH + audio_late_frames) * rate // FPS
    samples[0, click : click + rate // 100] = 20_000
    with av.open(path, "w") as container:
        pictures = container.add_stream(video, rate=FPS)
        pictures.width = pictures.height = SIZE
        sound = container.add_stream(audio, rate=rate)
        for image in images:
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(image)))
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        context = sound.codec_context
        resampler = av.AudioResampler(context.format.name, "mono", rate, context.frame_size)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(sound.encode(piece))
        container.mux(pictures.encode(None))
        container.mux(sound.encode(None))
    return path


def measure_flash_clip(path: Path, name: str) -> SyncResult:
    """A trusted result with the offset between flash and click, as the ingest sees them."""
    with open_media(path) as media:
        blocks = list(media)
    light = [frame.image.mean() for block in blocks for frame in block.frames]
    sound = np.concatenate([block.samples for block in blocks]).astype(float)
    click = int(np.argmax(np.abs(sound) > 5_000))
    offset = round(int(np.argmax(light)) - click / 640)
    return replace(result_of(name, offset=offset, trusted=True), frames=len(light))
