"""From timed speech sounds to the movement of jaw, lips and tongue.

Each sound pulls the articulators towards its targets, weighted by how much it insists on them; the
weighted targets are smoothed over time, so neighbours shade into each other and movement starts
before the sound (coarticulation by dominance, after Cohen & Massaro 1993). Closures are exempt:
lips are shut for as long as a p, b or m is, because that is what makes the sound.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syncnet_training.synthesis.phonemes import (
    ARTICULATORS,
    BITE,
    JAW,
    LOWER,
    PAUSE,
    PRESS,
    ROUND,
    TONGUE,
    UPPER,
    WIDE,
    Phoneme,
)

Track = NDArray[np.float32]

TRACK_RATE = 200  # samples of the track per second
# Standard deviation of the smoothing in seconds: heavy organs move slowly.
_SMOOTHING = {
    JAW: 0.038, WIDE: 0.045, ROUND: 0.048, UPPER: 0.034, LOWER: 0.032, PRESS: 0.012, BITE: 0.018,
    TONGUE: 0.022,
}  # fmt: skip


@dataclass(frozen=True)
class Sound:
    """A phoneme on the time line of a clip; seconds. strength: 1 for a normally stressed one."""

    phoneme: Phoneme
    start: float
    end: float
    strength: float = 1.0


@dataclass(frozen=True)
class Style:
    """How a speaker articulates: gains on the articulators, and the mouth at rest.

    open_rest: jaw opening in pauses. parted: how far the lips are apart in pauses.
    """

    gains: tuple[float, ...] = (1.0,) * len(ARTICULATORS)
    open_rest: float = 0.0
    parted: float = 0.0


def random_style(rng: np.random.Generator) -> Style:
    """A speaker between mumbling and over-articulating."""
    effort = rng.uniform(0.65, 1.25)
    gains = effort * rng.uniform(0.75, 1.3, len(ARTICULATORS))
    gains[PRESS] = gains[BITE] = 1.0
    gains[JAW] *= rng.uniform(0.75, 1.15)
    gaping = rng.random() < 0.3
    return Style(
        gains=tuple(float(g) for g in gains),
        open_rest=float(rng.uniform(0.03, 0.12)) if gaping else 0.0,
        parted=float(rng.uniform(0.05, 0.35)) if gaping else 0.0,
    )


def _smooth(values: NDArray[np.float64], sigma_s: float) -> NDArray[np.float64]:
    reach = int(np.ceil(3 * sigma_s * TRACK_RATE))
    time = np.arange(-reach, reach + 1) / TRACK_RATE
    kernel = np.exp(-0.5 * (time / sigma_s) ** 2)
    padded = np.pad(values, reach, mode="edge")
    smoothed: NDArray[np.float64] = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    return smoothed


def articulate(sounds: Sequence[Sound], seconds: float, style: Style) -> Track:
    """The movement of the articulators for `sounds`: float32 [seconds * TRACK_RATE, 8].

    Columns are ARTICULATORS. Time not covered by a sound is a pause.
    """
    length = round(seconds * TRACK_RATE)
    count = len(ARTICULATORS)
    target = np.zeros((count, length))
    weight = np.full(length, PAUSE.hold)
    target[JAW] = style.open_rest
    target[UPPER] = target[LOWER] = style.parted
    closed = np.zeros(length)
    bitten = np.zeros(length)
    for sound in sounds:
        # Rounded the same way at both ends, so that neighbours leave no gap.
        first = max(round(sound.start * TRACK_RATE), 0)
        last = min(round(sound.end * TRACK_RATE), length)
        if first >= last or sound.phoneme.kind == "pause":
            continue
        values = np.array(sound.phoneme.targets) * style.gains
        if sound.phoneme.kind == "vowel":
            values[JAW] *= sound.strength
            values[[UPPER, LOWER]] *= 0.5 + 0.5 * sound.strength
        target[:, first:last] = values[:, None]
        weight[first:last] = sound.phoneme.hold
        closed[first:last] = sound.phoneme.press
        bitten[first:last] = sound.phoneme.bite
    track = np.empty((length, count))
    for k in range(count):
        if k == PRESS:
            # Sharp, and a little ahead: lips meet before the closure is heard.
            edge = _smooth(closed, _SMOOTHING[k])
            track[:, k] = np.clip(1.7 * edge, 0.0, 1.0)
        elif k == BITE:
            track[:, k] = np.clip(1.4 * _smooth(bitten, _SMOOTHING[k]), 0.0, 1.0)
        else:
            sigma = _SMOOTHING[k]
            track[:, k] = _smooth(target[k] * weight, sigma) / _smooth(weight, sigma)
    return track.astype(np.float32)


def sample_track(track: Track, times: NDArray[np.float64]) -> Track:
    """The track at `times` (seconds), linearly between its samples: float32 [len(times), 8]."""
    at = np.clip(times * TRACK_RATE, 0, len(track) - 1.001)
    low = at.astype(int)
    share = (at - low)[:, None]
    values: Track = ((1 - share) * track[low] + share * track[low + 1]).astype(np.float32)
    return values
