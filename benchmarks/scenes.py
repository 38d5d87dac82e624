"""Clips with a talking head in a scene, as cameras see it: the head of the sample clip, moving."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, count
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.setup import read_sample
from syncnet_client.contract import FRAMES_PER_SECOND, SAMPLE_RATE

Image = npt.NDArray[np.uint8]

GRAIN = 2.5  # grey levels, standard deviation: what a sensor adds
GRAINS = 8  # different ones, over and over
# The head sways once across and twice down in this time, so that pictures may begin anew after it.
SWAY_S = 4


@dataclass(frozen=True)
class Scene:
    """A clip to encode.

    Attributes:
        width, height: of the picture, in pixels.
        head: side of the square that shows the head, in pixels.
        codec: FFmpeg's name of the encoder.
        fps: frames a second.
        seconds: length of what is encoded.
        repeats: how often that is shown, encoded once. It begins anew without a jump if `seconds`
            is a multiple of `SWAY_S`.
    """

    width: int
    height: int
    head: int
    codec: str = "libx264"
    fps: int = FRAMES_PER_SECOND
    seconds: int = SWAY_S
    repeats: int = 1

    @property
    def name(self) -> str:
        """For tables and file names."""
        codec = {"libx264": "H.264", "libx265": "HEVC"}[self.codec]
        rate = "" if self.fps == FRAMES_PER_SECOND else f", {self.fps} fps"
        return f"{self.width}x{self.height} {codec}{rate}"

    def write(self, path: Path) -> Path:
        """Encode it, with the sample clip's sound."""
        with av.open(str(path), "w") as container:
            video: Any = container.add_stream(self.codec, rate=self.fps)
            video.width, video.height, video.pix_fmt = self.width, self.height, "yuv420p"
            video.options = {"preset": "veryfast", "crf": "22", "x265-params": "log-level=none"}
            audio: Any = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
            packets = list(chain.from_iterable(map(video.encode, self._frames())))
            sound = self._sound()
            for _ in range(self.repeats):
                for _ in range(self.seconds):
                    container.mux(audio.encode(next(sound)))
                for packet in packets:
                    container.mux(packet)
                    packet.pts += round(self.seconds / packet.time_base)
                    packet.dts += round(self.seconds / packet.time_base)
            container.mux(audio.encode(None))
        return path

    def _frames(self) -> Iterator[av.VideoFrame | None]:
        """The pictures that are encoded, and the end of them."""
        heads, _ = read_sample()
        random = np.random.default_rng(0)
        room = self._room(random)
        grains = random.normal(0, GRAIN, (GRAINS, self.height, self.width)).astype(np.int16)
        for index in range(self.seconds * self.fps):
            picture = self._picture(room, heads, index / self.fps)
            grainy = cv2.add(picture, cv2.merge([grains[index % GRAINS]] * 3), dtype=cv2.CV_8U)
            frame = av.VideoFrame.from_ndarray(np.asarray(grainy, np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, self.fps)
            yield frame
        yield None

    def _sound(self) -> Iterator[av.AudioFrame]:
        """The sample clip's sound over and over, a second at a time."""
        _, sound = read_sample()
        for start in count(0, SAMPLE_RATE):
            piece = np.take(sound, range(start, start + SAMPLE_RATE), mode="wrap")
            block = av.AudioFrame.from_ndarray(piece[None], format="s16", layout="mono")
            block.sample_rate = SAMPLE_RATE
            block.pts, block.time_base = start, Fraction(1, SAMPLE_RATE)
            yield block

    def _room(self, random: np.random.Generator) -> Image:
        """What is behind the head: soft surfaces with some edges."""
        coarse = random.integers(40, 170, (5, 9, 3), np.uint8)
        room = cv2.resize(coarse, (self.width, self.height), interpolation=cv2.INTER_CUBIC)
        for _ in range(12):
            x, y = (int(random.integers(0, side)) for side in (self.width, self.height))
            colour = tuple(int(value) for value in random.integers(30, 180, 3))
            corner = (x + self.width // 6, y + self.height // 5)
            cv2.rectangle(room, (x, y), corner, colour, -1)
        return np.asarray(cv2.GaussianBlur(room, (0, 0), self.width / 400), np.uint8)

    def _picture(self, room: Image, heads: Image, moment: float) -> Image:
        """The scene at a moment, in seconds."""
        face = heads[round(moment * FRAMES_PER_SECOND) % len(heads)]
        face = np.asarray(cv2.resize(face, (self.head, self.head), interpolation=cv2.INTER_CUBIC))
        sway = self.head / 12
        turn = 2 * math.pi * moment / SWAY_S
        left = round((self.width - self.head) / 2 + sway * math.sin(turn))
        top = round((self.height - self.head) / 3 + 0.4 * sway * math.sin(2 * turn))
        left, top = max(0, left), max(0, top)
        image = room.copy()
        image[top : top + self.head, left : left + self.head] = face[
            : self.height - top, : self.width - left
        ]
        return image
