"""A deformable head: a grid surface with a slit for the mouth, and the shapes it can take.

Coordinates: x to the picture's right, y down, z towards the camera; the origin is between the eyes,
one unit is half the width of the face (about 68 mm). The mouth line lies near y = 1.06, the chin at
1.7. The surface is one sheet: at the mouth it folds inwards and lines the cavity, so lips have an
inside and the opening shows what is behind them.

The face moves by blend shapes: vertices = rest + coefficients @ shapes. The product of jaw
and press has a shape of its own, which lets lips stay shut on an open jaw.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syncnet_training.synthesis.raster import Float, grid_triangles

# Shapes the face can take, in the order of the coefficients.
SHAPES = (
    "jaw", "jaw_squared", "upper", "lower", "wide", "round", "press", "press_jaw", "bite",
    "bite_jaw", "smile", "brow", "frown", "puff", "sideways", "crooked",
)  # fmt: skip

TEXTURE_WIDTH = 400
TEXTURE_HEIGHT = 480
_CAVITY_TEXELS = 40  # of the texture's height, inserted at the mouth line for the cavity's lining

_TOP, _BOTTOM = -1.85, 2.05
_SPAN = np.deg2rad(105.0)  # the surface reaches this far round the head on each side
_HINGE = np.array([0.0, 0.35, -1.05])  # the jaw's axis
_JAW_ANGLE = np.deg2rad(15.0)


@dataclass(frozen=True)
class Anatomy:
    """What makes one face differ from another; lengths in face units."""

    width: float
    jaw_width: float
    chin: float
    mouth_y: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    bow: float
    lip_bulge: float
    corner_drop: float
    nose_length: float
    nose_width: float
    nose_height: float
    eye_x: float
    eye_size: float
    cheek: float
    brow_ridge: float
    fold: float
    profile: float


def random_anatomy(rng: np.random.Generator) -> Anatomy:
    """A face within (and a little beyond) what people have."""

    def around(mean: float, spread: float) -> float:
        return float(mean + spread * np.clip(rng.standard_normal(), -2.2, 2.2))

    nose = around(0.68, 0.05)
    return Anatomy(
        width=around(1.0, 0.05),
        jaw_width=around(0.82, 0.07),
        chin=around(1.72, 0.07),
        mouth_y=nose + around(0.38, 0.04),
        mouth_width=around(0.37, 0.04),
        upper_lip=max(around(0.105, 0.035), 0.04),
        lower_lip=max(around(0.145, 0.035), 0.07),
        bow=float(rng.uniform(0.0, 0.5)),
        lip_bulge=max(around(0.05, 0.018), 0.015),
        corner_drop=around(0.0, 0.02),
        nose_length=nose,
        nose_width=around(0.2, 0.035),
        nose_height=max(around(0.36, 0.07), 0.18),
        eye_x=around(0.46, 0.025),
        eye_size=around(0.22, 0.02),
        cheek=around(0.05, 0.05),
        brow_ridge=max(around(0.05, 0.03), 0.0),
        fold=float(rng.uniform(0.0, 0.05)),
        profile=around(0.0, 0.04),
    )


def _smoothstep(low: float, high: float, x: NDArray[np.float64]) -> NDArray[np.float64]:
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    step: NDArray[np.float64] = t * t * (3.0 - 2.0 * t)
    return step


def _bell(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    at: tuple[float, float],
    size: tuple[float, float],
) -> NDArray[np.float64]:
    """A bump at `at` and mirrored at -x."""
    side: NDArray[np.float64] = np.exp(
        -(((np.abs(x) - at[0]) / size[0]) ** 2) - ((y - at[1]) / size[1]) ** 2
    )
    return side


class Head:
    """Geometry of one person's face: rest shape, blend shapes, topology, texture coordinates.

    Attributes: rest [N, 3]; shapes [len(SHAPES), N, 3]; triangles [M, 3]; uv [N, 2] (texels);
    rows, columns of the grid; inside [N], 0 on the skin to 1 deep in the mouth; jaw_weight [N].
    texel_x, texel_y [H, W]: where on the rest face each texel lies; texel_inside [H]: as `inside`.
    """

    def __init__(self, anatomy: Anatomy) -> None:
        self.anatomy = anatomy
        mouth = anatomy.mouth_y
        above = mouth - np.array([0.0, 0.022, 0.05, 0.085, 0.125, 0.17, 0.23, 0.3])[::-1]
        below = mouth + np.array([0.0, 0.022, 0.05, 0.085, 0.125, 0.17, 0.22, 0.28, 0.36])
        upper = np.concatenate([np.linspace(_TOP, above[0], 31)[:-1], above])
        lower = np.concatenate([below, np.linspace(below[-1], _BOTTOM, 10)[1:]])
        # The lining: distance behind the lips' edge, and height above or below the mouth line.
        lining_z = np.array([-0.03, -0.10, -0.35, -0.75, -0.75, -0.35, -0.10, -0.03])
        lining_y = np.array([-0.012, -0.03, -0.25, -0.2, 0.15, 0.2, 0.03, 0.012])
        depth = np.array([0.15, 0.5, 0.9, 1.0, 1.0, 0.9, 0.5, 0.15])
        edge_u, edge_l = len(upper) - 1, len(upper) + len(lining_z)
        row_y = np.concatenate([upper, np.full(len(lining_z), mouth), lower])
        self.rows, self.columns = len(row_y), 61
        # Columns crowd towards the middle, where the mouth is.
        along = np.linspace(-1.0, 1.0, self.columns)
        angle = _SPAN * (0.52 * along + 0.48 * along**3)
        y, theta = (a.astype(np.float64) for a in np.meshgrid(row_y, angle, indexing="ij"))

        x, z = self._surface(theta, y)
        t = x / anatomy.mouth_width
        opening = np.maximum(1.0 - np.abs(t) ** 2.4, 0.0) ** 0.85
        row = np.arange(self.rows)[:, None] * np.ones((1, self.columns))
        is_lining = (row > edge_u) & (row < edge_l)
        # Under the chin the surface runs back, not down.
        under = np.maximum(y - (anatomy.chin - 0.03), 0.0)
        y = y - under + 0.07 * (1 - np.exp(-under / 0.07))
        offset = np.zeros((self.rows, 2))
        offset[edge_u + 1 : edge_l] = np.stack([lining_y, lining_z], axis=1)
        y = y + anatomy.corner_drop * np.minimum(t**2, 2.5) * np.exp(-(((y - mouth) / 0.2) ** 2))
        y = y + offset[:, :1] * opening
        z = z + offset[:, 1:] * opening
        self.rest = np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float32)

        side = np.where(row <= (edge_u + edge_l) / 2, -1.0, 1.0)
        self._build_shapes(x, y, z, side, opening, is_lining)
        inside = np.zeros((self.rows, self.columns))
        inside[edge_u + 1 : edge_l] = depth[:, None] * (opening[edge_u + 1 : edge_l] > 0)
        self.inside = inside.ravel().astype(np.float32)
        triangles = grid_triangles(self.rows, self.columns)
        # Beside the mouth the lining has no extent.
        in_lining = (is_lining[:, :1] * np.ones((1, self.columns), bool)).ravel()
        shut = (opening <= 0).ravel()[triangles].all(axis=1)
        self.triangles = triangles[~(in_lining[triangles].any(axis=1) & shut)]

        # The texture: angle across, rest height down, with a strip for the lining at the mouth.
        scale = (TEXTURE_HEIGHT - 1 - _CAVITY_TEXELS) / (_BOTTOM - _TOP)
        strip = (mouth - _TOP) * scale
        texel_row = np.where(row_y <= mouth, (row_y - _TOP) * scale, 0.0)
        texel_row[edge_u + 1 : edge_l] = (
            strip + np.linspace(0, _CAVITY_TEXELS, len(lining_z) + 2)[1:-1]
        )
        texel_row[edge_l:] = (row_y[edge_l:] - _TOP) * scale + _CAVITY_TEXELS
        texel_column = (angle / _SPAN + 1) / 2 * (TEXTURE_WIDTH - 1)
        v, u = np.meshgrid(texel_row, texel_column, indexing="ij")
        self.uv = np.stack([u, v], axis=-1).reshape(-1, 2).astype(np.float32)
        at = np.arange(TEXTURE_HEIGHT, dtype=np.float64)
        height = (
            np.where(at <= strip, at / scale, np.maximum(at - _CAVITY_TEXELS, strip) / scale) + _TOP
        )
        self.texel_inside = (
            np.clip(1 - np.abs((at - strip) / _CAVITY_TEXELS * 2 - 1), 0, 1)
        ).astype(np.float32)
        texel_angle = np.linspace(-_SPAN, _SPAN, TEXTURE_WIDTH)
        height2, angle2 = np.meshgrid(height, texel_angle, indexing="ij")
        self.texel_angle = angle2.astype(np.float32)
        texel_x, _ = self._outline(angle2, height2)
        drop = anatomy.corner_drop * np.minimum((texel_x / anatomy.mouth_width) ** 2, 2.5)
        self.texel_x = texel_x.astype(np.float32)
        self.texel_y = (height2 + drop * np.exp(-(((height2 - mouth) / 0.2) ** 2))).astype(
            np.float32
        )

    def _outline(
        self, theta: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """x, z of the featureless head at angle theta round it and height y."""
        a = self.anatomy
        chin = a.chin
        at = [-1.85, -1.7, -1.45, -1.1, -0.7, -0.3, 0.1, 0.5, 0.9, 1.2, chin - 0.28, chin - 0.1,
              chin, chin + 0.12, 2.05]  # fmt: skip
        jaw = a.jaw_width
        half = [0.25, 0.55, 0.84, 1.0, 1.06, 1.06, 1.04, 1.0, jaw + 0.1, jaw - 0.02, jaw * 0.74,
                jaw * 0.52, jaw * 0.40, jaw * 0.5, jaw * 0.7]  # fmt: skip
        front = [-1.3, -0.85, -0.4, -0.1, 0.02, 0.06, 0.02, 0.0, 0.0, -0.02, 0.0, -0.05, -0.14,
                 -0.5, -1.3]  # fmt: skip
        deep = [0.4, 0.7, 0.95, 1.05, 1.1, 1.1, 1.1, 1.05, 1.0, 0.95, 0.75, 0.6, 0.5, 0.35, 0.2]
        flat = y.ravel()
        width = np.interp(flat, at, half).reshape(y.shape) * a.width
        centre = np.interp(flat, at, front).reshape(y.shape)
        depth = np.interp(flat, at, deep).reshape(y.shape)
        x = width * np.sin(np.clip(theta, -np.pi / 2, np.pi / 2))
        # Flatter in front than a circle.
        z = centre - depth * (1 - np.cos(theta)) ** 1.1
        return x, z

    def _surface(
        self, theta: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        a = self.anatomy
        x, z = self._outline(theta, y)
        tip = a.nose_length
        along = np.clip((y + 0.15) / (tip + 0.1), 0.0, 1.0)
        ridge = a.nose_height * along**1.4 * (1 - _smoothstep(tip - 0.04, tip + 0.1, y))
        breadth = 0.09 + 0.55 * a.nose_width * along
        z = z + ridge * np.exp(-((x / breadth) ** 2))
        z = z + 0.14 * _bell(x, y, (a.nose_width * 0.85, tip - 0.05), (0.085, 0.09))
        z = z - 0.16 * _bell(x, y, (a.eye_x, 0.0), (0.24, 0.15))
        z = z + 0.09 * _bell(x, y, (a.eye_x, 0.01), (0.16, 0.11))
        z = z + a.brow_ridge * _bell(x, y, (a.eye_x * 0.9, -0.27), (0.3, 0.09))
        z = z + (0.05 + a.cheek) * _bell(x, y, (0.6, 0.38), (0.25, 0.25))
        z = z - 0.07 * _bell(x, y, (0.62, 0.95), (0.2, 0.3))
        mouth = a.mouth_y
        # Upper and lower jaw push the mouth forward; the groove under the lip; the chin.
        z = z + (0.10 + a.profile) * np.exp(-((x / 0.42) ** 2) - ((y - mouth) / 0.3) ** 2)
        z = z - 0.07 * np.exp(-((x / 0.28) ** 2) - ((y - mouth - 0.3) / 0.08) ** 2)
        z = z + 0.08 * np.exp(-((x / 0.24) ** 2) - ((y - (a.chin - 0.16)) / 0.14) ** 2)
        z = z - a.fold * self.fold_mask(x, y)
        # The lips: two rolls that meet in a groove.
        upper_at, lower_at = self.lip_fraction(x, y)
        t = np.clip(np.abs(x) / a.mouth_width, 0, 1)
        taper = (1 - t**2.2) ** 0.6
        for at, bulge in ((upper_at, 0.9), (lower_at, 1.15)):
            roll = np.where(at >= 0, np.sin(np.pi * np.clip(0.12 + 0.8 * at, 0, 1)), 0.0)
            z = z + a.lip_bulge * bulge * taper * np.where(at <= 1.1, roll, 0.0)
        groove = np.exp(-((x / 0.045) ** 2) - ((y - (mouth - a.upper_lip - 0.12)) / 0.1) ** 2)
        return x, z - 0.02 * groove

    def lip_fraction(
        self, x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Height within the upper and the lower lip at rest.

        0 at the mouth line, 1 at the lip's outer border, negative on the other lip; a large number
        beside the mouth.
        """
        a = self.anatomy
        t = x / a.mouth_width
        within = np.maximum(1 - np.abs(t) ** 1.9, 1e-4)
        bow = (
            1
            - a.bow * np.exp(-((t / 0.14) ** 2))
            + 0.25 * a.bow * _bell(t, 0 * t, (0.3, 0), (0.2, 1))
        )
        upper = a.upper_lip * within**0.75 * bow
        lower = a.lower_lip * within**0.6
        line = a.mouth_y + a.corner_drop * np.minimum(t**2, 2.5)
        beside = np.abs(t) >= 1
        return (
            np.where(beside, 9.0, (line - y) / np.maximum(upper, 1e-3)),
            np.where(beside, 9.0, (y - line) / np.maximum(lower, 1e-3)),
        )

    def fold_mask(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """1 along the nasolabial folds, from the wings of the nose past the mouth's corners."""
        a = self.anatomy
        start, end = a.nose_length - 0.1, a.mouth_y + 0.1
        share = np.clip((y - start) / (end - start), 0, 1)
        line = a.nose_width + 0.1 + (a.mouth_width + 0.1 - a.nose_width) * share**0.8
        mask: NDArray[np.float64] = np.exp(-(((np.abs(x) - line) / 0.055) ** 2)) * (
            _smoothstep(start - 0.1, start + 0.1, y) * (1 - _smoothstep(end - 0.05, end + 0.15, y))
        )
        return mask

    def _build_shapes(
        self,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        z: NDArray[np.float64],
        side: NDArray[np.float64],
        opening: NDArray[np.float64],
        is_lining: NDArray[np.bool_],
    ) -> None:
        a = self.anatomy
        mouth, half = a.mouth_y, a.mouth_width
        zero = np.zeros_like(x)
        above, below = (side < 0).astype(float), (side > 0).astype(float)
        far = np.where(is_lining, 0.0, np.abs(y - mouth))
        sign, beyond = np.sign(x), np.maximum(np.abs(x) - half, 0.0)
        near = np.exp(-((far / 0.28) ** 2))
        tight = np.exp(-((far / 0.2) ** 2))
        around = np.exp(-((beyond / 0.25) ** 2)) * np.exp(-((far / 0.42) ** 2))

        # How much of the jaw's movement each point takes: torn apart along the mouth line.
        plain = _smoothstep(mouth - 0.38, mouth + 0.38, np.where(is_lining, mouth, y))
        weight = np.clip(plain + side * 0.5 * opening * np.exp(-((far / 0.32) ** 2)), 0, 1)
        weight = weight * (1 - 0.35 * _smoothstep(0.55, 0.95, np.abs(x)))
        self.jaw_weight = weight.ravel().astype(np.float32)
        dy, dz = y - _HINGE[1], z - _HINGE[2]
        jaw = np.stack([zero, weight * _JAW_ANGLE * dz, -weight * _JAW_ANGLE * dy], -1)
        # Cheeks hollow as the jaw opens.
        jaw[..., 0] -= 0.05 * sign * _bell(x, y, (0.7, 0.95), (0.25, 0.35))
        squared = -0.5 * _JAW_ANGLE**2 * weight[..., None] * np.stack([zero, dy, dz], -1)

        lift = above * opening * near
        lower = below * opening * tight
        upper_shape = np.stack([zero, -0.12 * lift, 0.015 * lift], -1)
        lower_shape = np.stack([zero, 0.11 * lower, 0.01 * lower], -1)

        reach = np.minimum(np.abs(x) / half, 1.0) * around
        flatten = (y - mouth) * np.exp(-((far / 0.2) ** 2)) * np.exp(-((beyond / 0.1) ** 2))
        wide = np.stack([0.11 * sign * reach, -0.18 * flatten - 0.015 * reach, -0.06 * reach], -1)
        pucker = np.exp(-((x / 0.38) ** 2)) * np.exp(-((far / 0.26) ** 2))
        rounding = np.stack(
            [-0.36 * half * sign * reach, 0.22 * flatten + 0.035 * (lower - lift), 0.15 * pucker],
            -1,
        )
        # Firmly: the lips overlap a little, so that no idle movement opens them.
        firm = -0.02 * lower + 0.012 * lift
        press = np.stack([zero, firm - 0.22 * flatten, -0.035 * opening * tight], -1)
        # On an open jaw the lower lip comes most of the way back, the upper lip the rest.
        gap = _JAW_ANGLE * (z.max(initial=0.0) * 0 - _HINGE[2] + 0.1)
        close = gap * (0.8 * -lower + 0.2 * lift)
        press_jaw = np.stack([zero, close, 0.1 * lower], -1)
        bite = np.stack([zero, -0.07 * lower, -0.08 * lower], -1)
        bite_jaw = np.stack([zero, -0.72 * gap * lower, zero], -1)

        corner = np.exp(-(((np.abs(x) - half) / 0.22) ** 2) - ((y - mouth) / 0.28) ** 2)
        cheek = _bell(x, y, (0.6, 0.42), (0.26, 0.24))
        fold = self.fold_mask(x, y)
        smile = np.stack(
            [
                0.10 * sign * corner,
                -0.10 * corner - 0.05 * cheek - 0.03 * lift,
                0.08 * cheek - 0.06 * corner - 0.05 * fold,
            ],
            -1,
        )
        brow = np.stack([zero, -0.10 * _bell(x, y, (0.42, -0.3), (0.35, 0.22)), zero], -1)
        knit = _bell(x, y, (0.2, -0.24), (0.16, 0.15))
        frown = np.stack([-0.05 * sign * knit, 0.06 * knit, 0.03 * knit], -1)
        puff = np.stack([0.05 * sign * _bell(x, y, (0.65, 0.95), (0.25, 0.3)), zero,
                         0.07 * _bell(x, y, (0.55, 1.0), (0.25, 0.3))], -1)  # fmt: skip
        sideways = np.stack([0.06 * weight, zero, zero], -1)
        # One-sided lift of lip and corner.
        right = _smoothstep(-0.1, 0.3, x) * corner
        crooked = np.stack(
            [0.04 * right, -0.07 * right - 0.05 * lift * (x > 0) * (x / half), zero], -1
        )
        shapes = (
            jaw, squared, upper_shape, lower_shape, wide, rounding, press, press_jaw, bite,
            bite_jaw, smile, brow, frown, puff, sideways, crooked,
        )  # fmt: skip
        self.shapes = np.stack([s.reshape(-1, 3) for s in shapes]).astype(np.float32)
        self._flat_shapes = self.shapes.reshape(len(SHAPES), -1)

    def deform(self, coefficients: Float) -> Float:
        """Vertices [N, 3] of the face with the given coefficients [len(SHAPES)]."""
        moved: Float = (coefficients @ self._flat_shapes).reshape(-1, 3)
        moved += self.rest
        return moved


def jaw_transform(points: Float, opening: float) -> Float:
    """Points [N, 3] that are fixed to the jaw, after it opened by `opening` (1: fully)."""
    angle = opening * _JAW_ANGLE
    y, z = points[:, 1] - _HINGE[1], points[:, 2] - _HINGE[2]
    turned = points.copy()
    turned[:, 1] = _HINGE[1] + np.cos(angle) * y + np.sin(angle) * z
    turned[:, 2] = _HINGE[2] - np.sin(angle) * y + np.cos(angle) * z
    return turned
