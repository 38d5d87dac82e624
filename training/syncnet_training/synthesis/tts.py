"""Text-to-speech by espeak-ng, where it is installed, with the timing of its phonemes.

A better voice than the built-in one: many languages and speakers. The library's event of a
voiceless stop comes at its burst, after the closure, and voiced closures open a little before the
event of the next sound; both are put right by the energy of the sound itself.
"""

import ctypes.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from syncnet_training.errors import SynthesisError
from syncnet_training.synthesis.articulation import Sound
from syncnet_training.synthesis.phonemes import PAUSE, from_ipa
from syncnet_training.synthesis.texts import random_speaker, random_text

SAMPLE_RATE = 16000
_TIMEOUT_S = 120
_BLOCK = 80  # samples per step of the energy curve: 5 ms


@cache
def library_path() -> str | None:
    """The shared library of espeak-ng, or None where it is not installed.

    The environment variable ESPEAK_LIBRARY names one that the system's loader does not find.
    """
    return os.environ.get("ESPEAK_LIBRARY") or ctypes.util.find_library("espeak-ng")


def say_something(
    rng: np.random.Generator, seconds: float
) -> tuple[NDArray[np.float32], list[Sound], str]:
    """`seconds` or a little more of random speech: samples, its sounds, the voice's name.

    Samples are float32 at 16 kHz. Raises SynthesisError if espeak-ng is missing or fails.
    """
    rate = int(rng.integers(120, 215))
    language, text = random_text(rng, words=int(seconds * rate / 60 * 1.4) + 6)
    spoken = read_aloud(
        text,
        random_speaker(rng, language),
        rate=rate,
        pitch=int(rng.integers(20, 80)),
        pitch_range=int(rng.integers(20, 90)),
        seed=int(rng.integers(2**31)),
    )
    # Played a little faster or slower than recorded: other pitches and sizes of vocal tract.
    played = spoken.rate
    if rng.random() < 0.6:
        played = round(played * rng.uniform(0.86, 1.2) / 50) * 50
    divisor = np.gcd(played, SAMPLE_RATE)
    wave = resample_poly(spoken.samples, SAMPLE_RATE // divisor, played // divisor)
    wave = wave.astype(np.float32)
    starts = [(first / played, name) for first, name in spoken.phonemes]
    wave = wave * (0.06 / (float(np.sqrt(np.mean(wave**2))) + 1e-6))
    return *_lengthen_pauses(wave, to_sounds(starts, wave), rng), spoken.voice


@dataclass(frozen=True)
class Spoken:
    """Text read by espeak-ng.

    Attributes:
        samples: float32 [N] in -1..1, at `rate` Hz.
        phonemes: first sample and IPA name of each event.
        voice: the voice that was taken.
    """

    samples: NDArray[np.float32]
    rate: int
    phonemes: list[tuple[int, str]]
    voice: str


def read_aloud(
    text: str, voice: str, *, rate: int = 160, pitch: int = 50, pitch_range: int = 50, seed: int = 0
) -> Spoken:
    """Let espeak-ng read a text.

    Args:
        text: what to read.
        voice: a language, or a language with a speaker, as in `en-us+f2`.
        rate: words a minute.
        pitch: 0 to 99.
        pitch_range: 0 to 99.
        seed: of what the library draws at random.

    Raises:
        SynthesisError: espeak-ng is missing or fails.
    """
    request = {
        "library": library_path(),
        "voice": voice,
        "text": text,
        "rate": rate,
        "pitch": pitch,
        "range": pitch_range,
        "seed": seed,
    }
    if request["library"] is None:
        raise SynthesisError("espeak-ng is not installed (Debian and Ubuntu: package espeak-ng)")
    program = Path(__file__).with_name("espeak_process.py")
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(program)],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise SynthesisError(f"espeak-ng did not finish within {_TIMEOUT_S} s") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"status {error.returncode}"
        raise SynthesisError(f"espeak-ng failed: {reason}") from error
    head, _, body = done.stdout.partition(b"\n")
    answer = json.loads(head)
    samples = np.frombuffer(body, "<i2").astype(np.float32) / 32768
    phonemes = [(int(first), str(name)) for first, name in answer["phonemes"]]
    return Spoken(samples, answer["rate"], phonemes, answer["voice"])


def _lengthen_pauses(
    wave: NDArray[np.float32], sounds: list[Sound], rng: np.random.Generator
) -> tuple[NDArray[np.float32], list[Sound]]:
    """Silence put into some pauses: people think longer than machines."""
    pieces, moved, done, late = [], [], 0, 0.0
    for sound in sounds:
        moved.append(Sound(sound.phoneme, sound.start + late, sound.end + late, sound.strength))
        if sound.phoneme.kind != "pause" or sound.end - sound.start < 0.1 or rng.random() < 0.5:
            continue
        cut = round((sound.start + sound.end) / 2 * SAMPLE_RATE)
        extra = round(rng.uniform(0.05, 0.8) * SAMPLE_RATE)
        pieces += [wave[done:cut], np.zeros(extra, np.float32)]
        done, late = cut, late + extra / SAMPLE_RATE
        moved[-1] = Sound(sound.phoneme, moved[-1].start, sound.end + late)
    return np.concatenate([*pieces, wave[done:]]), moved


def to_sounds(starts: list[tuple[float, str]], wave: NDArray[np.float32]) -> list[Sound]:
    """Timed phonemes from espeak's events (start in seconds, IPA) and the speech they belong to."""
    blocks = len(wave) // _BLOCK
    energy = np.sqrt(np.mean(wave[: blocks * _BLOCK].reshape(-1, _BLOCK) ** 2, axis=1) + 1e-12)
    loud = float(np.percentile(energy, 90)) + 1e-9
    end_of_all = len(wave) / SAMPLE_RATE
    raw: list[Sound] = []
    for index, (start, name) in enumerate(starts):
        end = starts[index + 1][0] if index + 1 < len(starts) else end_of_all
        if end <= start:
            continue
        phonemes = from_ipa(name)
        if not phonemes:
            # Length marks and tones lengthen the sound before; an empty name is a pause.
            if name and raw:
                raw[-1] = Sound(raw[-1].phoneme, raw[-1].start, end)
            else:
                raw.append(Sound(PAUSE, start, end))
            continue
        step = (end - start) / len(phonemes)
        raw += [Sound(p, start + k * step, start + (k + 1) * step) for k, p in enumerate(phonemes)]
    sounds: list[Sound] = []
    for index, sound in enumerate(raw):
        start, end = sound.start, sound.end
        phoneme = sound.phoneme
        after = raw[index + 1].phoneme if index + 1 < len(raw) else PAUSE
        if phoneme.kind == "stop" and not phoneme.voiced:
            start, end = _silence_before(energy, start, loud), min(start + 0.008, end)
        elif phoneme.kind in ("stop", "nasal") and after.kind in ("vowel", "approximant"):
            end = _release(energy, start, end)
        if sounds and sounds[-1].end > start:
            before = sounds[-1]
            start = max(start, before.start)
            sounds[-1] = Sound(before.phoneme, before.start, start, before.strength)
        elif sounds and sounds[-1].end < start:
            start = sounds[-1].end
        strength = 1.0
        if phoneme.kind == "vowel":
            here = energy[int(start * 200) : max(int(end * 200), int(start * 200) + 1)]
            peak = float(here.max(initial=0.0)) / loud
            strength = float(np.clip(0.45 + 0.6 * peak, 0.45, 1.3))
        sounds.append(Sound(phoneme, start, end, strength))
    return sounds


def _silence_before(energy: NDArray[np.float32], start: float, loud: float) -> float:
    """Where the silence that ends at `start` begins, at most 0.1 s earlier (seconds)."""
    first = last = min(int(start * 200), len(energy))
    while first > 0 and last - first < 20 and energy[first - 1] < 0.06 * loud:
        first -= 1
    return start - max((last - first) / 200, 0.03)


def _release(energy: NDArray[np.float32], start: float, end: float) -> float:
    """When a voiced closure opens (seconds): the steepest rise late in [start, end]."""
    first, last = int((start + 0.4 * (end - start)) * 200), int(end * 200) + 1
    here = np.log(energy[max(first, 0) : last + 2])
    if len(here) < 3:
        return end
    rise = here[2:] - here[:-2]
    steepest = int(np.argmax(rise))
    return min((first + steepest + 1) / 200, end) if rise[steepest] > 0.5 else end
