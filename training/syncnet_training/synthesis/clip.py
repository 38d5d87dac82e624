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
from syncnet_training.synthesis.recordings import Recordings, say_recorded
from syncnet_training.synthesis.room import record
from syncnet_training.synthesis.script import random_speech
from syncnet_training.synthesis.tts import library_path, say_something
from syncnet_training.synthesis.voice import random_voice, speak

FRAMES_PER_SECOND = 25
SAMPLES_PER_FRAME = 640
_TEXT_TO_SPEECH_SHARE = 0.8  # of the clips that no person speaks in
_RECORDED_SHARE = 0.55  # where there are recordings


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
    rng: np.random.Generator,
    seconds: float,
    text_to_speech: bool | None,
    recordings: Recordings | None,
) -> tuple[NDArray[np.float32], list[Sound], str]:
    """Clean speech of at least `seconds`, its sounds, and the name of its voice."""
    if recordings is not None and rng.random() < _RECORDED_SHARE:
        return say_recorded(rng, seconds, recordings)
    if text_to_speech is None:
        text_to_speech = bool(rng.random() < _TEXT_TO_SPEECH_SHARE) and library_path() is not None
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
    seed: int,
    frames: int = 75,
    *,
    text_to_speech: bool | None = None,
    recordings: Recordings | None = None,
    hard: bool = False,
) -> SyntheticClip:
    """Make the talking head that belongs to a seed.

    The same arguments give the same clip, to the byte, on one machine.

    Args:
        seed: of everything that is drawn at random.
        frames: length of the clip, at least 1.
        text_to_speech: False for the built-in voice, True for espeak-ng, None for most clips by
            espeak-ng where it is installed.
        recordings: voices of real people, for about half of the clips.
        hard: small faces, low bit rates, noise and telephones, more than in the mix.

    Raises:
        ValueError: frames < 1.
        SynthesisError: espeak-ng is asked for and missing or broken.
    """
    if frames < 1:
        raise ValueError(f"a clip needs at least one frame, not {frames}")
    streams = np.random.SeedSequence(seed).spawn(5)
    speech_rng, room_rng, face_rng, motion_rng, camera_rng = map(np.random.default_rng, streams)
    seconds = frames / FRAMES_PER_SECOND
    # Speech starts before the clip, so that clips begin in the middle of things.
    margin = float(speech_rng.uniform(0.0, 1.0))
    total = margin + seconds + 0.3
    wave, sounds, voice = _speech(speech_rng, total, text_to_speech, recordings)
    track = articulate(sounds, total, random_style(speech_rng))
    first = round(margin * SAMPLES_PER_FRAME * FRAMES_PER_SECOND)
    length = frames * SAMPLES_PER_FRAME
    wave = np.pad(wave, (0, max(first + length - len(wave), 0)))
    music = recordings.play(room_rng, length) if recordings is not None else None
    samples = record(wave[first : first + length], room_rng, music=music, hard=hard)

    motion = random_motion(motion_rng, seconds)
    portrait = Portrait(face_rng, motion.angles.mean(axis=0))
    camera = Camera(camera_rng, hard=hard)
    # As in a file: a tick of 25 fps shows the source frame whose time stamp is nearest.
    ticks = np.arange(frames) / FRAMES_PER_SECOND
    shown = np.floor(ticks * camera.rate + 0.5).astype(int)
    # A source frame shows the middle of the time it is on screen, give or take how cameras stamp
    # frames.
    moment = float(camera_rng.uniform(0.3, 0.7))
    times = (np.arange(shown[-1] + 1) + moment) / camera.rate
    poses = sample_track(track, times + margin)
    crop = np.cumsum(camera_rng.normal(0, 0.3, (len(times), 2)), axis=0) * 0.5
    crop = (crop - crop.mean(axis=0)).astype(np.float32) * np.float32(CANVAS / 224)
    # Some shutters are slow: then a frame is the mean of two moments.
    shutter = float(camera_rng.uniform(0.2, 0.9)) if camera_rng.random() < 0.12 else 0.0
    exposed = []
    # What no tick shows is not drawn.
    for index in np.unique(shown):
        moments = [float(times[index]) + d * shutter / camera.rate for d in (-0.25, 0.25)]
        pictures = [
            _draw(portrait, motion, sample_track(track, np.array([t + margin]))[0], t, crop[index])
            for t in (moments if shutter else moments[:1])
        ]
        picture = cv2.addWeighted(pictures[0], 0.5, pictures[-1], 0.5, 0)
        exposed.append(camera.expose(np.asarray(picture, np.uint8), camera_rng))
    delivered = camera.deliver(exposed)
    return SyntheticClip(
        frames=delivered[np.searchsorted(np.unique(shown), shown)],
        samples=samples,
        jaw=poses[shown, JAW].copy(),
        description={
            "seed": seed,
            "frames": frames,
            "hard": hard,
            "voice": voice,
            "camera": {
                "rate": camera.rate,
                "source_size": camera.source_size,
                "codec": camera.codec,
                "quality": camera.quality,
            },
        },
    )
