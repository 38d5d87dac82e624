"""Where chaos happens: namespaces and folders of its own, clips, and what is left at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import av
import numpy as np
import psutil

from syncnet_client.contract import FRAME_SIZE, FRAMES_PER_SECOND, SAMPLE_RATE, SAMPLES_PER_FRAME

__all__ = ["DISTINCT", "INSIDE", "enter", "leftovers", "write_clips"]

INSIDE = "SYNCNET_CHAOS_INSIDE"  # set for the program when it has namespaces of its own
_SHARED_MEMORY_MB = 512
_DISK_MB = 512
DISTINCT = 20  # clips of different content; the others are copies

_PREPARE = f"""
set -e
mount -t tmpfs -o size={_SHARED_MEMORY_MB}m,mode=1777 chaos /dev/shm
mount -t tmpfs -o size={_DISK_MB}m,mode=1777 chaos "$TMPDIR"
ip link set lo up
exec "$@"
"""


def enter(arguments: Sequence[str]) -> int | None:
    """Run this program again in namespaces of its own and return its status.

    Returns:
        None when it runs there already, or when the system does not give any.
    """
    if os.environ.get(INSIDE):
        return None
    namespaces = ["unshare", "--mount", "--pid", "--ipc", "--net", "--fork", "--mount-proc"]
    if os.geteuid() != 0:
        namespaces += ["--user", "--map-root-user"]
    command = [*namespaces, "sh", "-c", _PREPARE, "sh"]
    with tempfile.TemporaryDirectory(prefix="syncnet-chaos-") as folder:
        environment = {**os.environ, INSIDE: "1", "TMPDIR": folder}
        if not shutil.which("unshare") or _fails([*command, "true"], environment):
            return None
        program = [sys.executable, "-m", "benchmarks.chaos", *arguments]
        return subprocess.run([*command, *program], env=environment, check=False).returncode


def _fails(command: Sequence[str], environment: Mapping[str, str]) -> bool:
    outcome = subprocess.run(command, env=environment, capture_output=True, check=False)
    return outcome.returncode != 0


def write_clips(folder: Path, count: int, frames: int) -> None:
    """Write clips that need no face detector: flickering colours and noise, 25 fps, 16 kHz."""
    folder.mkdir()
    for number in range(count):
        path = folder / f"clip-{number:04}.avi"
        if number < DISTINCT:
            _write_clip(path, number, frames)
        else:
            shutil.copy(folder / f"clip-{number % DISTINCT:04}.avi", path)


def _write_clip(path: Path, seed: int, frames: int) -> None:
    random = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=FRAMES_PER_SECOND)
        picture.width = picture.height = FRAME_SIZE
        sound = container.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        for colour in random.integers(0, 256, (frames, 1, 1, 3), np.uint8):
            image = np.ascontiguousarray(np.broadcast_to(colour, (FRAME_SIZE, FRAME_SIZE, 3)))
            container.mux(picture.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(picture.encode(None))
        samples = random.integers(-6000, 6000, (1, frames * SAMPLES_PER_FRAME), np.int16)
        block = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        block.sample_rate, block.pts = SAMPLE_RATE, 0
        container.mux(sound.encode(block))
        container.mux(sound.encode(None))


def leftovers(ours: set[int]) -> list[str]:
    """Return the processes and files that servers and clients have left, in words.

    Args:
        ours: process numbers that may be there.
    """
    return [*_processes(ours), *_files()]


def _processes(ours: set[int]) -> Iterator[str]:
    for process in psutil.process_iter(["name", "cmdline"]):
        words = " ".join(process.info["cmdline"] or [process.info["name"]])
        named = "syncnet" in words or "triton" in words or "nginx" in words
        if process.pid not in ours and named and process.status() != psutil.STATUS_ZOMBIE:
            yield f"process: {words[:120]}"


def _files() -> Iterator[str]:
    for folder in (Path(tempfile.gettempdir()), Path("/dev/shm")):
        for pattern in ("syncnet-*", ".syncnet-*", "python_env_*"):
            yield from (f"file: {path}" for path in sorted(folder.glob(pattern)))
