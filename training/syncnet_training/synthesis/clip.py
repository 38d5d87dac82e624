"""A clip: one articulation drives the sound and the picture."""

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from syncnet_training.synthesis.articulation import Sound, articulate, random_style, sample_track
from syncnet_training.synthesis.camera import Camera
from syncnet_training.synthesis.motion import Motion, random_motion
from syncnet_training.synthesis.phonemes import JAW
from syncnet_training.synthesis.portrait import CANVAS, Portrait
from syncnet_training.synthesis.room import record
from syncnet_training.synthesis.script import random_speech
from syncnet_training.synthesis.tts import library_path, say_something
from syncnet_training.synthesis.voice import random_voice, speak

FRAMES_PER_SECOND = 25
SAMPLES_PER_FRAME = 640
_TEXT_TO_SPEECH_SHARE = 0.8


@dataclass(frozen=True)
class SyntheticClip:
    """A talking head with exactly known synchronisation.

    frames: uint8 [T, 224, 224, 3] RGB at 25 fps. samples: int16 [640 * T], 16 kHz mono; sample
    640 * t is heard when frame t is first shown. jaw: float32 [T], opening of the jaw in each
    frame. description: how the clip was made, fit for JSON.
    """

    frames: NDArray[np.uint8]
    samples: NDArray[np.int16]
    jaw: NDArray[np.float32]
    description: dict[str, Any] = field(default_factory=dict)


def _speech(
    rng: np.random.Generator, seconds: float, text_to_speech: bool
) -> tuple[NDArray[np.float32], list[Sound], str]:
    """Clean speech of at least `seconds`, its sounds, and the name of its voice."""
    if text_to_speech:
        return say_something(rng, seconds)
    sounds = random_speech(rng, 0.0, seconds)
    voice = random_voice(rng)
    return speak(sounds, seconds, voice, rng), sounds, f"formant {voice.pitch:.0f} Hz"


def _draw(
    portrait: Portrait,
    motion: Motion,
    articulation: NDArray[np.float32],
    time: float,
    crop: NDArray[np.float32],
) -> NDArray[np.uint8]:
    at = motion.at(time)
    return portrait.draw(
        articulation,
        motion.shapes[at],
        motion.angles[at],
        motion.shift[at],
        crop,
        float(motion.lids[at]),
        motion.gaze[at],
        motion.hand[at],
    )


def synthesize_clip(
    seed: int, frames: int = 75, *, text_to_speech: bool | None = None
) -> SyntheticClip:
    """Make the talking head that belongs to `seed`, `frames` frames long.

    text_to_speech: False for the built-in voice, True for espeak-ng, None for most clips by
    espeak-ng where it is installed. The same arguments give the same clip, to the byte, on one
    machine.

    Raises ValueError if frames < 1, SynthesisError if espeak-ng is asked for and missing or broken.
    """
    if frames < 1:
        raise ValueError(f"a clip needs at least one frame, not {frames}")
    streams = np.random.SeedSequence(seed).spawn(5)
    speech_rng, room_rng, face_rng, motion_rng, camera_rng = map(np.random.default_rng, streams)
    seconds = frames / FRAMES_PER_SECOND
    # Speech starts before the clip, so that clips begin in the middle of things.
    margin = float(speech_rng.uniform(0.0, 1.0))
    total = margin + seconds + 0.3
    if text_to_speech is None:
        text_to_speech = bool(speech_rng.random() < _TEXT_TO_SPEECH_SHARE)
        text_to_speech = text_to_speech and library_path() is not None
    wave, sounds, voice = _speech(speech_rng, total, text_to_speech)
    track = articulate(sounds, total, random_style(speech_rng))
    first = round(margin * SAMPLES_PER_FRAME * FRAMES_PER_SECOND)
    wave = np.pad(wave, (0, max(first + frames * SAMPLES_PER_FRAME - len(wave), 0)))
    samples = record(wave[first : first + frames * SAMPLES_PER_FRAME], room_rng)

    motion = random_motion(motion_rng, seconds)
    portrait = Portrait(face_rng, motion.angles.mean(axis=0))
    camera = Camera(camera_rng)
    # A frame shows the middle of the time it is on screen, give or take how cameras stamp frames.
    moment = float(camera_rng.uniform(0.3, 0.7))
    times = (np.arange(frames) + moment) / FRAMES_PER_SECOND
    poses = sample_track(track, times + margin)
    crop = np.cumsum(camera_rng.normal(0, 0.3, (frames, 2)), axis=0) * 0.5
    crop = (crop - crop.mean(axis=0)).astype(np.float32) * np.float32(CANVAS / 224)
    # Some shutters are slow: then a frame is the mean of two moments.
    shutter = float(camera_rng.uniform(0.2, 0.9)) if camera_rng.random() < 0.12 else 0.0
    exposed = []
    for index in range(frames):
        moments = [float(times[index]) + d * shutter / FRAMES_PER_SECOND for d in (-0.25, 0.25)]
        pictures = [
            _draw(portrait, motion, sample_track(track, np.array([t + margin]))[0], t, crop[index])
            for t in (moments if shutter else moments[:1])
        ]
        picture = cv2.addWeighted(pictures[0], 0.5, pictures[-1], 0.5, 0)
        exposed.append(camera.expose(np.asarray(picture, np.uint8), camera_rng))
    return SyntheticClip(
        frames=camera.deliver(exposed),
        samples=samples,
        jaw=poses[:, JAW].copy(),
        description={
            "seed": seed,
            "frames": frames,
            "voice": voice,
            "camera": {
                "source_size": camera.source_size,
                "codec": camera.codec,
                "quality": camera.quality,
            },
        },
    )
