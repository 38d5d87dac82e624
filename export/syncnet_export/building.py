"""From one checkpoint to a verified version of both towers in a model repository."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from syncnet_export.checkpoint import Checkpoint, load_checkpoint
from syncnet_export.errors import ExportError, VerificationError
from syncnet_export.install import install, next_version, require_free, staged, version_folders
from syncnet_export.metadata import TowerMetadata, exporter_version
from syncnet_export.network import SyncNet
from syncnet_export.onnx_files import store_half_weights, trace, write_model
from syncnet_export.precision import FP32, TowerFile, parse
from syncnet_export.serving import TOWERS, serving_form
from syncnet_export.verify import EmbeddingCheck, compare, seeded_inputs
from syncnet_server import ServerError, default_model_repository

__all__ = ["Build", "build"]

VERIFICATION_SEED = 1


@dataclass(frozen=True)
class Build:
    """What `build` put into a model repository.

    Attributes:
        version: of both towers.
        files: the installed files.
        checkpoint_sha256: of the weights.
        checks: how far each file is from the published network; all passed.
    """

    version: int
    files: list[TowerFile]
    checkpoint_sha256: str
    checks: list[EmbeddingCheck]


def build(
    weights: str | Path,
    *,
    model_repository: str | Path | None = None,
    version: int | None = None,
    precisions: Sequence[str] = (FP32.name,),
    replace: bool = False,
) -> Build:
    """Export both towers of a checkpoint, verify them, and install them, or nothing at all.

    Args:
        weights: the checkpoint, a published `.model` file or safetensors.
        model_repository: where to; None for the one that `syncnet-server` serves.
        version: of both towers; None for the one after the newest.
        precisions: names of the precisions to write.
        replace: whether a version that exists may be replaced.

    Raises:
        CheckpointError: the weights are not those of a SyncNet.
        VerificationError: a file is not the same network within its tolerance.
        ExportError: there is no model repository, or the version exists.
    """
    wanted = parse(precisions)
    checkpoint = load_checkpoint(weights)
    network = checkpoint.network()
    repository = _repository(model_repository)
    if version is None:
        version = next_version(repository)
    if version < 1:
        raise ExportError(f"versions start with 1, not {version}")
    if not replace:
        require_free(repository, version)
    with staged(repository) as folders:
        files = [
            TowerFile(spec, precision, folders[spec.name] / precision.file_name)
            for precision in wanted
            for spec in TOWERS
        ]
        _write(files, network, checkpoint)
        comparison = compare(files, network, "seeded", [seeded_inputs(VERIFICATION_SEED)])
        _require(comparison.checks)
        install(folders, repository, version, replace=replace)
    installed = version_folders(repository, version)
    return Build(
        version,
        [
            TowerFile(file.spec, file.precision, installed[file.spec.name] / file.path.name)
            for file in files
        ],
        checkpoint.sha256,
        comparison.checks,
    )


def _repository(path: str | Path | None) -> Path:
    if path is not None:
        return Path(path)
    try:
        return default_model_repository()
    except ServerError as error:
        raise ExportError(str(error)) from error


def _write(files: Sequence[TowerFile], network: SyncNet, checkpoint: Checkpoint) -> None:
    for file in files:
        tower = serving_form(network, file.spec)
        model = trace(tower)
        if checkpoint.half:
            store_half_weights(model, tower.weights)
        metadata = TowerMetadata(
            tower=file.spec.name,
            precision=file.precision.name,
            checkpoint_sha256=checkpoint.sha256,
            exporter=exporter_version(),
        )
        metadata.write(model)
        write_model(model, file.path)


def _require(checks: Sequence[EmbeddingCheck]) -> None:
    for check in checks:
        if not check.passed:
            raise VerificationError(
                f"{check.tower} {check.file}: embeddings of {check.inputs} inputs are off by "
                f"{check.relative_error:.2g}, more than {check.tolerance:g}; nothing was installed"
            )
