"""What an exported file says about itself: which weights, which precision, which exporter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import onnx

from syncnet_export.description import WeightsDescription
from syncnet_export.errors import ExportError
from syncnet_export.onnx_files import read_model, write_model

__all__ = [
    "LICENCE_NOTE",
    "TowerMetadata",
    "describe_file",
    "read_metadata",
    "require_one_source",
]

LICENCE_NOTE = (
    "The graph was made by syncnet-triton (MIT). The weights keep the licence of their checkpoint."
)

_PREFIX = "syncnet."


@dataclass(frozen=True)
class TowerMetadata:
    """The metadata of a tower's ONNX file; every value is text.

    Attributes:
        tower: ``video_tower`` or ``audio_tower``.
        precision: its name, see `precisions.PRECISIONS`.
        checkpoint_sha256: of the checkpoint file the weights came from.
        exporter: version of the package that wrote the file.
        licence: what applies to the graph and to the weights.
        calibration: what int8 ranges were measured on; empty for the other precisions.
        in_fp32: convolutions of an int8 file that are not int8, with their share of the work.
        weights: name of the weights; empty where it is not known, as the following two.
        trained_on: what the weights learned from.
        offset_error_ms: how far off their absolute offset was seen to be.
    """

    tower: str
    precision: str
    checkpoint_sha256: str
    exporter: str
    licence: str = LICENCE_NOTE
    calibration: str = ""
    in_fp32: str = ""
    weights: str = ""
    trained_on: str = ""
    offset_error_ms: str = ""

    def described(self, description: WeightsDescription) -> TowerMetadata:
        """The same file with this said about its weights."""
        return replace(
            self,
            weights=description.name,
            trained_on=description.trained_on,
            offset_error_ms=str(description.offset_error_ms or ""),
        )

    def write(self, model: onnx.ModelProto) -> None:
        """Replace the metadata of a model by this one."""
        del model.metadata_props[:]
        for name, value in asdict(self).items():
            if value:
                model.metadata_props.add(key=_PREFIX + name, value=value)


def read_metadata(path: Path) -> TowerMetadata:
    """The metadata of an exported file.

    Raises:
        ExportError: the file cannot be read, or was not written by this exporter.
    """
    entries: Mapping[str, str] = {
        entry.key.removeprefix(_PREFIX): entry.value
        for entry in read_model(path).metadata_props
        if entry.key.startswith(_PREFIX)
    }
    known = {field.name for field in fields(TowerMetadata)}
    try:
        return TowerMetadata(**{key: value for key, value in entries.items() if key in known})
    except TypeError as error:
        raise ExportError(f"{path}: carries no export metadata; export it again") from error


def describe_file(path: Path, description: WeightsDescription) -> None:
    """Rewrite a file's metadata, in one piece; its graph and its weights stay as they are.

    Raises:
        ExportError: the file cannot be read, or was not written by this exporter.
    """
    metadata = read_metadata(path).described(description)
    model = read_model(path)
    metadata.write(model)
    temporary = path.with_name(f".{path.name}.new")
    try:
        write_model(model, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def require_one_source(files: Iterable[Path]) -> str:
    """The sha256 of the checkpoint that all these files came from.

    Raises:
        ExportError: they came from more than one, or there are no files.
    """
    sources: dict[str, Path] = {}
    for path in files:
        sources.setdefault(read_metadata(path).checkpoint_sha256, path)
    if not sources:
        raise ExportError("no exported files")
    if len(sources) > 1:
        shown = " and ".join(f"{path} ({sha256[:12]})" for sha256, path in sources.items())
        raise ExportError(f"towers from different checkpoints cannot be compared: {shown}")
    return next(iter(sources))
