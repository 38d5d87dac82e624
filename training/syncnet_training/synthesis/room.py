"""From clean speech to a recording: room, noise, music, microphone, level."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, resample_poly, sosfilt

SAMPLE_RATE = 16000

Wave = NDArray[np.float32]


def record(
    speech: Wave, rng: np.random.Generator, *, music: Wave | None = None, hard: bool = False
) -> NDArray[np.int16]:
    """Record clean speech.

    Args:
        speech: float32 [N] at 16 kHz, any level.
        rng: decides about everything.
        music: float32 [N], what plays in the background if there is music; chords are made up
            where it is None.
        hard: loud noise and music, and a telephone or a codec more often than not.

    Returns:
        int16 [N] with the direct sound undelayed.
    """
    wave = speech.astype(np.float64)
    level = float(np.sqrt(np.mean(wave**2))) + 1e-6
    if rng.random() < 0.5:
        wave = _roughen(wave, rng)
    if rng.random() < 0.6:
        wave = _reverberate(wave, rng)
    if hard or rng.random() < 0.85:
        snr_db = rng.uniform(3, 20 if hard else 45)
        wave = wave + _coloured_noise(rng, len(wave)) * level * 10 ** (-snr_db / 20)
    if rng.random() < (0.5 if hard else 0.3):
        snr_db = rng.uniform(2, 15 if hard else 25)
        playing = _music(rng, len(wave)) if music is None else music
        wave = wave + playing * (level * 10 ** (-snr_db / 20) / (float(np.std(playing)) + 1e-6))
    wave = _microphone(wave, rng)
    peak = float(np.max(np.abs(wave))) + 1e-9
    wave = wave / peak
    if rng.random() < 0.35:
        # A compressor, or a loud recording that clips softly.
        drive = rng.uniform(1.5, 6)
        wave = np.tanh(drive * wave) / np.tanh(drive)
    way = rng.random() * (0.5 if hard else 1.0)
    if way < 0.1:
        wave = _telephone(wave)
    elif way < 0.35:
        wave = _codec(wave, rng)
    wave *= 10 ** (-rng.uniform(0.5, 26) / 20)
    wave += rng.normal(0, 2e-5, len(wave))
    return np.clip(wave * 32767, -32768, 32767).astype(np.int16)


def _telephone(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """8 kHz, 8 bits on a logarithmic scale (the mu-law of ITU-T G.711), without delay."""
    narrow = resample_poly(wave, 1, 2)
    peak = float(np.max(np.abs(narrow))) + 1e-9
    curved = np.sign(narrow) * np.log1p(255 * np.abs(narrow) / peak) / np.log(256)
    coded = np.round(curved * 127) / 127
    decoded = np.sign(coded) * np.expm1(np.abs(coded) * np.log(256)) / 255 * peak
    out: NDArray[np.float64] = resample_poly(decoded, 2, 1)[: len(wave)]
    return out


def _codec(wave: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """What MP3, AAC or Opus leave at low rates: coarse steps in every band, holes, no treble.

    A lapped transform of 32 ms with a quantiser whose steps follow the loudness of each band;
    symmetric in time, so nothing moves.
    """
    size, hop = 512, 256
    padded = np.pad(wave, (size, size + hop - len(wave) % hop))
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size)
    starts = np.arange(0, len(padded) - size + 1, hop)
    spectrum = np.fft.rfft(padded[starts[:, None] + np.arange(size)] * window)
    edges = np.unique(np.geomspace(2, size // 2 + 1, 20).astype(int))
    coarseness = rng.uniform(0.4, 2.2)
    for low, high in pairwise(edges):
        band = spectrum[:, low:high]
        step = coarseness * np.sqrt(np.mean(np.abs(band) ** 2, axis=1, keepdims=True)) + 1e-9
        spectrum[:, low:high] = step * (
            np.round(band.real / step) + 1j * np.round(band.imag / step)
        )
    spectrum[:, int(rng.uniform(0.4, 1.0) * size // 2) :] = 0
    out = np.zeros(len(padded))
    for start, block in zip(starts, np.fft.irfft(spectrum, size) * window, strict=True):
        out[start : start + size] += block
    return out[size : size + len(wave)]


def _roughen(wave: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Breath under the voice: noise that follows the loudness of the speech."""
    loudness = np.sqrt(np.maximum(fftconvolve(wave**2, np.full(160, 1 / 160), mode="same"), 0))
    breath = rng.standard_normal(len(wave))
    breath = breath - _low_pass(breath, rng.uniform(500, 3000))
    rough: NDArray[np.float64] = wave + 10 ** (-rng.uniform(10, 30) / 20) * loudness * breath
    return rough


def _reverberate(wave: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    decay_s = rng.uniform(0.08, 0.7)
    length = int(decay_s * SAMPLE_RATE)
    time = np.arange(length) / SAMPLE_RATE
    tail = rng.standard_normal(length) * np.exp(-6.9 * time / decay_s)
    tail[: int(rng.uniform(0.001, 0.012) * SAMPLE_RATE)] = 0
    tail = _low_pass(tail, rng.uniform(2500, 7500))
    tail *= rng.uniform(0.05, 0.7) / np.sqrt(np.sum(tail**2))
    tail[0] += 1.0
    out: NDArray[np.float64] = fftconvolve(wave, tail)[: len(wave)]
    return out


def _low_pass(wave: NDArray[np.float64], cutoff: float) -> NDArray[np.float64]:
    out: NDArray[np.float64] = sosfilt(butter(2, cutoff, fs=SAMPLE_RATE, output="sos"), wave)
    return out


def _coloured_noise(rng: np.random.Generator, length: int) -> NDArray[np.float64]:
    """Noise of unit power whose spectrum falls with a random slope, sometimes pulsating."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequency = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    spectrum *= (frequency + 40) ** -rng.uniform(0.0, 1.3)
    noise = np.fft.irfft(spectrum, length)
    if rng.random() < 0.3:
        beat = np.sin(2 * np.pi * rng.uniform(0.3, 5) * np.arange(length) / SAMPLE_RATE)
        noise *= 1 + rng.uniform(0.2, 0.9) * beat
    out: NDArray[np.float64] = noise / np.sqrt(np.mean(noise**2))
    return out


def _music(rng: np.random.Generator, length: int) -> NDArray[np.float64]:
    """Chords of decaying notes and perhaps a beat, unit power."""
    out = np.zeros(length)
    beat = int(rng.uniform(0.2, 0.7) * SAMPLE_RATE)
    root = rng.uniform(80, 300)
    start = -int(rng.integers(beat))
    while start < length:
        for step in rng.choice([0, 3, 4, 5, 7, 9, 12, 16], size=int(rng.integers(1, 5))):
            time = np.arange(2 * beat) / SAMPLE_RATE
            pitch = root * 2 ** (step / 12)
            envelope = np.exp(-time * rng.uniform(1, 8)) * np.minimum(time * 200, 1)
            note = np.zeros(len(time))
            for harmonic in range(1, int(rng.integers(2, 7))):
                phase = rng.uniform(0, 6.3)
                note += np.sin(2 * np.pi * pitch * harmonic * time + phase) / harmonic**1.2
            first, last = max(start, 0), min(start + len(time), length)
            if last > first:
                out[first:last] += (note * envelope)[first - start : last - start]
        if rng.random() < 0.5 and 0 <= start < length - 800:
            out[start : start + 800] += rng.standard_normal(800) * np.exp(-np.arange(800) / 150) * 2
        start += beat
    power: NDArray[np.float64] = out / (np.sqrt(np.mean(out**2)) + 1e-9)
    return power


def _microphone(wave: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Band limits and a gentle tilt or resonance, with less than a millisecond of delay."""
    kind = rng.random()
    if kind < 0.12:
        low, high = rng.uniform(150, 350), rng.uniform(3000, 4000)
        wave = sosfilt(butter(2, [low, high], "bandpass", fs=SAMPLE_RATE, output="sos"), wave)
    elif kind < 0.45:
        wave = _low_pass(wave, rng.uniform(3500, 7600))
    if rng.random() < 0.6:
        wave = sosfilt(
            butter(1, rng.uniform(40, 180), "highpass", fs=SAMPLE_RATE, output="sos"), wave
        )
    if rng.random() < 0.8:
        # A smooth random response, without delay (zero phase).
        spectrum = np.fft.rfft(wave)
        frequency = np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)
        corners = np.log(np.array([60.0, 150, 400, 1000, 2500, 5000, 8000]))
        gain_db = rng.normal(0, rng.uniform(1, 6), len(corners)) + rng.normal(0, 4) * np.linspace(
            -1, 1, 7
        )
        response = 10 ** (np.interp(np.log(frequency + 1), corners, gain_db) / 20)
        wave = np.fft.irfft(spectrum * response, len(wave))
    return wave
