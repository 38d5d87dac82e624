"""Clips on disk: folders for training, MP4 for players."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import av
import cv2
import numpy as np

from syncnet_client.waiting import interrupts_for_parent
from syncnet_training.errors import DatasetError
from syncnet_training.storage import is_complete, read_about, write_clip
from syncnet_training.synthesis.clip import (
    FRAMES_PER_SECOND,
    SAMPLES_PER_FRAME,
    SyntheticClip,
    synthesize_clip,
)
from syncnet_training.synthesis.recordings import Recordings

SAMPLE_RATE = FRAMES_PER_SECOND * SAMPLES_PER_FRAME


def clip_seed(seed: int, index: int) -> int:
    """The seed of clip `index` of the set with `seed`; far apart for neighbouring indices."""
    words = np.random.SeedSequence([seed, index]).generate_state(2, np.uint32)
    return int(words[0]) << 21 ^ int(words[1])


def write_folder(clip: SyntheticClip, folder: Path) -> None:
    """Write a clip in the form that `fit` reads (see `syncnet_training.storage`)."""
    about = {**clip.description, "jaw": [round(float(v), 4) for v in clip.jaw]}
    write_clip(folder, clip.frames, clip.samples, about)


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


@dataclass(frozen=True)
class _Order:
    """What all clips of a set have in common; goes to the processes that make them."""

    out: Path
    seed: int
    frames: int
    mp4: bool
    hard: bool
    recordings: Path | None


@cache
def _recordings(root: Path | None) -> Recordings | None:
    """Listed once by each process."""
    return None if root is None else Recordings(root)


def _make(order: _Order, index: int) -> Path:
    name, own = f"clip_{index:06d}", clip_seed(order.seed, index)

    def make() -> SyntheticClip:
        return synthesize_clip(
            own, order.frames, recordings=_recordings(order.recordings), hard=order.hard
        )

    if order.mp4:
        path = order.out / f"{name}.mp4"
        partial = order.out / f".{name}.part.mp4"
        write_mp4(make(), partial)
        return partial.replace(path)
    folder = order.out / name
    if is_complete(folder):
        made = read_about(folder)
        if [made.get(key) for key in ("seed", "frames", "hard")] != [own, order.frames, order.hard]:
            raise DatasetError(
                f"{folder} was made with another seed, length or mix; choose another folder"
            )
        return folder
    write_folder(make(), folder)
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
    out: Path,
    *,
    clips: int,
    seed: int,
    frames: int,
    mp4: bool = False,
    hard: bool = False,
    recordings: Path | None = None,
    jobs: int = 1,
) -> Iterator[Path]:
    """Make clips in a folder.

    Clip i depends on its own number, on the arguments after `clips`, and on the versions of
    espeak-ng and of the recordings, not on `jobs` or on the other clips. Clips that are complete
    already are kept, so an interrupted run goes on where it stopped.

    Args:
        out: created if missing.
        clips: how many.
        seed: of everything in them.
        frames: of a clip; see `synthesize_clip`.
        mp4: write MP4 files for looking at, too.
        hard: see `synthesize_clip`.
        recordings: folder of the recordings of real voices, `/usr/share` where they are installed.
        jobs: processes.

    Yields:
        the path of each clip when it is complete.

    Raises:
        DatasetError: the folder holds a clip that was made in another way.
        SynthesisError: no recordings there, or espeak-ng fails.
    """
    out.mkdir(parents=True, exist_ok=True)
    order = _Order(out, seed, frames, mp4, hard, recordings)
    _recordings(recordings)
    if jobs == 1:
        for index in range(clips):
            yield _make(order, index)
        return
    with (
        _one_thread_each(),
        ProcessPoolExecutor(
            jobs, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)
        ) as pool,
    ):
        with interrupts_for_parent():
            tasks = [pool.submit(_make, order, index) for index in range(clips)]
        try:
            for task in tasks:
                yield task.result()
        finally:
            pool.shutdown(cancel_futures=True)
