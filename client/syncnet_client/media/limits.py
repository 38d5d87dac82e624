"""What a source may open and how large it may be, whatever it says about itself.

A clip opens itself and nothing else. A playlist or a manifest is a list of other files, in whatever
file it hides, so its demuxers are closed unless the user asks for them; and of the protocols, a
source gets those that its own URL needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av

from syncnet_client.errors import MediaError

__all__ = [
    "ANY_METADATA",
    "PIXEL_LIMIT",
    "check_picture",
    "check_playlist",
    "decoder_options",
    "demuxer_options",
    "is_playlist",
]

# Old files have titles in Latin-1, which nobody reads here. PyAV 19 takes them as they are and
# lacks the argument; older releases refuse the whole file without it.
ANY_METADATA: dict[str, Any] = (
    {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
)

# 8K is 33 million pixels. A decoder holds several frames of 1.5 to 4 bytes a pixel.
MAX_PIXELS = 36_000_000
MAX_SIDE = 16_384  # pixels, with square pixels
PIXEL_LIMIT = f"the limit of {MAX_PIXELS // 1_000_000} million pixels"

# Demuxers that open what is written in the file, or what its name is a pattern for.
LISTS = frozenset(
    ("concat", "dash", "hls", "image2", "imf", "rtsp", "sdp", "vobsub", "webm_dash_manifest")
)
LIST_PROTOCOLS = "file,crypto,data"

# FFmpeg's protocols behind the scheme of a URL; one that is not here stands for itself.
PROTOCOLS = {
    "ftp": "ftp,tcp",
    "http": "http,httpproxy,https,tcp,tls,crypto,data",
    "https": "http,httpproxy,https,tcp,tls,crypto,data",
    "rtmp": "rtmp,rtmpt,ffrtmphttp,tcp,http",
    "rtmps": "rtmps,rtmpts,ffrtmphttp,tcp,tls,http,https",
    "rtsp": "rtsp,rtp,rtcp,srtp,udp,tcp,http,httpproxy",
    "rtsps": "rtsps,rtp,rtcp,srtp,udp,tcp,tls,http,https,httpproxy",
    "tls": "tls,tcp",
}

# How the files that such demuxers read begin.
PLAYLIST_STARTS = (b"#EXTM3U", b"ffconcat version", b"v=0\r\n", b"v=0\n")
MANIFEST_MARK = b"<MPD"
_SNIFFED_BYTES = 4096
_MAX_PLAYLIST_BYTES = 1 << 20


@cache
def _single_file_demuxers() -> str:
    """FFmpeg's names of all demuxers but those of lists."""
    names = (name for name in sorted(av.formats_available) if not LISTS & set(name.split(",")))
    return ",".join(names)


def demuxer_options(source: str, *, allow_playlists: bool) -> dict[str, str]:
    """FFmpeg's options for opening a source, so that it opens nothing that it should not.

    Args:
        source: path or URL.
        allow_playlists: a file may be a list of other files. A URL always may: what it leads to
            is never a file of this machine.
    """
    scheme, is_url, _ = source.partition("://")
    options = {"max_pixels": str(MAX_PIXELS)}
    if is_url:
        options["protocol_whitelist"] = PROTOCOLS.get(scheme.lower(), scheme.lower())
    else:
        options["protocol_whitelist"] = LIST_PROTOCOLS if allow_playlists else "file"
        if not allow_playlists:
            options["format_whitelist"] = _single_file_demuxers()
    return options


def decoder_options() -> dict[str, str]:
    """FFmpeg's options for the decoder of a picture, whose size may change on the way."""
    return {"max_pixels": str(MAX_PIXELS)}


def is_playlist(path: Path) -> bool:
    """Whether a file begins as lists of other files do."""
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        with path.open("rb") as file:
            start = file.read(_SNIFFED_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError:
        return False
    return start.startswith(PLAYLIST_STARTS) or MANIFEST_MARK in start


def check_playlist(source: str) -> None:
    """Refuse a list of lists: it can name itself, and FFmpeg follows it without end.

    The one list of lists that is of use is the master playlist of HLS, whose variants are lists.

    Raises:
        MediaError: an entry of the list, or of a variant, is a list.
    """
    path = Path(source)
    if not is_playlist(path):
        return
    text, is_master = _read(path)
    for entry in _entries(path, text):
        if not is_playlist(entry):
            continue
        variant, nested_master = _read(entry)
        nested = any(is_playlist(each) for each in _entries(entry, variant))
        if not is_master or nested_master or nested or entry.samefile(path):
            raise MediaError(f"{source}: its entry {entry.name} is a playlist, too")


def _read(path: Path) -> tuple[str, bool]:
    """Text of a list, and whether it is a master playlist."""
    if path.stat().st_size > _MAX_PLAYLIST_BYTES:
        raise MediaError(f"{path} is a playlist of more than {_MAX_PLAYLIST_BYTES >> 20} MB")
    text = path.read_bytes().decode(errors="replace")
    return text, "#EXT-X-STREAM-INF" in text


def _entries(path: Path, text: str) -> Iterable[Path]:
    for line in text.splitlines():
        entry = line.strip().removeprefix("file ").strip("'\" ").removeprefix("file:")
        if entry and not entry.startswith("#"):
            yield path.parent / entry


def check_picture(source: str, width: int, height: int, aspect: Fraction | None) -> None:
    """Refuse pictures that are larger than any video.

    Args:
        source: for the error.
        width: stored pixels.
        height: stored pixels.
        aspect: width of a pixel divided by its height.

    Raises:
        MediaError: it has too many pixels, as stored or with square ones.
    """
    square = round(width * aspect) if aspect else width
    if width * height > MAX_PIXELS or square * height > MAX_PIXELS or square > MAX_SIDE:
        raise MediaError(
            f"{source} has pictures of {square}x{height} pixels, beyond {PIXEL_LIMIT} "
            f"({MAX_SIDE} in a row)"
        )
    if width and height and square < 1:
        raise MediaError(f"{source} has pictures less than a pixel wide: its pixels are {aspect}:1")
