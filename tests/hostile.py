"""Hostile files: mutated, truncated, lying about themselves, or opening others. All from seeds."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CONTAINERS = {"mp4": "aac", "mkv": "aac", "avi": "mp3", "ts": "aac", "webm": "libopus"}

# Element numbers of Matroska.
CHANNELS, RATE, WIDTH, HEIGHT = b"\x9f", b"\xb5", b"\xb0", b"\xba"


def write_media(
    path: Path,
    *,
    frames: int = 30,
    size: tuple[int, int] = (224, 224),
    rate: int = 16_000,
    audio_codec: str = "aac",
    video_codec: str = "mpeg4",
    aspect: Fraction | None = None,
    title: bytes | None = None,
    last_frame_s: float | None = None,
) -> Path:
    """A clip of noise, in the container of the path's suffix."""
    random = np.random.default_rng(frames)
    codec = "libvpx" if path.suffix == ".webm" else video_codec
    with av.open(path, "w") as container:
        if title is not None:
            container.metadata["title"] = "T" * len(title)
        picture = container.add_stream(codec, rate=25)
        picture.width, picture.height = size
        picture.pix_fmt = "rgb24" if codec == "png" else "yuv420p"
        if aspect is not None:
            picture.codec_context.sample_aspect_ratio = aspect
        sound = container.add_stream(audio_codec, rate=rate)
        for _ in range(frames):
            pixels = random.integers(0, 255, (size[1], size[0], 3), np.uint8)
            container.mux(picture.encode(av.VideoFrame.from_ndarray(pixels)))
        packets = picture.encode(None)
        if last_frame_s is not None and packets:
            packets[-1].duration = round(last_frame_s / packets[-1].time_base)
        container.mux(packets)
        samples = random.integers(-6000, 6000, (1, frames * rate // 25), np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        for part in av.AudioResampler(
            sound.format, sound.layout, sound.rate, frame_size=sound.frame_size
        ).resample(frame):
            container.mux(sound.encode(part))
        container.mux(sound.encode(None))
    if title is not None:
        path.write_bytes(path.read_bytes().replace(b"T" * len(title), title))
    return path


def patch_matroska(path: Path, element: bytes, value: bytes) -> Path:
    """Overwrite the value of the first such element of the same length."""
    content = path.read_bytes()
    found = content.index(element + bytes([0x80 | len(value)]))
    path.write_bytes(content[: found + 2] + value + content[found + 2 + len(value) :])
    return path


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """The same bytes with some of them wrong, missing, doubled or moved."""
    wrong = np.frombuffer(content, np.uint8).copy()
    kind = random.integers(6)
    if kind == 0:  # single bytes, anywhere
        places = random.integers(0, len(wrong), random.integers(1, 200))
        wrong[places] = random.integers(0, 256, len(places))
    elif kind == 1:  # single bytes of the header
        places = random.integers(0, min(len(wrong), 2048), random.integers(1, 30))
        wrong[places] = random.integers(0, 256, len(places))
    elif kind == 2:  # the end is missing
        return content[: random.integers(1, len(content))]
    elif kind == 3:  # a part is missing
        first, last = np.sort(random.integers(0, len(content), 2))
        return content[:first] + content[last:]
    elif kind == 4:  # a part stands twice
        first, last = np.sort(random.integers(0, len(content), 2))
        return content[:last] + content[first:]
    else:  # numbers that are extreme
        for place in random.integers(0, len(wrong) - 8, random.integers(1, 20)):
            extreme = random.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1])
            wrong[place : place + 4] = list(struct.pack(">I", int(extreme)))
    return wrong.tobytes()


def write_hostile_files(folder: Path, count: int, seed: int) -> Iterator[Path]:
    """Write so many files, one after the other; the first ones are the crafted ones."""
    random = np.random.default_rng(seed)
    originals = []
    for suffix, codec in CONTAINERS.items():
        path = folder / f"original.{suffix}"
        rate = 48_000 if codec == "libopus" else 44_100
        originals.append(write_media(path, audio_codec=codec, rate=rate))
    crafted = list(_write_crafted(folder, originals[0]))
    yield from crafted
    for number in range(count - len(crafted)):
        original = originals[number % len(originals)]
        path = folder / f"mutated-{number}{original.suffix}"
        path.write_bytes(mutated(original.read_bytes(), random))
        yield path


def _write_crafted(folder: Path, clip: Path) -> Iterator[Path]:
    for channels in (0, 64, 200, 255):
        path = write_media(folder / f"channels-{channels}.mkv", audio_codec="pcm_s16le")
        yield patch_matroska(path, CHANNELS, bytes([channels]))
    for rate in (0.0, 0.5, 1.0, 7.0, 1e6, 4e9, -1.0, float("inf"), float("nan")):
        path = write_media(folder / f"rate-{rate}.mkv", audio_codec="pcm_s16le")
        yield patch_matroska(path, RATE, struct.pack(">d", rate))
    for width, height in ((1, 1), (2, 65535), (65535, 2), (65535, 65535), (16000, 16000)):
        path = folder / f"size-{width}x{height}.mkv"
        write_media(path, size=(256, 256), video_codec="rawvideo", frames=8)
        patch_matroska(path, WIDTH, struct.pack(">H", width))
        yield patch_matroska(path, HEIGHT, struct.pack(">H", height))
    for aspect in (Fraction(1, 255), Fraction(255)):
        yield write_media(folder / f"aspect-{float(aspect):g}.mkv", aspect=aspect)
    yield write_media(folder / "png.mov", size=(6100, 6000), video_codec="png", frames=1)
    for seconds in (50.0, 3600.0, 40_000.0):
        yield write_media(folder / f"last-frame-{seconds:g}.mkv", last_frame_s=seconds)
    yield write_media(folder / "title.mp4", title="Übergröße".encode("latin-1"))
    yield write_media(folder / "title.mkv", title="Übergröße".encode("latin-1"))
    name = os.fsdecode(b"caf\xe9.mp4")
    (folder / name).write_bytes(clip.read_bytes())
    yield folder / name
    (folder / "take:2.mp4").write_bytes(clip.read_bytes())
    yield folder / "take:2.mp4"
    for text, names in {
        f"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:5,\n{clip.name}\n#EXT-X-ENDLIST\n": (
            "list.m3u8",
            "list.mp4",
            "list.ts",
        ),
        f"ffconcat version 1.0\nfile {clip.name}\n": ("list.ffconcat", "concat.mp4", "concat.mkv"),
        "ffconcat version 1.0\nfile itself.ffconcat\n": ("itself.ffconcat",),
        "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:5,\nitself.m3u8\n": ("itself.m3u8",),
        "ffconcat version 1.0\nfile /etc/passwd\n": ("passwd.mp4",),
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 9 RTP/AVP 96\r\n": ("session.sdp",),
        "": ("empty.mp4",),
        "\0" * 100_000: ("zeros.mp4",),
        "text " * 10_000: ("text.mp4", "text.txt", "text.webm"),
    }.items():
        for name in names:
            (folder / name).write_text(text)
            yield folder / name
