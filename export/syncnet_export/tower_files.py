"""The ONNX files of the towers in the version folders of a model repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from syncnet_export.errors import ExportError
from syncnet_export.install import version_folders
from syncnet_export.precisions import PRECISIONS, Precision
from syncnet_export.tower_specs import TOWERS, TowerSpec

__all__ = ["TowerFile", "find_files"]


@dataclass(frozen=True)
class TowerFile:
    """An exported file: which tower, in which precision, where."""

    spec: TowerSpec
    precision: Precision
    path: Path


def find_files(model_repository: Path, version: int) -> list[TowerFile]:
    """The ONNX files in a version's folders.

    Raises:
        ExportError: there are none, or a precision has a file of one tower only.
    """
    folders = version_folders(model_repository, version)
    files = []
    for precision in PRECISIONS:
        pair = [
            TowerFile(spec, precision, folders[spec.name] / precision.file_name) for spec in TOWERS
        ]
        missing = [file.path for file in pair if not file.path.is_file()]
        if len(missing) == 1:
            raise ExportError(f"half a pair of {precision.name} towers: no {missing[0]}")
        if not missing:
            files += pair
    if not files:
        raise ExportError(f"no ONNX files of version {version} in {model_repository}")
    return files
