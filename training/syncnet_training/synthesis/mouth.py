"""What an open mouth shows: teeth and tongue. The dark cavity belongs to the face's own surface."""

import numpy as np

from syncnet_training.synthesis.head import Anatomy, jaw_transform
from syncnet_training.synthesis.raster import Float, Mesh, grid_triangles
from syncnet_training.synthesis.skin import noise, with_coverage

_ARCH_COLUMNS = 25


class Mouth:
    """Teeth and tongue of one person, placed for a jaw opening and tongue height."""

    def __init__(self, anatomy: Anatomy, lips_z: float, rng: np.random.Generator) -> None:
        self._line = anatomy.mouth_y
        self._half = 0.40 + 0.4 * (anatomy.mouth_width - 0.37)
        front = lips_z - float(rng.uniform(0.07, 0.12))
        # How far the upper teeth reach below, and the lower above, the line where the lips meet.
        show = float(rng.uniform(-0.01, 0.085))
        height = float(rng.uniform(0.13, 0.17))
        gum = 0.12
        across = np.linspace(-1, 1, _ARCH_COLUMNS)
        upper_rows = self._line + show + np.array([-height - gum, -height, -0.5 * height, 0.0])
        self._upper = self._arch(across, upper_rows, front, float(rng.uniform(1.3, 2.2)))
        overlap = float(rng.uniform(-0.01, 0.02))
        lower_rows = (
            self._line + show - overlap + np.array([0.0, 0.45, 0.9, 0.9 + gum / 0.14]) * 0.14
        )
        self._lower = self._arch(
            across * 0.92, lower_rows, front - 0.05, float(rng.uniform(1.5, 2.4))
        )
        white = np.array([0.93, 0.90, 0.84], np.float32) * float(rng.uniform(0.75, 1.05))
        white *= np.array([1, rng.uniform(0.95, 1.0), rng.uniform(0.82, 1.0)], np.float32)
        self.upper_mesh = self._teeth_mesh(4, white, rng, upper=True)
        self.lower_mesh = self._teeth_mesh(4, white * 0.93, rng, upper=False)
        self._tongue_rest, self.tongue_mesh = self._make_tongue(front, rng)
        self._dim = float(rng.uniform(0.4, 0.95))

    def _arch(self, across: Float, rows: Float, front: float, bend: float) -> Float:
        x = np.tile(across * self._half, (len(rows), 1))
        y = np.tile(np.asarray(rows)[:, None], (1, len(across)))
        z = front - bend * x**2 - 0.5 * np.abs(x) ** 3 * bend
        return np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32)

    def _teeth_mesh(
        self, rows: int, white: Float, rng: np.random.Generator, *, upper: bool
    ) -> Mesh:
        height, width = 64, 200
        v, u = np.mgrid[0 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
        if not upper:
            v = v[::-1]
        # v runs from the gums (0) to the biting edge (1); the incisors are the widest.
        count = 5.2 if upper else 6.6
        place = np.sign(u) * np.abs(u) ** 0.92 * count
        if not upper:
            place = place + 0.5
        within = np.abs(place - np.floor(place) - 0.5) * 2  # 0 in a tooth's middle, 1 between two
        number = np.floor(place).astype(int)
        tones = rng.uniform(0.92, 1.05, 32)[np.clip(number + 16, 0, 31)]
        uneven = rng.uniform(-0.04, 0.0, 32)[np.clip(number + 16, 0, 31)]
        gap = float(rng.uniform(0.05, 0.4))
        shade = tones * (1 - gap * np.clip((within - 0.75) / 0.25, 0, 1) ** 2)
        shade *= 0.85 + 0.15 * np.cos((v - 0.6) * 2.2)
        picture = white * shade[..., None].astype(np.float32)
        edge = 1.0 + uneven - 0.05 * within**4
        gums = 0.46 - 0.08 * (1 - within**2)
        pink = np.array([0.72, 0.40, 0.40], np.float32) * float(rng.uniform(0.6, 1.1))
        share = np.clip((gums - v) / 0.05 + 0.5, 0, 1)[..., None]
        picture += share * (pink - picture)
        coverage = (v < edge).astype(np.float32)
        texture_uv = np.stack(
            np.meshgrid(
                np.linspace(0, width - 1, _ARCH_COLUMNS),
                np.array([0.0, 0.46, 0.73, 1.0] if upper else [0.0, 0.24, 0.54, 1.0])
                * (height - 1),
            ),
            -1,
        )
        return Mesh(
            grid_triangles(rows, _ARCH_COLUMNS),
            texture_uv.reshape(-1, 2).astype(np.float32),
            with_coverage(np.clip(picture, 0, 1).astype(np.float32), coverage),
        )

    def _make_tongue(self, front: float, rng: np.random.Generator) -> tuple[Float, Mesh]:
        rows, columns = 9, 13
        # From the tip over the back; a low mound.
        along, across = np.meshgrid(
            np.linspace(0, 1, rows), np.linspace(-1, 1, columns), indexing="ij"
        )
        wide = 0.27 * (0.45 + 0.55 * np.minimum(along * 3, 1) ** 0.6)
        x = across * wide
        y = (
            self._line
            + 0.16
            - 0.10 * np.sqrt(np.maximum(1 - across**2, 0)) * np.minimum(along * 4, 1)
        )
        y = y + 0.02 * np.exp(-((across / 0.15) ** 2))
        z = front - 0.12 - 0.75 * along
        points = np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32)
        size = 64
        colour = np.array([0.72, 0.38, 0.38], np.float32) * float(rng.uniform(0.75, 1.15))
        picture = np.clip(colour * (1 + 0.08 * noise(rng, size, size, 20, 20))[..., None], 0, 1)
        uv = np.stack([(across + 1) / 2 * (size - 1), along * (size - 1)], -1)
        mesh = Mesh(
            grid_triangles(rows, columns),
            uv.reshape(-1, 2).astype(np.float32),
            with_coverage(picture),
        )
        return points, mesh

    def place(self, opening: float, tongue: float) -> list[tuple[Mesh, Float, Float]]:
        """(mesh, points [N, 3], brightness [N]) of upper teeth, lower teeth and tongue.

        opening: of the jaw (1: fully); tongue: height of its tip, 0..1.
        """
        lower = jaw_transform(self._lower, opening)
        mound = self._tongue_rest.copy()
        ahead = np.exp(-(((mound[:, 2] - mound[:, 2].max()) / 0.3) ** 2))
        mound[:, 1] -= tongue * (0.10 + 0.16 * opening) * ahead
        mound[:, 2] += tongue * 0.06 * ahead
        mound = jaw_transform(mound, opening * 0.9)
        light = self._dim * (0.75 + 0.6 * min(opening, 1.0))
        parts = []
        for mesh, points in (
            (self.upper_mesh, self._upper),
            (self.lower_mesh, lower),
            (self.tongue_mesh, mound),
        ):
            side = 1 - 0.75 * np.minimum(np.abs(points[:, 0]) / self._half, 1) ** 2
            brightness = light * side
            if mesh is self.tongue_mesh:
                back = (points[:, 2] - points[:, 2].min()) / np.ptp(points[:, 2])
                brightness = brightness * (0.15 + 0.75 * back)
            parts.append((mesh, points, brightness.astype(np.float32)))
        return parts
