"""The built-in voice: source-filter formant synthesis (after Klatt 1980).

A pulse train with jitter and breath noise goes through a cascade of resonators; frication and
bursts are noise through one resonator of their own. Controls are set per sound and smoothed, as the
vocal tract is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syncnet_training.synthesis.articulation import Sound
from syncnet_training.synthesis.compiled import compiled

SAMPLE_RATE = 16000
_CONTROL_RATE = 500
_SAMPLES_PER_CONTROL = SAMPLE_RATE // _CONTROL_RATE

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Voice:
    """A speaker's larynx and vocal tract.

    pitch: mean fundamental in Hz. pitch_range: its swing in octaves. formant_scale: 1 for an adult
    man, larger for shorter vocal tracts. breath: aspiration noise relative to voicing. jitter:
    relative variation of the glottal period. open_quotient: part of the period the glottis is open.
    tilt: smoothing of the glottal pulse, 0 (pressed) to 0.9 (dull).
    """

    pitch: float
    pitch_range: float
    formant_scale: float
    breath: float
    jitter: float
    open_quotient: float
    tilt: float


def random_voice(rng: np.random.Generator) -> Voice:
    """A man, a woman or a child."""
    kind = rng.choice(3, p=[0.45, 0.45, 0.1])
    pitch = (rng.uniform(80, 155), rng.uniform(155, 260), rng.uniform(230, 350))[kind]
    scale = (rng.uniform(0.93, 1.06), rng.uniform(1.08, 1.22), rng.uniform(1.2, 1.4))[kind]
    return Voice(
        pitch=float(pitch),
        pitch_range=float(rng.uniform(0.08, 0.5)),
        formant_scale=float(scale),
        breath=float(rng.uniform(0.0, 0.12) if rng.random() < 0.7 else rng.uniform(0.1, 0.5)),
        jitter=float(rng.uniform(0.003, 0.03)),
        open_quotient=float(rng.uniform(0.45, 0.75)),
        tilt=float(rng.uniform(0.0, 0.8)),
    )


def speak(
    sounds: Sequence[Sound], seconds: float, voice: Voice, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Speech for `sounds`: float32 [seconds * 16000], the loudest parts near 0.3."""
    length = round(seconds * _CONTROL_RATE)
    formants = np.tile(np.array([500.0, 1500.0, 2500.0]), (length, 1))
    voicing, breath, friction = np.zeros(length), np.zeros(length), np.zeros(length)
    noise_at = np.full(length, 3000.0)
    nasal = np.zeros(length)
    accent = np.zeros(length)
    for sound in sounds:
        first = max(round(sound.start * _CONTROL_RATE), 0)
        last = min(round(sound.end * _CONTROL_RATE), length)
        if first >= last:
            continue
        phoneme = sound.phoneme
        here = slice(first, last)
        formants[here] = phoneme.formants
        noise_at[here] = phoneme.noise or 3000.0
        loud = 0.45 + 0.55 * min(sound.strength, 1.4)
        if phoneme.kind == "vowel":
            # Open vowels radiate more.
            voicing[here] = loud * (0.75 + 0.35 * phoneme.jaw)
            accent[here] = sound.strength - 0.8
        elif phoneme.kind == "approximant":
            voicing[here] = 0.55 * loud
        elif phoneme.kind == "nasal":
            voicing[here] = 0.4 * loud
            nasal[here] = 1.0
        elif phoneme.kind == "fricative":
            voicing[here] = 0.3 * loud if phoneme.voiced else 0.0
            friction[here] = phoneme.noise_level
            if phoneme.symbol == "h":
                breath[here] = 0.35
        elif phoneme.kind == "stop":
            # A closure, then the burst and, without voice, aspiration.
            release = last - max(min(round(0.012 * _CONTROL_RATE), last - first - 1), 1)
            if phoneme.voiced:
                voicing[first:release] = 0.1
                voicing[release:last] = 0.3
            else:
                tail = min(last + round(0.02 * _CONTROL_RATE), length)
                breath[last:tail] = 0.25
            friction[release:last] = phoneme.noise_level * 1.3
    formants = np.stack([_blur(formants[:, k], 0.016) for k in range(3)], axis=1)
    formants *= voice.formant_scale
    pitch = _pitch_contour(sounds, accent, length, voice, rng)
    control = np.column_stack(
        [
            pitch,
            _blur(voicing, 0.006),
            _blur(breath, 0.006) + voice.breath * _blur(voicing, 0.008),
            _blur(friction, 0.003),
            formants,
            np.full(length, 3500.0 * voice.formant_scale),
            np.minimum(_blur(noise_at, 0.004) * (0.9 + 0.1 * voice.formant_scale), 7400.0),
            _blur(nasal, 0.006),
        ]
    )
    noise = rng.standard_normal((2, length * _SAMPLES_PER_CONTROL))
    wobble = rng.standard_normal(4096)
    wave = _synthesize(
        control, noise, wobble, voice.jitter, voice.open_quotient, voice.tilt, _SAMPLES_PER_CONTROL
    )
    level = np.sqrt(np.mean(wave**2)) + 1e-9
    scaled: NDArray[np.float32] = (wave * (0.06 / level)).astype(np.float32)
    return scaled


def _blur(values: Array, sigma_s: float) -> Array:
    reach = int(np.ceil(3 * sigma_s * _CONTROL_RATE))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (sigma_s * _CONTROL_RATE)) ** 2)
    padded = np.pad(values, reach, mode="edge")
    blurred: Array = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    return blurred


def _pitch_contour(
    sounds: Sequence[Sound], accent: Array, length: int, voice: Voice, rng: np.random.Generator
) -> Array:
    """Hz per control step: declination in each phrase, accents on stress, a final fall or rise."""
    octaves = np.zeros(length)
    start = 0.0
    for sound in sounds:
        if sound.phoneme.kind != "pause":
            continue
        first = max(round(start * _CONTROL_RATE), 0)
        last = min(round(sound.start * _CONTROL_RATE), length)
        if last > first:
            shape = np.linspace(0.5, -0.5, last - first)
            shape[-max((last - first) // 5, 1) :] += rng.uniform(-0.6, 0.6)
            octaves[first:last] = voice.pitch_range * shape
        start = sound.end
    octaves += voice.pitch_range * 0.8 * accent
    octaves += 0.3 * voice.pitch_range * _blur(rng.standard_normal(length) * 4, 0.15)
    contour: Array = voice.pitch * 2.0 ** _blur(octaves, 0.05)
    return np.clip(contour, 55.0, 600.0)


@compiled
def _synthesize(
    control: Array,
    noise: Array,
    wobble: Array,
    jitter: float,
    open_quotient: float,
    tilt: float,
    step: int,
) -> Array:
    rate = 16000.0
    out = np.zeros(control.shape[0] * step)
    state = np.zeros((8, 2))
    gain = np.zeros((8, 3))
    phase, period, pulse, shimmer = 0.0, 160.0, 0, 1.0
    dull, before = 0.0, 0.0
    for frame in range(control.shape[0]):
        row = control[frame]
        nxt = control[min(frame + 1, control.shape[0] - 1)]
        nasal = row[9]
        for k in range(5):
            # Formants 1-4, then a fixed fifth.
            frequency = row[4 + k] if k < 4 else row[7] * 1.25
            width = 55.0 + 35.0 * k + 0.02 * frequency + 120.0 * nasal
            frequency = min(frequency, 7600.0)
            radius = np.exp(-np.pi * width / rate)
            gain[k, 1] = 2.0 * radius * np.cos(2.0 * np.pi * frequency / rate)
            gain[k, 2] = -radius * radius
            gain[k, 0] = 1.0 - gain[k, 1] - gain[k, 2]
        centre = row[8]
        radius = np.exp(-np.pi * (0.22 * centre + 250.0) / rate)
        gain[5, 1] = 2.0 * radius * np.cos(2.0 * np.pi * centre / rate)
        gain[5, 2] = -radius * radius
        gain[5, 0] = (1.0 - radius) * 2.0
        for i in range(step):
            n = frame * step + i
            share = i / step
            pitch = row[0] + share * (nxt[0] - row[0])
            voicing = row[1] + share * (nxt[1] - row[1])
            breath = row[2] + share * (nxt[2] - row[2])
            friction = row[3] + share * (nxt[3] - row[3])
            phase += 1.0
            if phase >= period:
                phase -= period
                pulse += 1
                period = rate / pitch * (1.0 + jitter * wobble[pulse % 4096])
                shimmer = 1.0 + 2.0 * jitter * wobble[(pulse * 7 + 13) % 4096]
            at = phase / period
            flow = 0.0
            if at < open_quotient:
                # Rosenberg's pulse: it rises slowly and shuts fast.
                u = at / open_quotient
                flow = 3.0 * u * u - 2.0 * u * u * u if u < 0.7 else 0.784 * (1.0 - (u - 0.7) / 0.3)
            dull = tilt * dull + (1.0 - tilt) * flow * shimmer
            excitation = (dull - before) * 12.0 * voicing
            before = dull
            excitation += noise[0, n] * breath * (0.3 + 0.7 * (1.0 if at < open_quotient else 0.3))
            value = excitation
            for k in range(5):
                value = gain[k, 0] * value + gain[k, 1] * state[k, 0] + gain[k, 2] * state[k, 1]
                state[k, 1] = state[k, 0]
                state[k, 0] = value
            hiss = gain[5, 0] * noise[1, n] + gain[5, 1] * state[5, 0] + gain[5, 2] * state[5, 1]
            state[5, 1] = state[5, 0]
            state[5, 0] = hiss
            out[n] = value + 2.0 * friction * hiss
    return out
