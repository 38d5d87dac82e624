"""A small picture of the face that was scored, for lists of results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from syncnet_client.files import located
from syncnet_client.media.limits import ANY_METADATA, decoder_options, demuxer_options

__all__ = ["face_thumbnail"]

SIDE = 72  # pixels
JPEG_QUALITY = 70


def face_thumbnail(clip: str, box: Sequence[float], time_s: float) -> bytes | None:
    """Cut the face out of one frame.

    Args:
        clip: path of the clip; URLs are not read.
        box: x, y, width, height of what was scored, in pixels of the source.
        time_s: on the source's clock; the frame shown then, or the key frame before it.

    Returns:
        A JPEG of 72x72 pixels, or None where the clip cannot be read any more.
    """
    if "://" in clip:
        return None
    options = demuxer_options(clip, allow_playlists=False)
    try:
        with av.open(located(clip), options=options, **ANY_METADATA) as container:
            stream = container.streams.video[0]
            stream.codec_context.options = decoder_options()
            container.seek(round(time_s * av.time_base), backward=True)
            frame = next(container.decode(stream))
            pixels: npt.NDArray[Any] = frame.to_ndarray(format="bgr24")
            if turns := round(frame.rotation / 90) % 4:
                pixels = np.rot90(pixels, turns)
    except (av.FFmpegError, OSError, ValueError, IndexError, StopIteration, MemoryError):
        return None
    height, width = pixels.shape[:2]
    x, y, box_width, box_height = (round(value) for value in box)
    part = pixels[max(0, y) : min(height, y + box_height), max(0, x) : min(width, x + box_width)]
    if part.size == 0:
        return None
    small = cv2.resize(np.ascontiguousarray(part), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    encoded, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return jpeg.tobytes() if encoded else None
