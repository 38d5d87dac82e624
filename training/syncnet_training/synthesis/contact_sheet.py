"""A picture of many clips at a glance."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

_TILE = 128  # pixels of a frame's side on the sheet


def write_contact_sheet(folders: Sequence[Path], path: Path, *, columns: int = 8) -> None:
    """Write a JPEG or PNG with one row of `columns` frames, 0.16 s apart, from each clip folder.

    Raises ValueError if `path` is neither JPEG nor PNG by its name, OSError if a frame can't be
    read or `path` can't be written.
    """
    if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise ValueError(f"{path}: a contact sheet is a .jpg or .png file")
    rows = []
    for folder in folders:
        names = sorted((folder / "frames").glob("*.jpg"))[::4][:columns]
        tiles = np.full((columns, _TILE, _TILE, 3), 255, np.uint8)
        for tile, name in zip(tiles, names, strict=False):
            picture = cv2.imread(str(name))
            if picture is None:
                raise OSError(f"{name} can't be read as an image")
            cv2.resize(picture, (_TILE, _TILE), tile, interpolation=cv2.INTER_AREA)
        rows.append(np.concatenate(list(tiles), axis=1))
    sheet = np.concatenate(rows, axis=0)
    _, data = cv2.imencode(path.suffix, sheet, [cv2.IMWRITE_JPEG_QUALITY, 82])
    path.write_bytes(data.tobytes())
