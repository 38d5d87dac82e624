"""A clip: one articulation drives the sound and the picture."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syncnet_training.synthesis.articulation import (
    articulate,
    random_style,
    sample_track,
)
from syncnet_training.synthesis.camera import Camera
from syncnet_training.synthesis.motion import random_motion
from syncnet_training.synthesis.phonemes import JAW
from syncnet_training.synthesis.portrait import CANVAS, Portrait, to_display
from syncnet_training.synthesis.room import record
from syncnet_training.synthesis.script import random_speech
from syncnet_training.synthesis.voice import random_voice, speak

FRAMES_PER_SECOND = 25
SAMPLES_PER_FRAME = 640


@dataclass(frozen=True)
class SyntheticClip:
    """A talking head with exactly known synchronisation.

    frames: uint8 [T, 224, 224, 3] RGB at 25 fps. samples: int16 [640 * T], 16 kHz mono; sample
    640 * t is heard when frame t is first shown. jaw: float32 [T], opening of the jaw in each frame.
    description: how the clip was made, fit for JSON.
    """

    frames: NDArray[np.uint8]
    samples: NDArray[np.int16]
    jaw: NDArray[np.float32]
    description: dict[str, Any] = field(default_factory=dict)


def synthesize_clip(seed: int, frames: int = 75) -> SyntheticClip:
    """Make the talking head that belongs to `seed`, `frames` frames long.

    The same arguments give the same clip, to the byte, on one machine.

    Raises ValueError if frames < 1.
    """
    if frames < 1:
        raise ValueError(f"a clip needs at least one frame, not {frames}")
    streams = np.random.SeedSequence(seed).spawn(5)
    speech_rng, room_rng, face_rng, motion_rng, camera_rng = map(np.random.default_rng, streams)
    seconds = frames / FRAMES_PER_SECOND
    # Speech starts before the clip, so that clips begin in the middle of things.
    margin = float(speech_rng.uniform(0.0, 1.0))
    total = margin + seconds + 0.3
    sounds = random_speech(speech_rng, 0.0, total)
    voice = random_voice(speech_rng)
    wave = speak(sounds, total, voice, speech_rng)
    track = articulate(sounds, total, random_style(speech_rng))
    first = round(margin * 16000)
    samples = record(wave[first : first + frames * SAMPLES_PER_FRAME], room_rng)

    portrait = Portrait(face_rng)
    motion = random_motion(motion_rng, seconds)
    camera = Camera(camera_rng)
    # A frame shows the middle of the time it is on screen, give or take how cameras stamp frames.
    moment = float(camera_rng.uniform(0.3, 0.7))
    times = (np.arange(frames) + moment) / FRAMES_PER_SECOND
    poses = sample_track(track, times + margin)
    crop = np.cumsum(camera_rng.normal(0, 0.3, (frames, 2)), axis=0) * 0.5
    crop = (crop - crop.mean(axis=0)).astype(np.float32) * np.float32(CANVAS / 224)
    exposed = []
    for index in range(frames):
        at = motion.at(float(times[index]))
        picture = portrait.draw(
            poses[index],
            motion.shapes[at],
            motion.angles[at],
            motion.shift[at],
            crop[index],
            float(motion.lids[at]),
            motion.gaze[at],
        )
        exposed.append(camera.expose(to_display(picture * np.float32(camera.gain)), camera_rng))
    return SyntheticClip(
        frames=camera.deliver(exposed),
        samples=samples,
        jaw=poses[:, JAW].copy(),
        description={
            "seed": seed,
            "frames": frames,
            "voice": {"kind": "formant", "pitch_hz": round(voice.pitch, 1)},
            "camera": {
                "source_size": camera.source_size,
                "codec": camera.codec,
                "quality": camera.quality,
            },
        },
    )
