"""Clips on disk: folders of JPEG frames and WAV for training, MP4 for players."""

import json
import os
import wave
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from syncnet_training.synthesis.clip import (
    FRAMES_PER_SECOND,
    SAMPLES_PER_FRAME,
    SyntheticClip,
    synthesize_clip,
)

SAMPLE_RATE = FRAMES_PER_SECOND * SAMPLES_PER_FRAME
_JPEG_QUALITY = 92


def clip_seed(seed: int, index: int) -> int:
    """The seed of clip `index` of the set with `seed`; far apart for neighbouring indices."""
    words = np.random.SeedSequence([seed, index]).generate_state(2, np.uint32)
    return int(words[0]) << 21 ^ int(words[1])


def write_folder(clip: SyntheticClip, folder: Path) -> None:
    """Write frames/000000.jpg ..., audio.wav and clip.json into `folder`, which is created."""
    pictures = folder / "frames"
    pictures.mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(clip.frames):
        done, data = cv2.imencode(
            ".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        )
        if not done:
            raise OSError(f"frame {index} could not be encoded as JPEG")
        (pictures / f"{index:06d}.jpg").write_bytes(data.tobytes())
    write_wav(clip.samples, folder / "audio.wav")
    text = {**clip.description, "jaw": [round(float(v), 4) for v in clip.jaw]}
    # Last, so that a folder with this file is complete.
    (folder / "clip.json").write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")


def write_wav(samples: NDArray[np.int16], path: Path) -> None:
    """16 kHz mono 16-bit WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.astype("<i2").tobytes())


def write_mp4(clip: SyntheticClip, path: Path) -> None:
    """H.264 and AAC; both streams start at 0 on one clock.

    The AAC encoder delays its signal by one frame of priming; the muxer writes an edit list that
    takes it off again, so the decoded audio lies where it was.
    """
    with av.open(str(path), "w") as container:
        # This preset, in one thread, gives the same bytes each time.
        options = {"crf": "20", "preset": "superfast", "threads": "1"}
        video = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=options)
        video.height, video.width = clip.frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        audio.bit_rate = 64000
        for index, picture in enumerate(clip.frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FRAMES_PER_SECOND)
            container.mux(video.encode(frame))
            samples = clip.samples[index * SAMPLES_PER_FRAME : (index + 1) * SAMPLES_PER_FRAME]
            sound = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            sound.sample_rate = SAMPLE_RATE
            sound.pts, sound.time_base = index * SAMPLES_PER_FRAME, Fraction(1, SAMPLE_RATE)
            container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def _make(out: Path, index: int, seed: int, frames: int, mp4: bool) -> Path:
    name = f"clip_{index:06d}"
    if mp4:
        path = out / f"{name}.mp4"
        partial = out / f".{name}.part.mp4"
        write_mp4(synthesize_clip(clip_seed(seed, index), frames), partial)
        return partial.replace(path)
    folder = out / name
    own = clip_seed(seed, index)
    if (folder / "clip.json").exists():
        made = json.loads((folder / "clip.json").read_text(encoding="utf-8"))
        if (made.get("seed"), made.get("frames")) != (own, frames):
            raise ValueError(
                f"{folder} was made with another seed or length; choose another folder"
            )
        return folder
    write_folder(synthesize_clip(own, frames), folder)
    return folder


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started meanwhile do their linear algebra in one thread each.

    The matrices are small; threads that wait for each other would cost a third of the time.
    """
    names = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def write_clips(
    out: Path, *, clips: int, seed: int, frames: int, mp4: bool = False, jobs: int = 1
) -> Iterator[Path]:
    """Make `clips` clips under `out`, yielding each path when it is complete.

    Clip i depends on (seed, i, frames) alone, not on `jobs` or on the other clips. Folders that are
    complete already are kept, so an interrupted run goes on where it stopped.
    """
    out.mkdir(parents=True, exist_ok=True)
    if jobs == 1:
        for index in range(clips):
            yield _make(out, index, seed, frames, mp4)
        return
    with (
        _one_thread_each(),
        ProcessPoolExecutor(
            jobs, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)
        ) as pool,
    ):
        tasks = [pool.submit(_make, out, index, seed, frames, mp4) for index in range(clips)]
        try:
            for task in tasks:
                yield task.result()
        finally:
            pool.shutdown(cancel_futures=True)
