"""A small z-buffered triangle rasteriser.

It draws textured meshes whose lighting is computed per vertex (Gouraud): colour = albedo * light +
gloss, which is all a face of 100 pixels needs. Depth is larger towards the camera.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syncnet_training.synthesis.compiled import compiled

Float = NDArray[np.float32]

_FAR = -1e9  # the depth of pixels where nothing is drawn


@dataclass(frozen=True)
class Mesh:
    """Topology and texture of a surface.

    triangles: int32 [M, 3] vertex indices.
    uv: float32 [N, 2] texture position of each vertex, in texels.
    texture: float32 [H, W, 4] linear-light RGB albedo in 0..1 and coverage; texels with a coverage
        below one half are holes.
    """

    triangles: NDArray[np.int32]
    uv: Float
    texture: Float


class Canvas:
    """Colour (linear RGB) and depth of the picture being drawn.

    cavity: where the inside of the mouth is what shows; teeth and tongue are drawn only there.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.colour = np.zeros((size, size, 3), np.float32)
        self.depth = np.zeros((size, size), np.float32)
        self.cavity = np.zeros((size, size), np.float32)

    def clear(self) -> None:
        """Forget what was drawn."""
        self.depth.fill(_FAR)
        self.cavity.fill(0)

    def draw(
        self,
        mesh: Mesh,
        points: Float,
        light: Float,
        gloss: Float,
        *,
        inside: Float | None = None,
        only_in_cavity: bool = False,
    ) -> None:
        """Draw `mesh` with vertices at `points` [N, 3] (x, y in pixels, depth).

        light [N, 3] multiplies the albedo, gloss [N] is added to all channels. inside [N] marks,
        with values above 0, vertices in the mouth.
        """
        _fill(
            self.colour,
            self.depth,
            points,
            mesh.triangles,
            mesh.uv,
            mesh.texture,
            light,
            gloss,
            gloss * 0 if inside is None else inside,
            self.cavity,
            only_in_cavity,
        )

    def develop(self, background: Float, left: int, top: int, gain: float) -> NDArray[np.uint8]:
        """The picture over `background`: display values (gamma 2), uint8 [size, size, 3].

        background: linear RGB, larger than the canvas, whose pixel (left, top) is at the canvas's
        corner. gain: exposure.
        """
        picture = np.empty((self.size, self.size, 3), np.uint8)
        _develop(self.colour, self.depth, background, left, top, gain, picture)
        return picture


def grid_triangles(rows: int, columns: int) -> NDArray[np.int32]:
    """Two triangles for each cell of a grid of rows x columns vertices: int32 [M, 3]."""
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
    c, d = index[1:, :-1].ravel(), index[1:, 1:].ravel()
    return np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])


def grid_normals(points: Float, rows: int, columns: int) -> Float:
    """Unit normals [rows * columns, 3] of a grid surface, by central differences.

    They point out of a surface whose columns run to +x and rows to +y, seen from +z.
    """
    grid = points.reshape(rows, columns, 3)
    du = np.empty_like(grid)
    dv = np.empty_like(grid)
    du[:, 1:-1] = grid[:, 2:] - grid[:, :-2]
    du[:, 0], du[:, -1] = grid[:, 1] - grid[:, 0], grid[:, -1] - grid[:, -2]
    dv[1:-1] = grid[2:] - grid[:-2]
    dv[0], dv[-1] = grid[1] - grid[0], grid[-1] - grid[-2]
    normal = np.empty_like(grid)
    normal[..., 0] = du[..., 1] * dv[..., 2] - du[..., 2] * dv[..., 1]
    normal[..., 1] = du[..., 2] * dv[..., 0] - du[..., 0] * dv[..., 2]
    normal[..., 2] = du[..., 0] * dv[..., 1] - du[..., 1] * dv[..., 0]
    length = np.sqrt(np.einsum("rci,rci->rc", normal, normal))
    normal /= np.maximum(length, 1e-9)[..., None]
    return normal.reshape(-1, 3)


@compiled
def _fill(
    colour: Float,
    depth: Float,
    points: Float,
    triangles: NDArray[np.int32],
    uv: Float,
    texture: Float,
    light: Float,
    gloss: Float,
    inside: Float,
    cavity: Float,
    only_in_cavity: bool,
) -> None:
    size = depth.shape[0]
    height, width = texture.shape[0], texture.shape[1]
    for index in range(triangles.shape[0]):
        a, b, c = triangles[index, 0], triangles[index, 1], triangles[index, 2]
        ax, ay = points[a, 0], points[a, 1]
        bx, by = points[b, 0], points[b, 1]
        cx, cy = points[c, 0], points[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-6:
            continue
        left = max(int(np.ceil(min(ax, bx, cx))), 0)
        right = min(int(np.floor(max(ax, bx, cx))), size - 1)
        top = max(int(np.ceil(min(ay, by, cy))), 0)
        bottom = min(int(np.floor(max(ay, by, cy))), size - 1)
        inverse = 1.0 / area
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) * inverse
                wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) * inverse
                wa = 1.0 - wb - wc
                if wa < -1e-5 or wb < -1e-5 or wc < -1e-5:
                    continue
                z = wa * points[a, 2] + wb * points[b, 2] + wc * points[c, 2]
                if z <= depth[y, x] or (only_in_cavity and cavity[y, x] < 0.02):
                    continue
                u = wa * uv[a, 0] + wb * uv[b, 0] + wc * uv[c, 0]
                v = wa * uv[a, 1] + wb * uv[b, 1] + wc * uv[c, 1]
                u = min(max(u, 0.0), width - 1.001)
                v = min(max(v, 0.0), height - 1.001)
                column, row = int(u), int(v)
                fu, fv = u - column, v - row
                w00, w01 = (1 - fu) * (1 - fv), fu * (1 - fv)
                w10, w11 = (1 - fu) * fv, fu * fv
                coverage = texture[int(v + 0.5), int(u + 0.5), 3]
                if coverage < 0.5:
                    continue
                depth[y, x] = z
                if not only_in_cavity:
                    cavity[y, x] = wa * inside[a] + wb * inside[b] + wc * inside[c]
                shine = wa * gloss[a] + wb * gloss[b] + wc * gloss[c]
                for k in range(3):
                    albedo = (
                        w00 * texture[row, column, k]
                        + w01 * texture[row, column + 1, k]
                        + w10 * texture[row + 1, column, k]
                        + w11 * texture[row + 1, column + 1, k]
                    )
                    lit = wa * light[a, k] + wb * light[b, k] + wc * light[c, k]
                    colour[y, x, k] = albedo * lit + shine


@compiled
def _develop(
    colour: Float,
    depth: Float,
    background: Float,
    left: int,
    top: int,
    gain: float,
    picture: NDArray[np.uint8],
) -> None:
    size = depth.shape[0]
    exposure = np.float32(gain)
    for y in range(size):
        for x in range(size):
            drawn = depth[y, x] > -1e8
            for k in range(3):
                value = colour[y, x, k] if drawn else background[top + y, left + x, k]
                value = np.sqrt(max(value * exposure, np.float32(0))) * np.float32(
                    255
                ) + np.float32(0.5)
                picture[y, x, k] = np.uint8(min(value, np.float32(255)))
