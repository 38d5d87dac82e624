"""Everything in the picture that is not the face: hair, ears, neck, clothes, background."""

import cv2
import numpy as np
from numpy.typing import NDArray

from syncnet_training.synthesis.head import TEXTURE_HEIGHT, TEXTURE_WIDTH, Head
from syncnet_training.synthesis.raster import Float, Mesh, grid_triangles
from syncnet_training.synthesis.skin import Look, noise, with_coverage

# A mesh, its vertices [N, 3] at rest, and the rows and columns of the grid that they form.
Surface = tuple[Mesh, Float, tuple[int, int]]


def grid_surface(
    x: Float, y: Float, z: Float, picture: Float, coverage: Float | None = None
) -> Surface:
    """Mesh and vertices of a grid surface with `picture` stretched over it."""
    rows, columns = x.shape
    height, width = picture.shape[:2]
    u, v = np.meshgrid(np.linspace(0, width - 1, columns), np.linspace(0, height - 1, rows))
    uv = np.stack([u, v], -1).reshape(-1, 2).astype(np.float32)
    points = np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32)
    mesh = Mesh(grid_triangles(rows, columns), uv, with_coverage(picture, coverage))
    return mesh, points, (rows, columns)


def _strands(rng: np.random.Generator, height: int, width: int, look: Look) -> Float:
    """Hair: streaks of brighter and darker strands, running down."""
    wave = noise(rng, height, width, 5, 6)
    columns = np.arange(width)[None, :] + 6 * rng.uniform(0, 1.5) * wave
    fine = noise(rng, height, width, 8, width / 1.6) * 0.5 + noise(rng, height, width, 5, width / 5)
    bent = cv2.remap(
        fine,
        columns.astype(np.float32),
        np.tile(np.arange(height, dtype=np.float32)[:, None], (1, width)),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    picture: Float = np.clip(look.hair * (1 + 0.28 * bent)[..., None], 0.01, 1).astype(np.float32)
    return picture


def _muted(colour: NDArray[np.float64], saturation: float) -> NDArray[np.float64]:
    grey = np.mean(colour)
    muted: NDArray[np.float64] = np.clip(grey + saturation * (colour - grey), 0.0, 1.0)
    return muted


def hair_cap(head: Head, look: Look, rng: np.random.Generator) -> Surface:
    """Hair on the skull: the head's own surface, lifted, down to a hairline."""
    x, y = head.texel_x, head.texel_y
    angle = np.abs(head.texel_angle)
    shape = (TEXTURE_HEIGHT, TEXTURE_WIDTH)
    picture = _strands(rng, *shape, look)
    # The hairline: over the forehead, then down to the sideburns.
    forehead = float(rng.uniform(-1.15, -0.85))
    line = forehead + 0.10 * np.cos(x * 4) * rng.uniform(-0.5, 1)
    side = np.clip((angle - 0.95) / 0.35, 0, 1)
    line = line + side**1.5 * (float(rng.uniform(0.1, 0.75)) - forehead)
    if rng.random() < 0.4:
        # A fringe, swept to one side.
        part = float(rng.uniform(-0.5, 0.5))
        sweep = float(rng.uniform(0.2, 0.75)) * np.abs(
            np.sin(np.clip((x - part) * 1.5, -1.57, 1.57))
        )
        only = (x > part) if part > 0 else (x < part)
        line = line + sweep * (1 - side) * np.where(rng.random() < 0.5, 1.0, only)
    line = line + 0.05 * noise(rng, *shape, 3, 45) + 0.05 * noise(rng, *shape, 3, 140)
    coverage = (y < line).astype(np.float32)
    coverage = cv2.GaussianBlur(coverage, (0, 0), 0.8)
    grid = head.rest.reshape(head.rows, head.columns, 3)
    keep = int(np.searchsorted(grid[:, head.columns // 2, 1], 0.75))
    grid = grid[:keep]
    thick = float(rng.uniform(0.04, 0.22))
    top = np.clip((-0.3 - grid[..., 1]) / 0.9, 0, 1)
    centre = np.array([0.0, -0.2, -1.0])
    out = grid - centre
    out /= np.linalg.norm(out, axis=-1, keepdims=True)
    lift = 0.02 + thick * (0.3 + 0.7 * top)
    lift = lift * (1 + 0.12 * noise(rng, keep, head.columns, 6, 9))
    points = (grid + out * lift[..., None]).reshape(-1, 3).astype(np.float32)
    uv = head.uv.reshape(head.rows, head.columns, 2)[:keep].reshape(-1, 2)
    mesh = Mesh(grid_triangles(keep, head.columns), uv, with_coverage(picture, coverage))
    return mesh, points, (keep, head.columns)


def long_hair(look: Look, rng: np.random.Generator) -> Surface:
    """Hair that hangs round the head, open in front."""
    rows, columns = 20, 33
    front = float(rng.uniform(0.95, 1.4))
    phi = np.concatenate([np.linspace(front, 3.5, 17), np.linspace(2.78, 2 * np.pi - front, 16)])
    phi = np.linspace(front, 2 * np.pi - front, columns)
    end = float(rng.uniform(0.7, 2.7))
    height = np.linspace(-1.35, end, rows)
    phi2, y = np.meshgrid(phi, height)
    fall = np.clip((y + 1.35) / 1.2, 0, 1)
    wide = 0.85 + 0.38 * np.sqrt(fall) + float(rng.uniform(-0.05, 0.2)) * np.clip(y, 0, 2)
    wide = wide * (1 + 0.03 * noise(rng, rows, columns, 9, 9))
    x = wide * np.sin(phi2)
    z = -0.95 + 1.05 * wide * np.cos(phi2)
    picture = _strands(rng, 200, 300, look)
    v, u = np.mgrid[0 : 1 : 200 * 1j, -1 : 1 : 300 * 1j].astype(np.float32)
    edge = (
        1 - 0.06 * np.abs(noise(rng, 200, 300, 6, 10)) - 0.05 * np.abs(noise(rng, 200, 300, 30, 60))
    )
    coverage = ((np.abs(u) < edge) & (v < 0.97 - 0.04 * noise(rng, 200, 300, 2, 80))).astype(
        np.float32
    )
    return grid_surface(x, y, z, picture, coverage)


def ears(head: Head, look: Look, rng: np.random.Generator) -> list[Surface]:
    """Two flat shells at the sides of the head."""
    size = float(rng.uniform(0.85, 1.15))
    away = float(rng.uniform(0.02, 0.16))
    v, u = np.mgrid[0:1:11j, 0:1:9j]
    inner = np.mgrid[0 : 1 : 40 * 1j, 0 : 1 : 40 * 1j]
    fold = np.exp(-(((inner[0] - 0.45) / 0.22) ** 2) - ((inner[1] - 0.45) / 0.2) ** 2)
    picture = look.skin * (1 - 0.4 * fold[..., None]) * np.array([1, 0.92, 0.9])
    shells = []
    for side in (-1.0, 1.0):
        angle = 2 * np.pi * u
        radius = v
        y = 0.2 + 0.42 * size * radius * np.sin(angle)
        back = 0.24 * size * radius * np.cos(angle)
        x = side * (
            head.anatomy.width * 1.03 + (away + 0.06) * radius + 0.35 * np.maximum(-back, 0)
        )
        z = -1.02 + back
        shells.append(grid_surface(x, y, z, picture.astype(np.float32)))
    return shells


def neck(head: Head, look: Look, rng: np.random.Generator) -> Surface:
    """A tapering cylinder under the head."""
    phi, y = np.meshgrid(np.linspace(-1.7, 1.7, 19), np.linspace(0.9, 3.3, 12))
    wide = float(rng.uniform(0.55, 0.78)) * head.anatomy.width
    flare = np.clip((y - 2.0) / 1.3, 0, 1) ** 1.6
    x = (wide + 0.7 * flare) * np.sin(phi)
    z = -1.25 + wide * np.cos(phi) + 0.1 * np.minimum(y - 2, 0.6)
    shade = np.interp(np.linspace(0.9, 3.3, 64), [0.9, 1.7, 2.2, 3.3], [0.45, 0.55, 0.85, 0.95])
    picture = look.skin * shade[:, None, None] * np.ones((64, 64, 3))
    picture *= 1 + 0.04 * noise(rng, 64, 64, 10, 12)[..., None]
    return grid_surface(x, y, z, np.clip(picture, 0, 1).astype(np.float32))


def clothes(rng: np.random.Generator) -> Surface:
    """Shoulders in a garment with a neckline, a pattern and perhaps a collar."""
    size = 200
    v, u = np.mgrid[0 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    colour = (
        rng.uniform(0.03, 0.95, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(0.03, 0.9))
    )
    picture = np.tile(colour.astype(np.float32), (size, size, 1))
    kind = rng.integers(4)
    if kind == 1:
        stripes = np.sin(u * rng.uniform(20, 90) + v * rng.uniform(-40, 40)) > 0.3
        picture += stripes[..., None] * rng.uniform(-0.3, 0.3, 3).astype(np.float32)
    elif kind == 2:
        picture += 0.2 * np.stack([noise(rng, size, size, 12, 14) for _ in range(3)], -1)
    picture *= (1 + 0.10 * noise(rng, size, size, 8, 10) + 0.03 * noise(rng, size, size, 90, 90))[
        ..., None
    ]
    coverage = np.ones((size, size), np.float32)
    drop, open_wide = float(rng.uniform(0.0, 0.45)), float(rng.uniform(0.16, 0.3))
    if rng.random() < 0.5:
        neckline = np.where(np.abs(u) < open_wide, drop * (1 - np.abs(u) / open_wide), 0)
    else:
        neckline = drop * 0.6 * np.sqrt(np.maximum(1 - (u / open_wide) ** 2, 0))
    coverage[v < neckline] = 0
    rim = (v - neckline < 0.06) & (v >= neckline) & (np.abs(u) < open_wide + 0.08)
    picture[rim] = picture[rim] * 0.4 + 0.6 * rng.uniform(0, 1, 3).astype(np.float32)
    if rng.random() < 0.3:
        tie = (np.abs(u) < 0.03 + 0.04 * v) & (v > neckline)
        picture[tie] = rng.uniform(0, 0.8, 3).astype(np.float32)
    rows, columns = 12, 31
    x, down = np.meshgrid(np.linspace(-3.6, 3.6, columns), np.linspace(0, 1, rows))
    slope = float(rng.uniform(0.15, 0.45))
    start = float(rng.uniform(1.95, 2.4))
    y = start + slope * np.maximum(np.abs(x) - 0.55, 0) ** 1.25 + 3.2 * down
    z = -0.5 - 0.18 * x**2 + 0.5 * np.sqrt(down)
    return grid_surface(x, y, z, np.clip(picture, 0.01, 1).astype(np.float32), coverage)


def background(rng: np.random.Generator, size: int) -> Float:
    """A room, a wall, a street out of focus: linear light, float32 [size, size, 3]."""
    saturation = float(rng.uniform(0, 1) ** 1.7)
    low, high = (_muted(rng.uniform(0.02, 0.95, 3), saturation) for _ in range(2))
    v, u = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j].astype(np.float32)
    turn = rng.uniform(0, 2 * np.pi)
    ramp = np.clip(0.5 + (u - 0.5) * np.cos(turn) + (v - 0.5) * np.sin(turn), 0, 1)[..., None]
    picture = (low + ramp * (high - low)).astype(np.float32)
    kind = rng.integers(5)
    if kind >= 1:
        for _ in range(int(rng.integers(3, 25))):
            colour = _muted(rng.uniform(0, 1, 3) * rng.uniform(0.1, 1.0), saturation)
            at = rng.uniform(-0.1, 1.1, 2) * size
            extent = rng.uniform(0.02, 0.4, 2) * size
            a, b = (at - extent / 2).astype(int), (at + extent / 2).astype(int)
            corner, other = (int(a[0]), int(a[1])), (int(b[0]), int(b[1]))
            shade = (float(colour[0]), float(colour[1]), float(colour[2]))
            if kind == 1 or (kind == 2 and rng.random() < 0.5):
                cv2.rectangle(picture, corner, other, shade, -1, cv2.LINE_AA)
            elif kind in (2, 3):
                centre = (int(at[0]), int(at[1]))
                cv2.circle(picture, centre, int(extent[0] / 2), shade, -1, cv2.LINE_AA)
            else:
                cv2.line(picture, corner, other, shade, int(rng.integers(1, 8)), cv2.LINE_AA)
    if rng.random() < 0.5:
        cells = rng.uniform(3, 60)
        picture *= (1 + rng.uniform(0.02, 0.3) * noise(rng, size, size, cells, cells))[..., None]
    blur = float(rng.uniform(0.3, 14))
    picture = cv2.GaussianBlur(picture, (0, 0), blur)
    linear: Float = np.clip(picture, 0, 1).astype(np.float32) ** 2
    return linear
