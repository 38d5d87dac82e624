"""A short clip that resembles a face crop: soft shapes that move, and sound in syllables."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np

SIZE = 224  # pixels: a clip of this size is taken for a face crop
FRAMES = 30
RATE = 16_000


def write_clip(path: Path, seed: int = 0) -> Path:
    """Encode 1.2 s of video at 25 fps with sound, as MP4."""
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width = video.height = SIZE
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=RATE, layout="mono")
        coarse = rng.integers(0, 256, (14, 14 + FRAMES, 3), dtype=np.uint8)
        for index in range(FRAMES):
            view = np.ascontiguousarray(coarse[:, index : index + 14])
            image = cv2.resize(view, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        time_s = np.arange(FRAMES * RATE // 25) / RATE
        syllables = np.sin(2 * np.pi * 4 * time_s).clip(0.01)
        voice = np.sign(np.sin(2 * np.pi * 140 * time_s)) + rng.normal(0, 0.5, len(time_s))
        samples = (voice * syllables * 6000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        container.mux(audio.encode(frame))
        for stream in (video, audio):
            container.mux(stream.encode(None))
    return path
