"""Painted surfaces: skin with lips, brows, beard and eyes; hair; teeth; cloth.

Colours are painted as they look (display values, 0..1) and squared at the end: the renderer works
in linear light with a display gamma of 2, whose inverse is a square root.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from syncnet_training.synthesis.head import TEXTURE_HEIGHT, TEXTURE_WIDTH, Head
from syncnet_training.synthesis.raster import Float

_SKIN_TONES = np.array(
    [[0.96, 0.84, 0.77], [0.91, 0.75, 0.65], [0.83, 0.64, 0.52], [0.71, 0.51, 0.39],
     [0.54, 0.36, 0.27], [0.38, 0.25, 0.19], [0.28, 0.19, 0.16]]
)  # fmt: skip
_HAIR_TONES = np.array(
    [[0.07, 0.06, 0.06], [0.15, 0.10, 0.08], [0.28, 0.18, 0.12], [0.45, 0.30, 0.18],
     [0.72, 0.56, 0.36], [0.85, 0.74, 0.55], [0.50, 0.22, 0.12], [0.60, 0.60, 0.60],
     [0.85, 0.85, 0.84]]
)  # fmt: skip
_IRIS_TONES = np.array([[0.25, 0.15, 0.1], [0.35, 0.24, 0.13], [0.35, 0.45, 0.5], [0.3, 0.4, 0.28]])
_LIPSTICKS = np.array([[0.72, 0.1, 0.16], [0.8, 0.3, 0.35], [0.55, 0.08, 0.18], [0.8, 0.42, 0.4],
                       [0.62, 0.3, 0.3], [0.85, 0.25, 0.4]])  # fmt: skip


@dataclass(frozen=True)
class Look:
    """A person's colours and what grows on or is painted on the face.

    age: 0 smooth to 1 wrinkled. beard, moustache: 0 shaved, 0.3 stubble, 1 full.
    """

    skin: Float
    hair: Float
    iris: Float
    lips: Float
    age: float
    beard: float
    moustache: float
    brow: float
    shadow: float
    freckles: bool


def random_look(rng: np.random.Generator) -> Look:
    """Draw the colours of a face."""
    tone = rng.uniform(0, len(_SKIN_TONES) - 1)
    low = min(int(tone), len(_SKIN_TONES) - 2)
    skin = _SKIN_TONES[low] + (tone - low) * (_SKIN_TONES[low + 1] - _SKIN_TONES[low])
    skin = np.clip(skin * rng.uniform(0.96, 1.04, 3), 0, 1)
    hair = np.clip(
        _HAIR_TONES[rng.integers(len(_HAIR_TONES))]
        * rng.uniform(0.8, 1.2)
        * rng.uniform(0.94, 1.06, 3),
        0.02,
        1,
    )
    if rng.random() < 0.25:
        lips = _LIPSTICKS[rng.integers(len(_LIPSTICKS))] * rng.uniform(0.8, 1.1, 3)
        lips = lips * rng.uniform(0.6, 1.0) + 0.2 * skin
    else:
        # From hardly visible to clearly red or brown.
        redness = rng.uniform(0.1, 1.0)
        lips = skin * (1 - redness * np.array([0.16, 0.40, 0.34])) + redness * np.array(
            [0.02, 0, 0]
        )
    beard = float(rng.uniform(0.15, 1.0)) if rng.random() < 0.3 else 0.0
    return Look(
        skin=skin.astype(np.float32),
        hair=hair.astype(np.float32),
        iris=_IRIS_TONES[rng.integers(len(_IRIS_TONES))].astype(np.float32),
        lips=np.clip(lips, 0.02, 1).astype(np.float32),
        age=float(rng.uniform(0, 1) ** 1.5),
        beard=beard,
        moustache=beard if rng.random() < 0.8 else float(rng.uniform(0, 1) * (rng.random() < 0.08)),
        brow=float(rng.uniform(0.2, 1.0)),
        shadow=float(rng.uniform(0, 0.8)),
        freckles=bool(rng.random() < 0.12),
    )


def noise(
    rng: np.random.Generator, height: int, width: int, cells_y: float, cells_x: float
) -> Float:
    """Smooth noise of unit variance (roughly) with the given number of cells: [height, width]."""
    small = rng.standard_normal((max(int(cells_y), 2), max(int(cells_x), 2))).astype(np.float32)
    out = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return out.astype(np.float32, copy=False)


def _bell(x: Float, y: Float, at: tuple[float, float], size: tuple[float, float]) -> Float:
    bump: Float = np.exp(-(((np.abs(x) - at[0]) / size[0]) ** 2) - ((y - at[1]) / size[1]) ** 2)
    return bump


def _step(low: float, high: float, x: Float) -> Float:
    t = np.clip((x - low) / (high - low), 0, 1)
    step: Float = t * t * (3 - 2 * t)
    return step


def _mix(picture: Float, colour: Float, share: Float) -> None:
    picture += share[..., None] * (colour - picture)


def paint_face(head: Head, look: Look, rng: np.random.Generator) -> Float:
    """The skin's texture without the eyes, display values: float32 [H, W, 3]."""
    x, y, a = head.texel_x, head.texel_y, head.anatomy
    shape = (TEXTURE_HEIGHT, TEXTURE_WIDTH)
    picture = np.empty((*shape, 3), np.float32)
    picture[:] = look.skin
    blotch = 0.05 * noise(rng, *shape, 9, 8) + 0.035 * noise(rng, *shape, 35, 30)
    grain = 0.025 * noise(rng, *shape, 160, 140) + 0.02 * noise(rng, *shape, 400, 360)
    picture *= (1 + blotch * 0.7 + grain * (0.6 + look.age))[..., None]
    # Blood: cheeks, nose and chin are redder.
    blood = _bell(x, y, (0.55, 0.5), (0.3, 0.28)) + 0.7 * _bell(
        x, y, (0, a.nose_length - 0.1), (0.2, 0.2)
    )
    blood = (blood + 0.3 * noise(rng, *shape, 6, 6) ** 2) * rng.uniform(0.0, 0.16)
    blood = np.minimum(blood, 0.35)
    picture *= 1 - blood[..., None] * np.array([0.1, 1.0, 0.9], np.float32)
    if look.freckles:
        spots = noise(rng, *shape, 190, 170)
        _mix(
            picture, look.skin * np.float32(0.7), 0.8 * _step(1.3, 2.0, spots) * _step(1.2, 0.2, y)
        )
    for _ in range(int(rng.integers(0, 5))):
        spot = np.exp(
            -(((x - rng.uniform(-0.8, 0.8)) ** 2 + (y - rng.uniform(-0.8, 1.6)) ** 2) / 0.0006)
        )
        _mix(picture, look.skin * np.float32(0.5), 0.8 * spot.astype(np.float32))

    # Where light hardly reaches.
    dark = 0.30 * _bell(x, y, (a.eye_x - 0.08, -0.02), (0.2, 0.13))
    dark += look.shadow * 0.3 * _bell(x, y, (a.eye_x - 0.04, 0.2), (0.2, 0.07))
    dark += 0.35 * _bell(x, y, (0, a.nose_length + 0.1), (a.nose_width, 0.05))
    dark += 0.25 * _bell(x, y, (a.nose_width + 0.07, a.nose_length - 0.02), (0.05, 0.12))
    dark += 0.2 * _bell(x, y, (0, a.mouth_y + a.lower_lip + 0.1), (0.22, 0.05))
    dark += 0.2 * _bell(x, y, (a.mouth_width + 0.05, a.mouth_y + 0.02), (0.06, 0.06))
    dark += (0.05 + 0.25 * look.age) * head.fold_mask(x.astype(np.float64), y.astype(np.float64))
    dark += 0.5 * _step(a.chin - 0.02, a.chin + 0.25, y)
    if look.age > 0.25:
        waves = 0.04 * noise(rng, *shape, 3, 8)
        for line in (-0.62, -0.75, -0.88):
            dark += (
                0.25 * look.age * np.exp(-(((y - line - waves) / 0.018) ** 2)) * (np.abs(x) < 0.65)
            )
        dark += (
            0.15
            * look.age
            * _bell(x, y, (a.eye_x + 0.32, 0.03), (0.1, 0.1))
            * np.abs(noise(rng, *shape, 90, 12))
        )
    picture *= 1 - np.clip(dark, 0, 0.85).astype(np.float32)[..., None]
    nostril = _bell(x, y, (0.5 * a.nose_width, a.nose_length + 0.035), (0.3 * a.nose_width, 0.032))
    _mix(picture, np.array([0.12, 0.06, 0.05], np.float32), np.clip(1.5 * nostril, 0, 0.9))

    _paint_beard(picture, head, look, rng)
    _paint_lips(picture, head, look, rng)
    # Eyebrows: an arch of short strokes.
    e = (np.abs(x) - a.eye_x) / 0.27
    arch = -0.26 - 0.06 * (1 - (e - 0.3) ** 2)
    thick = (0.022 + 0.035 * look.brow) * np.clip(1.1 - 0.5 * e, 0.3, 1.3)
    brow = np.exp(-(((y - arch) / thick) ** 4)) * (np.abs(e) < 1)
    strokes = np.clip(0.75 + 0.35 * noise(rng, *shape, 70, 220), 0, 1)
    brow_colour = np.minimum(look.hair * np.float32(0.8), 0.5)
    _mix(picture, brow_colour, (brow * strokes * (0.35 + 0.6 * look.brow)).astype(np.float32))
    _paint_lining(picture, head, look, rng)
    return np.clip(picture, 0.01, 1.0)


def _paint_beard(picture: Float, head: Head, look: Look, rng: np.random.Generator) -> None:
    if look.beard == 0 and look.moustache == 0:
        return
    x, y, a = head.texel_x, head.texel_y, head.anatomy
    shape = (TEXTURE_HEIGHT, TEXTURE_WIDTH)
    ragged = 0.05 * noise(rng, *shape, 20, 25)
    line = a.mouth_y - 0.05 - 0.75 * np.clip(np.abs(x) - 0.35, 0, 1) + ragged
    chin = _step(-0.02, 0.1, y - line) * _step(a.chin + 0.25, a.chin, y)
    chin *= 1 - 0.7 * _bell(x, y, (0.22, a.mouth_y + a.lower_lip + 0.06), (0.1, 0.05))
    if rng.random() < 0.3:
        chin = chin * _step(a.mouth_width + 0.25, a.mouth_width + 0.1, np.abs(x))
    above = a.mouth_y - a.upper_lip * (1 - (x / (a.mouth_width * 1.3)) ** 2)
    lip = np.exp(-(((y - (above - 0.075)) / 0.075) ** 4)) * _step(
        a.mouth_width + 0.14, a.mouth_width + 0.02, np.abs(x) + ragged * 0.5
    )
    hairs = noise(rng, *shape, 130, 260) + 0.6 * noise(rng, *shape, 60, 330)
    for area, density in ((chin, look.beard), (lip, look.moustache)):
        share = area * np.clip(density * (0.85 + 0.3 * hairs) - 0.05, 0, 0.96)
        _mix(picture, look.hair * np.float32(0.75) + np.float32(0.02), share.astype(np.float32))


def _paint_lips(picture: Float, head: Head, look: Look, rng: np.random.Generator) -> None:
    x, y = head.texel_x.astype(np.float64), head.texel_y.astype(np.float64)
    shape = (TEXTURE_HEIGHT, TEXTURE_WIDTH)
    upper, lower = head.lip_fraction(x, y)
    border = float(rng.uniform(0.06, 0.3))
    for at, tint in ((upper, rng.uniform(0.82, 1.0)), (lower, rng.uniform(0.95, 1.1))):
        mask = np.where(at >= -0.2, 1 - _step(1 - border, 1 + border, at.astype(np.float32)), 0)
        creases = 1 + 0.05 * noise(rng, *shape, 60, 300) + 0.04 * noise(rng, *shape, 30, 40)
        inner = 1 - 0.25 * np.exp(-((at / 0.15) ** 2))
        colour = look.lips * np.float32(tint) * (creases * inner)[..., None].astype(np.float32)
        picture += mask[..., None].astype(np.float32) * (colour - picture)


def _paint_lining(picture: Float, head: Head, look: Look, rng: np.random.Generator) -> None:
    """The inside of lips and cheeks, in the strip of the texture that belongs to the mouth."""
    inside = head.texel_inside[:, None]
    between = _step(1.0, 0.9, np.abs(head.texel_x) / head.anatomy.mouth_width)
    wet = look.lips * np.array([0.8, 0.55, 0.55], np.float32)
    deep = np.array([0.30, 0.10, 0.10], np.float32) * np.float32(rng.uniform(0.4, 1.4))
    _mix(picture, wet, np.clip(inside * 6.0, 0, 1) * between)
    _mix(picture, deep, np.clip(inside * 2.5 - 0.3, 0, 1) * between)


class Eyes:
    """Both eyes, painted into a face texture for any lid opening and gaze; pictures are kept."""

    _LEVELS = 6

    def __init__(self, head: Head, look: Look, face: Float, rng: np.random.Generator) -> None:
        a = head.anatomy
        rows = np.flatnonzero(np.abs(head.texel_y[:, TEXTURE_WIDTH // 2]) < 0.24)
        self._rows = slice(int(rows[0]), int(rows[-1]) + 1)
        self._x, self._y = head.texel_x[self._rows], head.texel_y[self._rows]
        self._skin = face[self._rows].copy()
        self._look = look
        self._centre, self._size = a.eye_x, a.eye_size
        self._tilt = float(rng.uniform(-0.15, 0.25))
        self._open = float(rng.uniform(0.7, 1.15))
        self._liner = float(rng.uniform(0.2, 1.0))
        self._white = float(rng.uniform(0.72, 0.9))
        self._kept: dict[tuple[int, int, int], Float] = {}

    def paint(self, texture: Float, lids: float, gaze_x: float, gaze_y: float) -> None:
        """Paint the eyes into `texture` (linear). lids: 1 open, 0 shut; gaze in -1..1."""
        key = (round(lids * self._LEVELS), round(gaze_x * 2), round(gaze_y * 2))
        if key not in self._kept:
            self._kept[key] = self._draw(key[0] / self._LEVELS, key[1] / 2, key[2] / 2) ** 2
        texture[self._rows, :, :3] = self._kept[key]

    def _draw(self, lids: float, gaze_x: float, gaze_y: float) -> Float:
        picture = self._skin.copy()
        sign = np.sign(self._x)
        e = (np.abs(self._x) - self._centre) / self._size
        f = self._y / self._size + self._tilt * e
        round_off = np.maximum(1 - e**2, 0)
        lower = 0.24 * round_off**0.9
        upper = lower - (0.62 * self._open * lids + 0.02) * round_off**0.75
        edge = 0.05
        eye = _step(-edge, edge, f - upper) * _step(-edge, edge, lower - f) * (np.abs(e) < 1)
        ball = np.full_like(picture, self._white)
        ball *= (1 - 0.25 * e**2 - 0.35 * np.exp(-(((f - upper) / 0.14) ** 2)))[..., None]
        # Gaze is to the picture's right for both eyes.
        ex = e * sign - 0.3 * gaze_x
        distance = np.sqrt(ex**2 + (f - 0.02 - 0.12 * gaze_y) ** 2)
        _mix(ball, self._look.iris, _step(0.34, 0.28, distance))
        _mix(ball, np.array([0.03, 0.03, 0.03], np.float32), _step(0.16, 0.11, distance))
        glint = np.exp(-(((ex + 0.1) ** 2 + (f + 0.1) ** 2) / 0.004))
        _mix(ball, np.ones(3, np.float32), 0.9 * glint)
        picture += eye[..., None] * (ball - picture)
        lash = np.exp(-(((f - upper) / 0.06) ** 2)) * (np.abs(e) < 1.03)
        _mix(picture, np.array([0.08, 0.06, 0.05], np.float32), (0.4 + 0.5 * self._liner) * lash)
        crease = np.exp(-(((f - upper + 0.17) / 0.05) ** 2)) * (np.abs(e) < 0.95)
        _mix(picture, self._look.skin * np.float32(0.55), 0.45 * crease)
        rim = np.exp(-(((f - lower) / 0.05) ** 2)) * (np.abs(e) < 1)
        _mix(picture, self._look.skin * np.array([0.7, 0.5, 0.5], np.float32), 0.5 * rim)
        return np.clip(picture, 0.01, 1).astype(np.float32)


def with_coverage(picture: Float, coverage: Float | None = None) -> NDArray[np.float32]:
    """A texture for the rasteriser from display values: squared, with a coverage channel."""
    texture = np.ones((*picture.shape[:2], 4), np.float32)
    texture[..., :3] = picture**2
    if coverage is not None:
        texture[..., 3] = coverage
    return texture
