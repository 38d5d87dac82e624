"""One person in front of a camera: pose, light and drawing of a frame."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from syncnet_training.synthesis import accessories, surroundings
from syncnet_training.synthesis.head import SHAPES, Head, random_anatomy
from syncnet_training.synthesis.lighting import cast_shadows, random_light
from syncnet_training.synthesis.mouth import Mouth
from syncnet_training.synthesis.phonemes import (
    BITE,
    JAW,
    LOWER,
    PRESS,
    ROUND,
    TONGUE,
    UPPER,
    WIDE,
)
from syncnet_training.synthesis.raster import Canvas, Float, Mesh, grid_normals
from syncnet_training.synthesis.skin import Eyes, paint_face, random_look, with_coverage
from syncnet_training.synthesis.surroundings import Surface

CANVAS = 264  # drawn larger than the 224 pixels of a frame, which smooths edges
_FRAME = 224
_BACKGROUND_MARGIN = 40
_PIVOT = np.array([0.0, 0.9, -1.2], np.float32)  # the head turns about the top of the neck
_INDEX = {name: i for i, name in enumerate(SHAPES)}


def rotation(yaw: float, pitch: float, roll: float) -> Float:
    """The matrix [3, 3] that turns a head by three angles in radians."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    matrix: Float = (tilt @ turn @ nod).astype(np.float32)
    return matrix


@dataclass(frozen=True)
class _Part:
    mesh: Mesh
    points: Float
    normals: Float
    anchor: Literal["head", "body", "hand"]  # what it moves with
    shine: float
    seen: Float  # the part of each lamp that each vertex sees


def _occlusion(head: Head) -> Float:
    """Less light reaches the inside of the mouth: [N]."""
    return (1 - 0.93 * head.inside**0.6).astype(np.float32)


class Portrait:
    """A random person under random light; `draw` renders a frame."""

    def __init__(self, rng: np.random.Generator, facing: Float) -> None:
        """Facing [3]: typical yaw, pitch and roll in radians; shadows are cast for that pose."""
        anatomy = random_anatomy(rng)
        look = random_look(rng)
        self.look = look
        self.head = Head(anatomy)
        self.light = random_light(rng)
        face = paint_face(self.head, look, rng)
        self._eyes = Eyes(self.head, look, face, rng)
        self._face = Mesh(self.head.triangles, self.head.uv, with_coverage(face))
        middle = self.head.columns // 2
        lip_rows = self.head.rest.reshape(self.head.rows, self.head.columns, 3)[:, middle]
        at_line = lip_rows[np.abs(lip_rows[:, 1] - anatomy.mouth_y) < 0.1, 2]
        self._mouth = Mouth(anatomy, float(np.max(at_line)), rng)
        self._occlusion = _occlusion(self.head)
        self._gloss = float(rng.uniform(0.0, 0.22) ** 1.3)
        self._parts = self._surround(rng)
        self._cast_shadows(facing)
        self._background = surroundings.background(rng, CANVAS + 2 * _BACKGROUND_MARGIN)
        self._canvas = Canvas(CANVAS)
        self._exposure = float(2 ** rng.normal(0.3, 0.4))
        # Pixels of the 224 pixel frame: half the face's width, and where the eyes' middle is.
        self._scale = float(np.clip(rng.normal(47, 4.5), 36, 62)) * CANVAS / _FRAME
        self._distance = float(rng.uniform(5, 18))
        self._centre = np.array(
            [112 + rng.normal(0, 5), 60 + rng.normal(0, 6)], np.float32
        ) * np.float32(CANVAS / _FRAME)

    def _surround(self, rng: np.random.Generator) -> list[_Part]:
        haircut = rng.choice(["bald", "short", "long"], p=[0.1, 0.5, 0.4])
        head, look = self.head, self.look
        on_head = [(surface, 0.02) for surface in surroundings.ears(head, look, rng)]
        if haircut != "bald":
            on_head.append((surroundings.hair_cap(head, look, rng), 0.03))
        if haircut == "long":
            on_head.append((surroundings.long_hair(look, rng), 0.03))
        if rng.random() < 0.25:
            on_head += [(s, 0.3) for s in accessories.glasses(head.anatomy, rng)]
        on_body = [(surroundings.neck(head, look, rng), 0.01), (surroundings.clothes(rng), 0.0)]
        if rng.random() < 0.07:
            on_body += [(s, 0.02) for s in accessories.microphone(rng)]
        on_hand = []
        if rng.random() < 0.12:
            on_hand = [(s, 0.03) for s in accessories.hand(look, rng)]
        groups: list[tuple[Literal["head", "body", "hand"], list[tuple[Surface, float]]]] = [
            ("head", on_head),
            ("body", on_body),
            ("hand", on_hand),
        ]
        return [
            _Part(
                mesh,
                points,
                grid_normals(points, *grid),
                anchor,
                shine,
                np.ones((len(points), len(self.light.directions)), np.float32),
            )
            for anchor, group in groups
            for (mesh, points, grid), shine in group
        ]

    def _cast_shadows(self, facing: Float) -> None:
        turn = rotation(float(facing[0]), float(facing[1]), float(facing[2]))
        still = [p for p in self._parts if p.anchor != "hand"]
        surfaces = [(self._face, (self.head.rest - _PIVOT) @ turn.T + _PIVOT)]
        for part in still:
            points = part.points
            if part.anchor == "head":
                points = (points - _PIVOT) @ turn.T + _PIVOT
            surfaces.append((part.mesh, points))
        self._face_seen, *seen = cast_shadows(surfaces, self.light)
        # Teeth get the light that the lips get.
        lips = np.abs(self.head.rest - np.array([0, self.head.anatomy.mouth_y, 0])) < [0.2, 0.15, 9]
        self._lips_seen = self._face_seen[lips.all(axis=1)].mean(axis=0, keepdims=True)
        for part, visible in zip(still, seen, strict=True):
            part.seen[:] = visible

    def coefficients(self, articulation: Float, idle: Float) -> Float:
        """Blend shape coefficients for articulators [8] and idle movement [len(SHAPES)]."""
        a, c = articulation, idle.copy()
        free = 1.0 - a[PRESS]
        jaw = max(float(a[JAW]), 0.0)
        c[_INDEX["jaw"]] += jaw
        c[_INDEX["jaw_squared"]] += jaw * jaw
        c[_INDEX["upper"]] = (c[_INDEX["upper"]] + a[UPPER]) * free + 0.25 * a[BITE]
        c[_INDEX["lower"]] = (c[_INDEX["lower"]] + a[LOWER]) * free * (1 - a[BITE])
        c[_INDEX["wide"]] += a[WIDE]
        c[_INDEX["round"]] += a[ROUND]
        c[_INDEX["press"]] += a[PRESS]
        c[_INDEX["press_jaw"]] += a[PRESS] * jaw
        c[_INDEX["bite"]] += a[BITE] * free
        c[_INDEX["bite_jaw"]] += a[BITE] * free * jaw
        return c

    def _project(self, points: Float, offset: Float) -> Float:
        out = np.empty_like(points)
        scale = self._scale * self._distance / (self._distance - points[:, 2])
        out[:, 0] = points[:, 0] * scale + offset[0]
        out[:, 1] = points[:, 1] * scale + offset[1]
        out[:, 2] = points[:, 2]
        return out

    def draw(
        self,
        articulation: Float,
        shapes: Float,
        angles: Float,
        shift: Float,
        crop: Float,
        lids: float,
        gaze: Float,
        hand: Float,
    ) -> NDArray[np.uint8]:
        """A frame in display values: uint8 [CANVAS, CANVAS, 3].

        articulation [8]; shapes [len(SHAPES)]: idle movement; angles [3]: yaw, pitch, roll;
        shift [3]: of head and body in face units; crop [2]: of the camera, in canvas pixels;
        lids: 1 open, 0 shut; gaze [2] in -1..1; hand [2]: shift of the hand in face units.
        """
        canvas, head = self._canvas, self.head
        canvas.clear()
        coefficients = self.coefficients(articulation, shapes)
        turn = rotation(float(angles[0]), float(angles[1]), float(angles[2]))
        offset = self._centre + crop

        def place(points: Float) -> Float:
            moved: Float = (points - _PIVOT) @ turn.T + _PIVOT + shift
            return moved

        points = place(head.deform(coefficients))
        normals = grid_normals(points, head.rows, head.columns)
        lit, gloss = self.light.shade(normals, self._gloss, self._face_seen)
        lit *= self._occlusion[:, None]
        gloss *= self._occlusion
        self._eyes.paint(self._face.texture, lids, float(gaze[0]), float(gaze[1]))
        canvas.draw(self._face, self._project(points, offset), lit, gloss, inside=head.inside)
        front = turn @ np.array([0, 0, 1], np.float32)
        inner, _ = self.light.shade(front[None, :], 0.0, self._lips_seen)
        opening = float(np.clip(coefficients[_INDEX["jaw"]], 0, 1.5))
        for mesh, local, brightness in self._mouth.place(opening, float(articulation[TONGUE])):
            shade = brightness[:, None] * inner
            canvas.draw(
                mesh,
                self._project(place(local), offset),
                shade.astype(np.float32),
                0.02 * brightness,
                only_in_cavity=True,
            )
        for part in self._parts:
            if part.anchor == "head":
                where, facing = place(part.points), part.normals @ turn.T
            else:
                where, facing = part.points + shift * np.float32(0.6), part.normals
                if part.anchor == "hand":
                    where[:, :2] += hand
            lit, gloss = self.light.shade(facing, part.shine, part.seen)
            canvas.draw(part.mesh, self._project(where, offset), lit, gloss)
        margin = _BACKGROUND_MARGIN
        left, top = (int(np.clip(round(margin - c), 0, 2 * margin)) for c in crop)
        return canvas.develop(self._background, left, top, self._exposure)
