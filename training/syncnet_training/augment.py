"""Random changes to a clip that leave its sync alone: the step from drawn faces to real ones.

All choices of a clip are drawn once and hold for all its frames, except the slow wander of the
crop and the grain, as on a real recording. Frames keep their time and audio keeps its length;
filters are symmetric, and an echo comes on top of the direct sound, so nothing moves.
"""

import math

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from syncnet_client.contract import FRAME_SIZE, SAMPLE_RATE
from syncnet_training.storage import to_bgr

__all__ = ["augment_audio", "augment_video"]

_BORDER_GREY = (110, 110, 110)  # what the published crop fills in outside the picture
_CENTRE = FRAME_SIZE / 2
# Grain is cut out of one fixed field: drawing it anew costs more than decoding a frame.
_GRAIN = np.random.default_rng(0).standard_normal((320, 320, 3)).astype(np.float32)


def augment_video(
    planes: NDArray[np.uint8],
    rng: Generator,
    strength: float = 1.0,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Change how a clip was framed, lit, recorded and compressed.

    Args:
        planes: uint8 [T, 336, 224], frames as `Clip.read_planes` returns them.
        rng: decides about everything.
        strength: 1 for all of it; 0 for little more than large mouths, to begin with.
        out: array to write to; None for a new one.

    Returns:
        uint8 [T, 224, 224, 3] BGR.
    """
    matrices = _camera(len(planes), rng, strength)
    border = cv2.BORDER_REFLECT_101 if rng.random() < 0.5 else cv2.BORDER_CONSTANT
    table = _tone_table(rng, strength)
    colours = _colour_matrix(rng, strength)
    shading = _shading(rng) if rng.random() < 0.3 * strength else None
    blur = rng.uniform(0.4, 1.8) if rng.random() < 0.25 * strength else 0.0
    resolution = int(rng.uniform(70, 200)) if rng.random() < 0.25 * strength else FRAME_SIZE
    grain = (
        (_GRAIN * rng.uniform(1, 10)).astype(np.int16) if rng.random() < 0.3 * strength else None
    )
    quality = int(rng.uniform(12, 70)) if rng.random() < 0.2 * strength else None
    patches = _patches(rng) if rng.random() < 0.5 * strength else []

    size = (FRAME_SIZE, FRAME_SIZE, 3)
    changed = np.empty((len(planes), *size), np.uint8) if out is None else out
    toned, picture = np.empty_like(planes[0]), np.empty(size, np.uint8)
    for frame, matrix, image in zip(planes, matrices, changed, strict=True):
        # One plane is a third of the work of three colours.
        cv2.LUT(frame[:FRAME_SIZE], table, dst=toned[:FRAME_SIZE])
        toned[FRAME_SIZE:] = frame[FRAME_SIZE:]
        moved = cv2.warpAffine(
            to_bgr(toned, out=picture),
            matrix,
            (FRAME_SIZE, FRAME_SIZE),
            flags=cv2.INTER_LINEAR,
            borderMode=border,
            borderValue=_BORDER_GREY,
        )
        for x, y, patch in patches:
            height, width, _ = patch.shape
            moved[y : y + height, x : x + width] = patch
        cv2.transform(moved, colours, dst=image)
        if shading is not None:
            cv2.multiply(image, shading, dst=image, dtype=cv2.CV_8U)
        if resolution < FRAME_SIZE:
            small = cv2.resize(image, (resolution, resolution), interpolation=cv2.INTER_LINEAR)
            cv2.resize(small, (FRAME_SIZE, FRAME_SIZE), image, interpolation=cv2.INTER_LINEAR)
        if blur:
            # 1.5 standard deviations to each side: half the taps of the default, much alike.
            cv2.GaussianBlur(image, (2 * math.ceil(1.5 * blur) + 1,) * 2, blur, dst=image)
        if grain is not None:
            x, y = rng.integers(0, len(grain) - FRAME_SIZE, 2)
            field = grain[y : y + FRAME_SIZE, x : x + FRAME_SIZE]
            cv2.add(image, field, dst=image, dtype=cv2.CV_8U)
        if quality is not None:
            _, jpeg = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))
            image[:] = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    return changed


def _camera(count: int, rng: Generator, strength: float) -> NDArray[np.float64]:
    """Affine maps for `count` frames, [count, 2, 3]: one framing, around which the crop wanders."""
    # Up to a crop of the lower face: large mouths teach quickly what small ones show.
    zoom = np.exp(rng.uniform(0.25 - 0.45 * strength, 0.65))
    aspect = np.exp(rng.normal(0, 0.05))
    angle = np.deg2rad(rng.normal(0, 2 + 5 * strength))
    shear = rng.normal(0, 0.04)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = rotation @ np.array([[zoom * aspect, shear], [0, zoom / aspect]])
    linear[:, 0] *= mirror

    # A face box follows the face with some lag and error: a slow wander, seldom quick.
    wander = rng.normal(0, 1, (count + 12, 4))
    width = int(rng.integers(3, 12))
    window = np.hanning(width + 2)[1:-1]
    wander = np.stack([np.convolve(column, window, "same")[6:-6] for column in wander.T], axis=1)
    wander *= rng.exponential(0.5) / np.linalg.norm(window)
    shift = rng.normal(0, (4 + 6 * strength, 5 + 8 * strength)) + wander[:, :2] * 1.5
    breathing = 1 + 0.006 * wander[:, 2]
    twist = 0.006 * wander[:, 3]

    matrices = np.empty((count, 2, 3))
    for matrix, scale, turn, offset in zip(matrices, breathing, twist, shift, strict=True):
        matrix[:, :2] = scale * np.array([[1, -turn], [turn, 1]]) @ linear
        matrix[:, 2] = _CENTRE + offset - matrix[:, :2] @ (_CENTRE, _CENTRE)
    return matrices


def _tone_table(rng: Generator, strength: float) -> NDArray[np.uint8]:
    """Exposure, contrast and gamma as a look-up table for luma (16 to 235), uint8 [256]."""
    levels = ((np.arange(256) - 16) / 219).clip(0, 1)
    gamma = np.exp(rng.normal(0, 0.2 * strength))
    contrast = np.exp(rng.normal(0, 0.15 * strength))
    brightness = rng.normal(0, 0.06 * strength)
    curve = (levels**gamma - 0.45) * contrast + 0.45 + brightness
    table: NDArray[np.uint8] = (16 + 219 * curve.clip(0, 1)).round().astype(np.uint8)
    return table


def _colour_matrix(rng: Generator, strength: float) -> NDArray[np.float64]:
    """White balance, and for half of the clips saturation and a turn of hue, float64 [3, 3] BGR.

    Primaries always differ a little, as those of cameras do.
    """
    colours = np.diag(np.exp(rng.normal(0, 0.06 * strength, 3))) + rng.normal(0, 0.005, (3, 3))
    if rng.random() < 0.5 * strength:
        saturation = 0.0 if rng.random() < 0.17 else rng.uniform(0.3, 1.6)
        grey = np.array([[0.114, 0.587, 0.299]]).repeat(3, 0)
        hue = np.eye(3) + rng.normal(0, 0.05, (3, 3))
        colours = colours @ (grey + saturation * (np.eye(3) - grey)) @ hue
    return np.asarray(colours)


def _shading(rng: Generator) -> NDArray[np.float32]:
    """A light from one side, float32 [224, 224, 3] around 1."""
    x, y = np.meshgrid(*[np.linspace(-1, 1, FRAME_SIZE, dtype=np.float32)] * 2)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = 1 + rng.uniform(0.1, 0.5) * (np.cos(angle) * x + np.sin(angle) * y)
    return np.repeat(ramp[..., None].astype(np.float32), 3, axis=2)


def _patches(rng: Generator) -> list[tuple[int, int, NDArray[np.uint8]]]:
    """Opaque patches (x, y, pixels) away from the mouth.

    In the published crop the mouth lies between about 85 and 130 pixels from the top. Patches
    cover eyes, forehead and hair, or what is below the chin and beside the face.
    """
    patches: list[tuple[int, int, NDArray[np.uint8]]] = []
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.7:
            width, height = int(rng.integers(16, 160)), int(rng.integers(12, 70))
            x, y = int(rng.integers(0, FRAME_SIZE - width)), int(rng.integers(0, 78 - height))
        elif rng.random() < 0.5:
            height = int(rng.integers(6, 60))
            width, x, y = FRAME_SIZE, 0, FRAME_SIZE - height
        else:
            width, height, y = int(rng.integers(6, 45)), FRAME_SIZE, 0
            x = 0 if rng.random() < 0.5 else FRAME_SIZE - width
        if rng.random() < 0.4:
            patches.append((x, y, np.full((height, width, 3), _BORDER_GREY, dtype=np.uint8)))
        else:
            texture = rng.uniform(0, 255, 3) + rng.normal(0, rng.uniform(0, 40), (4, 4, 3))
            tiles = texture.clip(0, 255).astype(np.uint8)
            patches.append((x, y, np.asarray(cv2.resize(tiles, (width, height)), np.uint8)))
    return patches


def augment_audio(
    samples: NDArray[np.int16], background: NDArray[np.int16], rng: Generator
) -> NDArray[np.int16]:
    """Change how a voice was recorded: level, frequency response, room, noise, other sound.

    Args:
        samples: int16 [N] at 16 kHz.
        background: int16 [M], any other sound, to be mixed in far below the voice.
        rng: decides about everything.

    Returns:
        a new array like `samples`.
    """
    voice = samples.astype(np.float32)
    if rng.random() < 0.3:
        voice = _with_room(voice, rng)
    if rng.random() < 0.75:
        voice = _with_response(voice, rng)
    level = float(np.sqrt(np.mean(voice**2))) + 1e-3
    if rng.random() < 0.25 and len(background):
        start = int(rng.integers(0, len(background)))
        other = np.resize(np.roll(background, -start), len(voice)).astype(np.float32)
        loudness = float(np.sqrt(np.mean(other**2))) + 1e-3
        voice += other * (level / loudness * _decibels(-rng.uniform(6, 25)))
    if rng.random() < 0.6:
        noise = _coloured_noise(len(voice), rng)
        voice += noise * (level * _decibels(-rng.uniform(8, 50)))
    target = 32768 * _decibels(rng.uniform(-38, -12))
    voice *= target / (float(np.sqrt(np.mean(voice**2))) + 1e-3)
    return voice.round().clip(-32768, 32767).astype(np.int16)


def _decibels(value: float) -> float:
    return float(10 ** (value / 20))


def _with_response(voice: NDArray[np.float32], rng: Generator) -> NDArray[np.float32]:
    """A microphone, an equaliser or a codec: smooth random response, sometimes cut off."""
    spectrum = np.fft.rfft(voice)
    frequency = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))
    knots = np.array([0, 200, 500, 1000, 2000, 3500, 5500, 8000])
    gains = rng.normal(0, rng.uniform(0, 6), len(knots)) + rng.normal(0, 5) * np.linspace(-1, 1, 8)
    response = np.interp(frequency, knots, gains)
    if rng.random() < 0.3:
        response -= 60 * (frequency / rng.uniform(2800, 7500)).clip(1, 2) - 60
    if rng.random() < 0.25:
        response -= 40 * (1 - (frequency / rng.uniform(80, 300))).clip(0, 1)
    filtered: NDArray[np.float64] = np.fft.irfft(spectrum * 10 ** (response / 20), len(voice))
    return filtered.astype(np.float32)


def _with_room(voice: NDArray[np.float32], rng: Generator) -> NDArray[np.float32]:
    """The direct sound plus an exponentially dying echo of 0.1 to 0.5 s (to -60 dB)."""
    decay_s = rng.uniform(0.1, 0.5)
    length = int(decay_s * SAMPLE_RATE)
    echo = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    echo[: int(0.002 * SAMPLE_RATE)] = 0
    echo *= rng.uniform(0.1, 0.8) / np.linalg.norm(echo)
    echo[0] = 1
    size = 1 << (len(voice) + length - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(voice, size) * np.fft.rfft(echo, size), size)
    return np.asarray(wet[: len(voice)], dtype=np.float32)


def _coloured_noise(length: int, rng: Generator) -> NDArray[np.float32]:
    """Noise of power 1 between white and brown, float32 [length]."""
    spectrum = np.fft.rfft(rng.standard_normal(length, np.float32))
    slope = rng.uniform(0, 1)
    spectrum *= (1 + np.arange(len(spectrum)) / len(spectrum) * 100) ** -slope
    noise = np.fft.irfft(spectrum, length)
    return np.asarray(noise / (noise.std() + 1e-9), dtype=np.float32)
