"""Movement that has nothing to do with speech: head, eyes, brows, smiles, swallowing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syncnet_training.synthesis.head import SHAPES
from syncnet_training.synthesis.raster import Float

Array = NDArray[np.float64]
_OVERSAMPLING = 4  # movement is drawn at 100 steps per second
_STEP_S = 0.04 / _OVERSAMPLING


def wander(rng: np.random.Generator, steps: int, seconds: float) -> Array:
    """Smooth random movement of unit variance that changes over about `seconds`: [steps]."""
    sigma = max(seconds / _STEP_S / 2.5, 0.6)
    reach = int(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= np.sqrt(np.sum(kernel**2))
    smooth: Array = np.convolve(rng.standard_normal(steps + 2 * reach), kernel, mode="valid")
    return smooth


@dataclass(frozen=True)
class Motion:
    """Per step, of which there are 100 a second.

    angles [n, 3]: yaw, pitch, roll in radians. shift [n, 3] in face units. shapes [n, len(SHAPES)]:
    added to the face's coefficients. lids [n]: 1 open, 0 shut. gaze [n, 2] in -1..1. hand [n, 2]:
    shift of a gesturing hand in face units, +y (out of sight) at rest.
    """

    angles: Float
    shift: Float
    shapes: Float
    lids: Float
    gaze: Float
    hand: Float

    def at(self, time: float) -> int:
        """The step at `time` seconds."""
        return int(np.clip(round(time / _STEP_S), 0, len(self.lids) - 1))


def random_motion(rng: np.random.Generator, seconds: float) -> Motion:
    """Draw how a head moves for so many seconds."""
    n = int(np.ceil(seconds / _STEP_S)) + 1
    liveliness = rng.uniform(0.15, 1.3)
    profile = rng.random() < 0.15
    yaw0 = rng.choice([-1, 1]) * rng.uniform(0.45, 0.9) if profile else rng.normal(0, 0.22)
    angles = np.stack(
        [
            yaw0 + liveliness * (0.09 * wander(rng, n, 1.2) + 0.03 * wander(rng, n, 0.35)),
            rng.normal(0, 0.12)
            + liveliness * (0.06 * wander(rng, n, 0.8) + 0.02 * wander(rng, n, 0.25)),
            rng.normal(0, 0.3 if rng.random() < 0.1 else 0.08)
            + liveliness * 0.05 * wander(rng, n, 1.0),
        ],
        axis=1,
    )
    shift = liveliness * np.stack([0.08 * wander(rng, n, 1.0), 0.04 * wander(rng, n, 0.8),
                                   0.1 * wander(rng, n, 1.5)], axis=1)  # fmt: skip
    shapes = np.zeros((n, len(SHAPES)))
    play = rng.uniform(0.0, 0.5)
    for name, mean, spread, pace in (
        ("smile", float(rng.choice([0.0, 0.0, 0.5])) * rng.uniform(0, 1.2), 0.35, 1.2),
        ("brow", 0.0, 0.8, 0.5),
        ("frown", float(rng.random() < 0.2), 0.5, 0.8),
        ("sideways", rng.normal(0, 0.2), 0.3, 0.4),
        ("crooked", rng.normal(0, 0.3), 0.2, 0.8),
        ("wide", rng.normal(0, 0.1), 0.12, 0.7),
        ("upper", rng.normal(0, 0.05), 0.08, 0.6),
        ("puff", 0.0, 0.25, 0.4),
    ):
        shapes[:, SHAPES.index(name)] = mean + play * spread * wander(rng, n, pace)
    return Motion(
        angles=angles.astype(np.float32),
        shift=shift.astype(np.float32),
        shapes=shapes.astype(np.float32),
        lids=_blinks(rng, n),
        gaze=_glances(rng, n),
        hand=_gestures(rng, n),
    )


def _blinks(rng: np.random.Generator, n: int) -> Float:
    lids = np.ones(n)
    at = rng.uniform(0, 3)
    while at < n * _STEP_S:
        time = np.arange(n) * _STEP_S - at
        # Lids fall faster than they rise.
        shut = np.where(time < 0, np.exp(-((time / 0.05) ** 2)), np.exp(-((time / 0.1) ** 2)))
        lids = np.minimum(lids, 1 - shut)
        at += 0.3 + rng.exponential(2.8)
    lids *= rng.uniform(0.75, 1.0)
    return lids.astype(np.float32)


def _glances(rng: np.random.Generator, n: int) -> Float:
    gaze = np.zeros((n, 2))
    at, where = 0, rng.normal(0, 0.3, 2)
    while at < n:
        hold = int(rng.exponential(0.9) / _STEP_S) + 15
        gaze[at : at + hold] = where
        at += hold
        where = rng.normal(0, 0.35, 2) if rng.random() < 0.7 else np.zeros(2)
    return np.clip(gaze, -1, 1).astype(np.float32)


def _gestures(rng: np.random.Generator, n: int) -> Float:
    raised = np.clip(0.5 + rng.normal(0, 0.7) + 0.9 * wander(rng, n, 0.6), 0, 1)
    sway = 0.15 * wander(rng, n, 0.35)
    lift = 0.12 * wander(rng, n, 0.3) + 2.2 * (1 - raised)
    path: Float = np.stack([sway, lift], axis=1).astype(np.float32)
    return path
