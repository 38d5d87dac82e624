"""A picture of many clips at a glance."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from syncnet_training.storage import Clip

_TILE = 128  # pixels of a frame's side on the sheet


def write_contact_sheet(clips: Sequence[Clip], path: Path, *, columns: int = 8) -> None:
    """Write a JPEG or PNG with one row of `columns` frames, 0.16 s apart, from each clip.

    Raises:
        ValueError: `path` is neither JPEG nor PNG by its name.
        DatasetError: a frame cannot be read.
        OSError: `path` cannot be written.
    """
    if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise ValueError(f"{path}: a contact sheet is a .jpg or .png file")
    rows = []
    for clip in clips:
        tiles = np.full((columns, _TILE, _TILE, 3), 255, np.uint8)
        pictures = clip.read_frames(0, clip.frames)[::4]
        for tile, picture in zip(tiles, pictures, strict=False):
            cv2.resize(picture, (_TILE, _TILE), tile, interpolation=cv2.INTER_AREA)
        rows.append(np.concatenate(list(tiles), axis=1))
    sheet = np.concatenate(rows, axis=0)
    _, data = cv2.imencode(path.suffix, sheet, [cv2.IMWRITE_JPEG_QUALITY, 82])
    path.write_bytes(data.tobytes())
