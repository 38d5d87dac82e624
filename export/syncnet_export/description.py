"""What is known about weights: said in the ONNX files, and in the config that Triton serves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from syncnet_export.errors import ExportError
from syncnet_export.tower_specs import TOWERS

__all__ = ["UNKNOWN", "WeightsDescription", "describe_version"]


@dataclass(frozen=True)
class WeightsDescription:
    """What results say about the weights that answered.

    Attributes:
        name: of the weights.
        trained_on: what they learned from, in a few words.
        offset_error_ms: how far off their absolute offset was seen to be; 0 for unknown or none.
    """

    name: str = ""
    trained_on: str = ""
    offset_error_ms: int = 0

    def __post_init__(self) -> None:
        for what in (self.name, self.trained_on):
            if not what.isprintable() or "'" in what or "\\" in what:
                raise ExportError(
                    f"name and training data of weights must be one line without ' and \\: {what!r}"
                )
        if self.offset_error_ms < 0:
            raise ExportError(f"an offset error must be 0 ms or more, not {self.offset_error_ms}")

    def to_json(self) -> str:
        """As the value of a parameter in a ``config.pbtxt``."""
        return json.dumps(asdict(self))


UNKNOWN = WeightsDescription()


def describe_version(model_repository: Path, version: int, description: WeightsDescription) -> None:
    """Write what is known about a version into every config of the towers.

    Triton has one config for all versions of a model, so the parameter's name holds the version:
    ``parameters { key: "weights.2" value: { string_value: '{"name": ...}' } }``. What a config
    said about this version before is replaced; nothing is written about unknown weights.

    Raises:
        ExportError: a config cannot be written.
    """
    start = f'parameters {{ key: "weights.{version}" '
    line = f"{start}value: {{ string_value: '{description.to_json()}' }} }}\n"
    for path in _configs(model_repository):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [each for each in lines if not each.startswith(start)]
        if description != UNKNOWN:
            kept.append(line)
        if kept != lines:
            try:
                path.write_text("".join(kept), encoding="utf-8")
            except OSError as error:
                raise ExportError(
                    f"cannot say in {path} what version {version} is: {error.strerror}"
                ) from error


def _configs(model_repository: Path) -> Iterator[Path]:
    for spec in TOWERS:
        yield model_repository / spec.name / "config.pbtxt"
        yield from sorted((model_repository / spec.name / "configs").glob("*.pbtxt"))
