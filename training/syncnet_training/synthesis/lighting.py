"""Light on a scene: coloured lamps with cast shadows, and an ambient that comes from above."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from syncnet_training.synthesis.raster import Canvas, Float, Mesh

_MAP_SIZE = 176  # pixels of a shadow map's side
_MAP_REACH = 2.6  # half its side in face units
_BIAS = 0.07  # a point is in shadow if something lies this much nearer to the lamp


@dataclass(frozen=True)
class Light:
    """The light of a scene with L lamps.

    Attributes:
        directions: [L, 3], towards the lamps.
        colours: [L, 3], of the lamps.
        sky: [3], ambient light from above.
        ground: [3], ambient light from below.
        polish: sharpness of reflections.
    """

    directions: Float
    colours: Float
    sky: Float
    ground: Float
    polish: float

    def shade(self, normals: Float, gloss: float, seen: Float) -> tuple[Float, Float]:
        """What surfaces with these normals [N, 3] receive: light [N, 3] and reflection [N].

        gloss: strength of reflections. seen [N, L]: the part of each lamp that a point sees.
        """
        up = (0.5 - 0.5 * normals[:, 1:2]).astype(np.float32)
        lit = self.ground + up * (self.sky - self.ground)
        reflection = np.zeros(len(normals), np.float32)
        facing = normals @ self.directions.T
        # Light wraps a little round: skin scatters.
        direct = np.maximum((facing + 0.15) / 1.15, 0) * seen
        lit += direct @ self.colours
        if gloss > 0:
            half = self.directions + np.array([0, 0, 1], np.float32)
            half /= np.linalg.norm(half, axis=1, keepdims=True)
            glint = np.maximum(normals @ half.T, 0) ** self.polish * seen
            reflection = gloss * glint @ self.colours.mean(axis=1)
        return lit.astype(np.float32), reflection.astype(np.float32)


def random_light(rng: np.random.Generator) -> Light:
    """One to three lamps, the first mostly in front."""
    directions, colours = [], []
    for index in range(int(rng.integers(1, 4))):
        azimuth = rng.normal(0, 0.7) if index == 0 else rng.uniform(-1.9, 1.9)
        height = rng.uniform(-0.15, 1.1)
        directions.append(
            [np.sin(azimuth) * np.cos(height), -np.sin(height), np.cos(azimuth) * np.cos(height)]
        )
        strength = rng.uniform(0.5, 1.2) if index == 0 else rng.uniform(0.0, 0.6)
        colours.append(strength * rng.uniform(0.85, 1.15, 3))
    ambient = rng.uniform(0.12, 0.6)
    return Light(
        directions=np.array(directions, np.float32),
        colours=np.array(colours, np.float32),
        sky=(ambient * rng.uniform(0.85, 1.15, 3)).astype(np.float32),
        ground=(ambient * rng.uniform(0.4, 0.9) * rng.uniform(0.85, 1.15, 3)).astype(np.float32),
        polish=float(rng.uniform(8, 40)),
    )


def cast_shadows(surfaces: Sequence[tuple[Mesh, Float]], light: Light) -> list[Float]:
    """For each surface (mesh, vertices [N, 3]) the part of each lamp its vertices see: [N, L].

    Depth maps as seen from the lamps; the edges of shadows are softened by several samples.
    """
    seen = [np.ones((len(points), len(light.directions)), np.float32) for _, points in surfaces]
    canvas = Canvas(_MAP_SIZE)
    steps = np.array([(0, 0), (3, 0), (-3, 0), (0, 3), (0, -3), (2, 2), (-2, -2), (2, -2), (-2, 2)])
    for index, direction in enumerate(light.directions):
        side = np.cross(np.array([0.0, 1.0, 0.0]), direction)
        side /= np.linalg.norm(side)
        axes = np.stack([side, np.cross(direction, side), direction]).astype(np.float32)
        canvas.clear()
        projected = []
        for mesh, points in surfaces:
            turned = (points - np.array([0, 0.8, -0.6], np.float32)) @ axes.T
            turned[:, :2] = (turned[:, :2] / _MAP_REACH + 1) / 2 * _MAP_SIZE
            projected.append(turned)
            canvas.draw(mesh, turned, np.zeros_like(points), np.zeros(len(points), np.float32))
        for turned, part in zip(projected, seen, strict=True):
            at = turned[:, None, :2].round().astype(int) + steps
            at = np.clip(at, 0, _MAP_SIZE - 1)
            nearest = canvas.depth[at[..., 1], at[..., 0]]
            part[:, index] = np.mean(nearest < turned[:, 2:] + _BIAS, axis=1)
    return seen
