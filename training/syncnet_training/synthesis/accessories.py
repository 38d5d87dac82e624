"""What people wear on or hold before their faces: glasses, a microphone, a hand."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from syncnet_training.synthesis.head import Anatomy
from syncnet_training.synthesis.raster import Float
from syncnet_training.synthesis.skin import Look, noise
from syncnet_training.synthesis.surroundings import Surface, grid_surface


def _plain(colour: NDArray[np.floating[Any]]) -> Float:
    return np.tile(colour.astype(np.float32), (4, 4, 1))


def glasses(anatomy: Anatomy, rng: np.random.Generator) -> list[Surface]:
    """Two rims, a bridge and the arms; now and then dark lenses."""
    colour = rng.uniform(0.02, 0.25, 3) if rng.random() < 0.7 else rng.uniform(0.3, 0.9, 3)
    picture = _plain(colour)
    thick = float(rng.uniform(0.015, 0.06))
    half = np.array([rng.uniform(0.27, 0.36), rng.uniform(0.18, 0.3)])
    power = float(rng.uniform(2.0, 5.0))  # 2 is round, larger is square
    front, drop = float(rng.uniform(0.16, 0.24)), float(rng.uniform(0.0, 0.1))
    around = np.linspace(0, 2 * np.pi, 33)
    cos, sin = np.cos(around), np.sin(around)
    radius = (np.abs(cos) ** power + np.abs(sin) ** power) ** (-1 / power)
    surfaces = []
    for side in (-1.0, 1.0):
        centre = side * max(anatomy.eye_x, half[0] + 0.08)
        ring = np.array([1.0, 1.0 + thick / half[1]])[:, None] * radius
        x = centre + half[0] * ring * cos
        y = drop + half[1] * ring * sin
        z = front - 0.35 * np.maximum(np.abs(x) - 0.2, 0) ** 2
        surfaces.append(grid_surface(x, y, z, picture))
        outer = centre + side * half[0]
        arm_x = np.array([[outer, side * 1.09], [outer, side * 1.09]])
        arm_y = drop - 0.06 + np.array([[0, 0], [thick, thick]])
        arm_z = np.array([[front - 0.15, -1.0], [front - 0.15, -1.0]])
        surfaces.append(grid_surface(arm_x, arm_y, arm_z, picture))
    gap = max(anatomy.eye_x - half[0], 0.08)
    bridge_x = np.array([[-gap, 0, gap]] * 2)
    bridge_y = drop - 0.04 + np.array([[0.02, 0, 0.02], [0.02 + thick, thick, 0.02 + thick]])
    surfaces.append(grid_surface(bridge_x, bridge_y, np.full((2, 3), front + 0.06), picture))
    if rng.random() < 0.12:
        lens = np.linspace(0, 1, 3)[:, None] * radius
        for side in (-1.0, 1.0):
            x = side * max(anatomy.eye_x, half[0] + 0.08) + half[0] * lens * cos
            y = drop + half[1] * lens * sin
            surfaces.append(
                grid_surface(x, y, np.full(x.shape, front - 0.02), _plain(rng.uniform(0, 0.15, 3)))
            )
    return surfaces


def _ball(centre: Float, radii: Float, turn: float, picture: Float) -> Surface:
    """An ellipsoid, rolled by `turn` radians in the picture plane; the side that is seen."""
    v, u = np.meshgrid(np.linspace(-1.57, 1.57, 9), np.linspace(-1.57, 1.57, 9), indexing="ij")
    x, y = radii[0] * np.cos(v) * np.sin(u), radii[1] * np.sin(v)
    z = radii[2] * np.cos(v) * np.cos(u)
    cos, sin = np.cos(turn), np.sin(turn)
    return grid_surface(
        centre[0] + cos * x - sin * y, centre[1] + sin * x + cos * y, centre[2] + z, picture
    )


def microphone(rng: np.random.Generator) -> list[Surface]:
    """A microphone held or standing below the mouth."""
    dark = float(rng.uniform(0.03, 0.3))
    foam = np.clip(dark * (1 + 0.4 * noise(rng, 64, 64, 50, 50)), 0, 1)[..., None] * np.ones(3)
    side, top = float(rng.uniform(-0.8, 0.8)), float(rng.uniform(1.55, 2.1))
    lean = side * 0.4
    handle = _ball(
        np.array([side + lean, top + 1.35, 0.3]),
        np.array([0.12, 1.3, 0.12]),
        -0.3 * side,
        _plain(rng.uniform(0.02, 0.5, 3)),
    )
    return [_ball(np.array([side, top, 0.35]), np.array([0.24, 0.28, 0.24]), 0.0, foam), handle]


def hand(look: Look, rng: np.random.Generator) -> list[Surface]:
    """A hand with slightly spread fingers, its wrist below."""
    side = float(rng.choice([-1, 1]))
    tone = np.clip(look.skin * rng.uniform(0.85, 1.05), 0, 1)
    picture = np.clip(tone * (1 + 0.06 * noise(rng, 48, 48, 14, 14))[..., None], 0, 1)
    at = np.array([side * rng.uniform(0.3, 1.3), rng.uniform(1.75, 2.6), 0.45])
    turn = side * float(rng.uniform(-0.2, 0.9))
    # Up in the hand's own frame.
    up = np.array([np.sin(turn), -np.cos(turn)])
    across = np.array([np.cos(turn), np.sin(turn)])
    parts = [_ball(at, np.array([0.34, 0.42, 0.15]), turn, picture.astype(np.float32))]
    wrist = np.array([*(at[:2] - 1.1 * up), at[2] - 0.1])
    parts.append(_ball(wrist, np.array([0.26, 1.0, 0.2]), turn, picture.astype(np.float32)))
    for index, place in enumerate((-0.24, -0.08, 0.08, 0.24)):
        bend = turn + place * float(rng.uniform(0.1, 1.0))
        length = (0.30, 0.36, 0.34, 0.26)[index] * float(rng.uniform(0.5, 1.0))
        reach = np.array([np.sin(bend), -np.cos(bend)]) * (0.3 + length)
        middle = at[:2] + across * place + reach
        parts.append(
            _ball(
                np.array([*middle, at[2] + 0.02]),
                np.array([0.085, length + 0.06, 0.09]),
                bend,
                picture.astype(np.float32),
            )
        )
    return parts
