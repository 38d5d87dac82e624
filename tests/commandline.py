"""Run the client's command line as users do, on clips made on the spot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np

CLIENT = [sys.executable, "-m", "syncnet_client"]


def write_clip(
    path: Path, *, frames: int = 40, size: int = 224, video: bool = True, audio: bool = True
) -> Path:
    """A clip of flickering colours and noise; 25 fps, 16 kHz."""
    random = np.random.default_rng(frames)
    with av.open(path, "w") as container:
        picture = container.add_stream("mpeg4", rate=25) if video else None
        sound = container.add_stream("pcm_s16le", rate=16_000) if audio else None
        if picture is not None:
            picture.width = picture.height = size
            for colour in random.integers(0, 256, (frames, 1, 1, 3), np.uint8):
                image = np.ascontiguousarray(np.broadcast_to(colour, (size, size, 3)))
                container.mux(picture.encode(av.VideoFrame.from_ndarray(image)))
            container.mux(picture.encode(None))
        if sound is not None:
            samples = random.integers(-6000, 6000, (1, frames * 640), np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 0
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return path


def run(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if k != "SYNCNET_URL"}
    return subprocess.run(
        [*CLIENT, *map(str, arguments)],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=120,
        cwd=cwd,
        env=inherited | environment,
    )


def assert_fails(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Status 1 and one line that holds the words; nothing on standard output."""
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("syncnet-client: ")
    for word in words:
        assert word in line
    assert done.stdout == ""
