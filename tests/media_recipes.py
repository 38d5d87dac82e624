"""Recipes for small test clips, encoded with PyAV: a white flash and a short beep at known times.

Frames are flat grey with a brightness that depends on their number, so that one can be told from
another after lossy coding; the beep is a 1 kHz burst under a Gaussian, so that its time is its
centre of energy, whatever the codec smears.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from syncnet_client.media import MediaSummary, open_media

WIDTH, HEIGHT = 64, 48
WHITE = 235
BEEP_SECONDS = 0.003  # standard deviation of its envelope


@dataclass(frozen=True)
class Recipe:
    """A clip to encode.

    Times are in seconds on the clip's clock; ``video_delay`` and ``audio_delay`` move a stream by
    its time stamps alone. ``times`` overrides ``fps``. ``noise`` is what is heard beside the beep,
    of its amplitude. ``keep_audio`` says which audio packets are written.
    """

    fps: Fraction = Fraction(25)
    seconds: Fraction = Fraction(2)
    flash: Fraction = Fraction(1)
    beep: Fraction = Fraction(1)
    times: Sequence[Fraction] | None = None
    width: int = WIDTH
    height: int = HEIGHT
    video_codec: str = "libx264"
    audio_codec: str = "aac"
    rate: int = 48_000
    layout: str = "stereo"
    video_delay: Fraction = Fraction(0)
    audio_delay: Fraction = Fraction(0)
    video_options: tuple[tuple[str, str], ...] = ()
    container_options: tuple[tuple[str, str], ...] = ()
    picture: bool = True
    sound: bool = True
    noise: float = 0.0
    keep_audio: Callable[[Fraction], bool] = lambda time: True  # noqa: ARG005

    @property
    def frame_times(self) -> list[Fraction]:
        """Time stamps of the frames, before any delay."""
        if self.times is not None:
            return list(self.times)
        return [index / self.fps for index in range(int(self.seconds * self.fps))]

    def with_(self, **changes: Any) -> Recipe:
        """Return a recipe that differs in some points."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Reading:
    """All that came out of a clip."""

    images: npt.NDArray[np.uint8]
    times: list[Fraction]
    samples: npt.NDArray[np.int16]
    summary: MediaSummary

    @property
    def flash(self) -> int:
        """Index of the first white frame."""
        bright = self.images.mean(axis=(1, 2, 3)) > 200
        assert bright.any()
        return int(np.argmax(bright))

    @property
    def beep(self) -> float:
        """Time of the beep in seconds after the first sample."""
        energy = self.samples.astype(float) ** 2
        energy[energy < energy.max() / 100] = 0
        return float((energy * np.arange(len(energy))).sum() / energy.sum() / 16_000)


def read(path: str | Path, **options: Any) -> Reading:
    """Read a whole clip through the ingest."""
    with open_media(path, **options) as media:
        blocks = list(media)
        summary = media.summary
    frames = [frame for block in blocks for frame in block.frames]
    assert [frame.index for frame in frames] == list(range(len(frames)))
    return Reading(
        images=np.stack([frame.image for frame in frames]),
        times=[frame.time for frame in frames],
        samples=np.concatenate([block.samples for block in blocks]),
        summary=summary,
    )


def encode(path: Path, recipe: Recipe) -> Path:
    """Encode a clip; the file's suffix decides the container."""
    with av.open(str(path), "w", options=dict(recipe.container_options)) as container:
        tracks = []
        if recipe.picture:
            tracks.append(_video(container, recipe))
        if recipe.sound:
            tracks.append(_audio(container, recipe))
        packets = [packet for track in tracks for packet in track()]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def rotate_mp4(path: Path, degrees: int) -> None:
    """Write a rotation into an MP4's video track header, as telephones do."""
    turn = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    data = bytearray(path.read_bytes())
    header = data.index(b"tkhd")
    matrix = header + 4 + 40
    for place, value in zip((0, 1, 3, 4), turn, strict=True):
        struct.pack_into(">i", data, matrix + 4 * place, value * 65536)
    path.write_bytes(data)


def picture_number(index: int) -> int:
    """Brightness of frame ``index``: neighbours differ by much more than coding noise."""
    return 20 + 37 * index % 160


def _video(container: Any, recipe: Recipe) -> Callable[[], list[Any]]:
    stream = container.add_stream(recipe.video_codec, rate=recipe.fps)
    stream.width, stream.height, stream.pix_fmt = recipe.width, recipe.height, "yuv420p"
    quick = {"preset": "veryfast"} if recipe.video_codec == "libx264" else {}
    stream.options = {**quick, **dict(recipe.video_options)}
    stream.codec_context.thread_count = 1
    base = 1 / recipe.fps if recipe.times is None else Fraction(1, 1000)
    stream.codec_context.time_base = base

    def packets() -> list[Any]:
        encoded = []
        for index, time in enumerate(recipe.frame_times):
            following = (recipe.frame_times[index + 1 :] or [time + 1 / recipe.fps])[0]
            level = WHITE if time <= recipe.flash < following else picture_number(index)
            image = np.full((recipe.height, recipe.width, 3), level, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.time_base = base
            frame.pts = round(time / base)
            encoded += stream.encode(frame)
        return _move(encoded + stream.encode(None), recipe.video_delay)

    return packets


def _audio(container: Any, recipe: Recipe) -> Callable[[], list[Any]]:
    stream = container.add_stream(recipe.audio_codec, rate=recipe.rate, layout=recipe.layout)

    def packets() -> list[Any]:
        count = int(recipe.seconds * recipe.rate)
        after = np.arange(count) / recipe.rate - float(recipe.beep)
        burst = np.exp(-0.5 * (after / BEEP_SECONDS) ** 2) * np.cos(2 * np.pi * 1000 * after)
        burst += recipe.noise * np.random.default_rng(0).standard_normal(count)
        channels = av.AudioLayout(recipe.layout).nb_channels
        pcm = np.repeat((burst * 12_000).astype(np.int16), channels)[None]
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout=recipe.layout)
        frame.rate, frame.pts, frame.time_base = recipe.rate, 0, Fraction(1, recipe.rate)
        context = stream.codec_context
        context.open()
        resampler = av.AudioResampler(
            context.format.name, recipe.layout, recipe.rate, context.frame_size or 1024
        )
        encoded = []
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            encoded += stream.encode(piece)
        encoded += stream.encode(None)
        kept = [packet for packet in encoded if recipe.keep_audio(packet.pts * packet.time_base)]
        return _move(kept, recipe.audio_delay)

    return packets


def _move(packets: list[Any], delay: Fraction) -> list[Any]:
    for packet in packets:
        ticks = round(delay / packet.time_base)
        packet.pts += ticks
        packet.dts += ticks
    return packets
