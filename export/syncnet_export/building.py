"""From one checkpoint to a verified version of both towers in a model repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from syncnet_export.checkpoint import Checkpoint, load_checkpoint
from syncnet_export.clips import calibration_inputs, sample_clip
from syncnet_export.description import UNKNOWN, WeightsDescription, describe_version
from syncnet_export.errors import ExportError, VerificationError
from syncnet_export.fp16 import to_fp16
from syncnet_export.install import (
    install,
    next_version,
    repository_or_default,
    require_free,
    staged,
    version_folders,
)
from syncnet_export.int8 import quantise
from syncnet_export.metadata import TowerMetadata, exporter_version
from syncnet_export.network import SyncNet
from syncnet_export.onnx_files import write_model
from syncnet_export.precisions import FP16, FP32, INT8, INT8_AMX, Precision, parse
from syncnet_export.reference import Inputs, seeded_inputs
from syncnet_export.served_tower import serving_form
from syncnet_export.tower_files import TowerFile
from syncnet_export.tower_specs import TOWERS, TowerSpec
from syncnet_export.tracing import store_half_weights, trace
from syncnet_export.verify import Report, verify

__all__ = ["Build", "build"]

_INTEGER = {INT8, INT8_AMX}

# Seeds of the inputs that int8 is calibrated on, beside clips; files are verified on another one.
_CALIBRATION_SEEDS = (101, 102, 103, 104)


@dataclass(frozen=True)
class Build:
    """What `build` put into a model repository.

    Attributes:
        version: of both towers.
        files: the installed files.
        checkpoint_sha256: of the weights.
        report: how far the files are from the published network; all checks passed.
    """

    version: int
    files: list[TowerFile]
    checkpoint_sha256: str
    report: Report


def build(
    weights: str | Path,
    *,
    model_repository: str | Path | None = None,
    version: int | None = None,
    precisions: Sequence[str] = (FP32.name,),
    calibrate: Sequence[str | Path] = (),
    replace: bool = False,
    description: WeightsDescription = UNKNOWN,
) -> Build:
    """Export both towers of a checkpoint, verify them, and install them, or nothing at all.

    Args:
        weights: the checkpoint, a published `.model` file or safetensors.
        model_repository: where to; None for the one that `syncnet-server` serves.
        version: of both towers; None for the one after the newest.
        precisions: any of ``fp32``, ``fp16``, ``int8``, ``int8-amx``.
        calibrate: clips to measure the ranges of int8 on; none for the project's sample clip.
            Files are verified on them as well.
        replace: whether a version that exists may be replaced.
        description: what is known about the weights; files, configs and results say it.

    Raises:
        CheckpointError: the weights are not those of a SyncNet.
        VerificationError: a file is not the same network within its tolerance.
        ExportError: there is no model repository, a clip cannot be used, or the version exists.
    """
    wanted = parse(precisions)
    checkpoint = load_checkpoint(weights)
    network = checkpoint.network()
    repository = repository_or_default(model_repository)
    if version is None:
        version = next_version(repository)
    if version < 1:
        raise ExportError(f"versions start with 1, not {version}")
    if not replace:
        require_free(repository, version)
    clips = [Path(clip) for clip in calibrate]
    if _INTEGER.intersection(wanted) and not clips:
        clips = [sample_clip()]
    exporter = _Exporter(checkpoint, network, clips, repository, description)
    with staged(repository) as folders:
        files = [
            TowerFile(spec, precision, folders[spec.name] / precision.file_name)
            for precision in wanted
            for spec in TOWERS
        ]
        for file in files:
            exporter.write(file)
        report = verify(files, network, clips=clips, model_repository=repository)
        if report.failures:
            raise VerificationError(f"nothing was installed: {report.failures[0]}")
        install(folders, repository, version, replace=replace)
    describe_version(repository, version, description)
    installed = version_folders(repository, version)
    return Build(
        version,
        [
            TowerFile(file.spec, file.precision, installed[file.spec.name] / file.path.name)
            for file in files
        ],
        checkpoint.sha256,
        report,
    )


class _Exporter:
    """Writes files of one checkpoint; clips are read when the first int8 file is written."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        network: SyncNet,
        clips: Sequence[Path],
        repository: Path,
        description: WeightsDescription,
    ) -> None:
        self._checkpoint = checkpoint
        self._network = network
        self._clips = clips
        self._repository = repository
        self._description = description
        self._calibration: list[Inputs] | None = None

    def write(self, file: TowerFile) -> None:
        """Export a tower in a precision."""
        model = self._model(file.spec, file.precision)
        metadata = TowerMetadata(
            tower=file.spec.name,
            precision=file.precision.name,
            checkpoint_sha256=self._checkpoint.sha256,
            exporter=exporter_version(),
            calibration=self._calibrated_on() if file.precision in _INTEGER else "",
        )
        metadata.described(self._description).write(model)
        write_model(model, file.path)

    def _model(self, spec: TowerSpec, precision: Precision) -> onnx.ModelProto:
        tower = serving_form(self._network, spec, integer=precision in _INTEGER)
        model = trace(tower)
        if precision is FP16:
            to_fp16(model)
        elif precision in _INTEGER:
            batches = (inputs.of(spec)[None] for inputs in self._calibration_inputs())
            quantise(model, batches, for_amx=precision is INT8_AMX)
        elif self._checkpoint.half:
            store_half_weights(model, tower.weights)
        return model

    def _calibration_inputs(self) -> list[Inputs]:
        if self._calibration is None:
            self._calibration = [seeded_inputs(seed) for seed in _CALIBRATION_SEEDS]
            for clip in self._clips:
                self._calibration += calibration_inputs(clip, self._repository)
        return self._calibration

    def _calibrated_on(self) -> str:
        return ", ".join(clip.name for clip in self._clips)
