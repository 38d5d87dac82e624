"""From one checkpoint to a verified version of both towers in a model repository."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from syncnet_export.checkpoint import load_checkpoint
from syncnet_export.clips import sample_clip
from syncnet_export.description import UNKNOWN, WeightsDescription, describe_version
from syncnet_export.errors import ExportError, VerificationError
from syncnet_export.exporter import Exporter
from syncnet_export.install import (
    install,
    next_version,
    repository_or_default,
    require_free,
    staged,
    version_folders,
)
from syncnet_export.network import SyncNet
from syncnet_export.precisions import FP32, Precision, parse
from syncnet_export.tower_files import TowerFile
from syncnet_export.tower_specs import TOWERS
from syncnet_export.verify import Report, verify

__all__ = ["Build", "build"]


@dataclass(frozen=True)
class Build:
    """What `build` put into a model repository.

    Attributes:
        version: of both towers.
        files: the installed files.
        checkpoint_sha256: of the weights.
        report: how far all files are from the published network.
        refused: precisions that were not installed, by name, with the reason.
    """

    version: int
    files: list[TowerFile]
    checkpoint_sha256: str
    report: Report
    refused: Mapping[str, str]


def build(
    weights: str | Path,
    *,
    model_repository: str | Path | None = None,
    version: int | None = None,
    precisions: Sequence[str] = (FP32.name,),
    calibrate: Sequence[str | Path] = (),
    replace: bool = False,
    description: WeightsDescription = UNKNOWN,
    progress: Callable[[str], None] = lambda _: None,
) -> Build:
    """Export both towers of a checkpoint, verify them, and install what passed.

    A precision is installed for both towers or for neither. If none passes, nothing is installed.

    Args:
        weights: the checkpoint, a published `.model` file or safetensors.
        model_repository: where to; None for the one that `syncnet-server` serves.
        version: of both towers; None for the one after the newest.
        precisions: names of `precisions.PRECISIONS`.
        calibrate: clips to measure the ranges of int8 on; none for the project's sample clip.
            Files are verified on them as well.
        replace: whether a version that exists may be replaced.
        description: what is known about the weights; files, configs and results say it.
        progress: told what is being done.

    Raises:
        CheckpointError: the weights are not those of a SyncNet.
        VerificationError: no precision is the same network within its tolerance.
        ExportError: there is no model repository, a clip cannot be used, or the version exists.
    """
    wanted = parse(precisions)
    checkpoint = load_checkpoint(weights)
    repository = repository_or_default(model_repository)
    if version is None:
        version = next_version(repository)
    if version < 1:
        raise ExportError(f"versions start with 1, not {version}")
    if not replace:
        require_free(repository, version)
    clips = [Path(clip) for clip in calibrate]
    if any(precision.integer for precision in wanted) and not clips:
        clips = [sample_clip()]
    exporter = Exporter(checkpoint, clips, repository, description)
    with staged(repository) as folders:
        written, refused = _write(exporter, wanted, folders, progress)
        report = _verified(exporter, written, clips, repository, progress)
        for failure in report.failures:
            refused.setdefault(failure.precision, str(failure))
        if len(refused) == len(wanted):
            raise VerificationError(f"nothing was installed: {next(iter(refused.values()))}")
        passed = [file for file in written if file.precision.name not in refused]
        for file in written:
            if file not in passed:
                file.path.unlink()
        install(folders, repository, version, replace=replace)
    describe_version(repository, version, description)
    installed = version_folders(repository, version)
    files = [
        TowerFile(file.spec, file.precision, installed[file.spec.name] / file.path.name)
        for file in passed
    ]
    return Build(version, files, checkpoint.sha256, report, refused)


def _write(
    exporter: Exporter,
    wanted: Sequence[Precision],
    folders: Mapping[str, Path],
    progress: Callable[[str], None],
) -> tuple[list[TowerFile], dict[str, str]]:
    """Write both towers in each precision; gives the files, and why others cannot be written."""
    written: list[TowerFile] = []
    refused: dict[str, str] = {}
    for precision in wanted:
        pair = [
            TowerFile(spec, precision, folders[spec.name] / precision.file_name) for spec in TOWERS
        ]
        try:
            for file in pair:
                progress(f"writing {file.spec.name} in {precision.name}")
                exporter.write(file)
        except ExportError as error:
            if precision.integer:  # a clip that cannot be used, which is no fault of the precision
                raise
            refused[precision.name] = str(error)
            for file in pair:
                file.path.unlink(missing_ok=True)
        else:
            written += pair
    return written, refused


def _verified(
    exporter: Exporter,
    files: Sequence[TowerFile],
    clips: Sequence[Path],
    repository: Path,
    progress: Callable[[str], None],
) -> Report:
    """Verify files; int8 ones that fail keep more layers in fp32, until they pass."""
    network: SyncNet = exporter.network
    report = verify(files, network, clips=clips, model_repository=repository, progress=progress)
    while failing := {failure.precision for failure in report.failures}:
        improved = [
            file
            for file in files
            if file.precision.name in failing and exporter.keep_another_layer(file)
        ]
        if not improved:
            break
        again = {file.precision for file in improved}
        for file in improved:
            progress(f"writing {file.spec.name} in {file.precision.name} with more layers in fp32")
            exporter.write(file)
        newer = verify(
            [file for file in files if file.precision in again],
            network,
            clips=clips,
            model_repository=repository,
            progress=progress,
        )
        report = report.updated(newer)
    return report
