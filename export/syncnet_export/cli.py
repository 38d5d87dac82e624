"""The command `syncnet-export`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress

from syncnet_export.errors import ExportError, VerificationError
from syncnet_programs.program import Program, stopping
from syncnet_programs.terminal import note, progress_console, show, working

if TYPE_CHECKING:
    from syncnet_export.verify import Report

__all__ = ["main"]

PROGRAM = Program(
    "syncnet-export",
    "Turn a SyncNet checkpoint into the towers that Triton serves.",
    failures=(ExportError,),
    extra="export",
)

_weights = partial(typer.Option, rich_help_panel="Weights")
_files = partial(typer.Option, rich_help_panel="Files")
_repository = partial(typer.Option, rich_help_panel="Model repository")

Version = Annotated[
    int | None,
    _repository(metavar="N", help="The version to read; by default the newest one."),
]
Weights = Annotated[
    Path,
    _weights(metavar="FILE", help="The checkpoint: a published .model file, or safetensors."),
]
Repository = Annotated[
    Path | None,
    _repository(
        metavar="FOLDER",
        help="The Triton model repository; by default the one that syncnet-server serves.",
    ),
]
WeightsName = Annotated[str, _weights(metavar="TEXT", help="A name of the weights, for results.")]
TrainedOn = Annotated[
    str,
    _weights(metavar="TEXT", help="What the weights learned from, in a few words, for results."),
]
OffsetError = Annotated[
    int,
    _weights(
        min=0,
        metavar="MS",
        help="How far off the absolute offset was seen to be, in milliseconds; results show it.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel="Output")]
Overwrite = Annotated[bool, _repository("--overwrite", help="Replace what is there already.")]


def build(
    weights: Weights,
    precision: Annotated[
        str,
        _files(
            help="What to write: one or more of fp32, fp16, int8, int8-amx, int8-trt, with commas "
            "between.",
            metavar="NAME[,NAME...]",
        ),
    ] = "fp32",
    calibrate: Annotated[
        list[Path],
        _files(
            metavar="CLIP",
            help="A clip to measure the ranges of int8 on, and to verify all files on; repeat it "
            "for more. int8 takes the project's sample clip where none is named.",
        ),
    ] = [],  # noqa: B006
    version: Annotated[
        int | None,
        _repository(metavar="N", help="The version to write; by default the one after the newest."),
    ] = None,
    overwrite: Overwrite = False,
    name: WeightsName = "",
    trained_on: TrainedOn = "",
    offset_error_ms: OffsetError = 0,
    model_repository: Repository = None,
) -> None:
    """Export both towers, verify them, and install what passed as a new version."""
    from syncnet_export import building, metadata
    from syncnet_export.description import WeightsDescription

    with (
        stopping(lambda: "no version was installed; the same command starts again"),
        working("reading the checkpoint") as progress,
    ):
        result = building.build(
            weights,
            model_repository=model_repository,
            version=version,
            precisions=[name.strip() for name in precision.split(",")],
            calibrate=calibrate,
            replace=overwrite,
            description=WeightsDescription(name, trained_on, offset_error_ms),
            progress=progress,
        )
    _print_report(result.report)
    for file in result.files:
        in_fp32 = metadata.read_metadata(file.path).in_fp32
        typer.echo(f"{file.path}  (in fp32: {in_fp32})" if in_fp32 else file.path)
    if result.refused:
        reasons = "; ".join(result.refused.values())
        raise VerificationError(f"not installed: {', '.join(result.refused)}: {reasons}")


def verify(
    weights: Weights,
    clips: Annotated[
        list[Path], typer.Argument(metavar="CLIP", help="Clips of talking heads.")
    ] = [],  # noqa: B006
    version: Version = None,
    json: Json = False,
    model_repository: Repository = None,
) -> None:
    """Compare every file of a version with the PyTorch network; exit 1 past the tolerance."""
    from syncnet_export import checkpoint, install, metadata, tower_files
    from syncnet_export import verify as verification

    repository = install.repository_or_default(model_repository)
    version = version or install.newest_version(repository)
    files = tower_files.find_files(repository, version)
    source = metadata.require_one_source(file.path for file in files)
    given = checkpoint.load_checkpoint(weights)
    with working("comparing with the PyTorch network") as progress:
        report = verification.verify(
            files,
            given.network(),
            clips=clips,
            model_repository=repository,
            progress=progress,
        )
    if json:
        typer.echo(dumps(report.to_json(), indent=2))
    else:
        _print_report(report)
    failed = "; ".join(str(failure) for failure in report.failures)
    if failed and given.sha256 != source:
        raise VerificationError(
            f"{weights} is another checkpoint than that of version {version}: its sha256 is "
            f"{given.sha256[:12]}..., the version was exported from {source[:12]}..."
        )
    if failed:
        raise VerificationError(failed)
    if given.sha256 != source:
        note(f"{weights} is another file than version {version} was exported from, same weights")


def describe(
    name: WeightsName = "",
    trained_on: TrainedOn = "",
    offset_error_ms: OffsetError = 0,
    version: Version = None,
    model_repository: Repository = None,
) -> None:
    """Say of an installed version what its weights are; what was said before is replaced."""
    from syncnet_export import install, metadata, tower_files
    from syncnet_export.description import WeightsDescription, describe_version

    repository = install.repository_or_default(model_repository)
    version = version or install.newest_version(repository)
    description = WeightsDescription(name, trained_on, offset_error_ms)
    for file in tower_files.find_files(repository, version):
        metadata.describe_file(file.path, description)
        typer.echo(file.path)
    describe_version(repository, version, description)


def inspect(
    version: Version = None,
    json: Json = False,
    model_repository: Repository = None,
) -> None:
    """Print what the files of a version say about themselves."""
    from syncnet_export import install, metadata, tables, tower_files

    repository = install.repository_or_default(model_repository)
    files = tower_files.find_files(repository, version or install.newest_version(repository))
    entries = [(file.path, metadata.read_metadata(file.path)) for file in files]
    if json:
        listed = [{"file": str(path)} | asdict(entry) for path, entry in entries]
        typer.echo(dumps(listed, indent=2))
    else:
        show(tables.metadata_table(entries))
    metadata.require_one_source(path for path, _ in entries)


def fetch(
    output: Annotated[
        Path, typer.Option(metavar="FILE", help="Where to write.", rich_help_panel="Output")
    ] = Path("weights/syncnet_v2.model"),
) -> None:
    """Download the official weights (55 MB), or the rest of them, and check their sha256."""
    from syncnet_export.fetch import OFFICIAL
    from syncnet_export.fetch import fetch as download

    with Progress(DownloadColumn(), BarColumn(), console=progress_console()) as progress:
        task = progress.add_task("", total=OFFICIAL.size)
        download(output, progress=lambda received: progress.update(task, completed=received))
    typer.echo(output)


def tensorrt(
    precision: Annotated[
        str, _files(metavar="NAME", help="Build from the fp32, fp16 or int8-trt files.")
    ] = "fp16",
    timing_cache: Annotated[
        Path | None,
        _files(metavar="FILE", help="Timings that make the next build faster; written, too."),
    ] = None,
    version: Version = None,
    overwrite: Overwrite = False,
    model_repository: Repository = None,
) -> None:
    """Build TensorRT engines of both towers, for the GPU of this machine."""
    from syncnet_export import install, precisions
    from syncnet_export import tensorrt as engines

    repository = install.repository_or_default(model_repository)
    with (
        stopping(lambda: "no engine was installed; the same command starts again"),
        working("looking for TensorRT") as progress,
    ):
        plans = engines.build_plans(
            repository,
            version or install.newest_version(repository),
            precision=precisions.of_engine(precision),
            timing_cache=timing_cache,
            overwrite=overwrite,
            progress=lambda tower: progress(f"building {tower}, which takes minutes"),
        )
    for plan in plans:
        typer.echo(plan)


def _print_report(report: Report) -> None:
    from syncnet_export import tables

    show(tables.embedding_table(report))
    if report.scores:
        show(tables.score_table(report))


PROGRAM.command(
    build,
    examples=["syncnet-export build --weights weights/syncnet_v2.model --precision fp32,int8"],
)
PROGRAM.command(
    verify, examples=["syncnet-export verify talk.mp4 --weights weights/syncnet_v2.model"]
)
PROGRAM.command(describe, examples=["syncnet-export describe --name 'SyncNet v2' --version 2"])
PROGRAM.command(inspect, examples=["syncnet-export inspect --json"])
PROGRAM.command(fetch, examples=["syncnet-export fetch --output weights/syncnet_v2.model"])
PROGRAM.command(tensorrt, examples=["syncnet-export tensorrt --timing-cache /cache/timing"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    sys.exit(PROGRAM.run(arguments))


if __name__ == "__main__":
    main()
