"""The command `syncnet-export`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress

from syncnet_export.errors import ExportError, VerificationError
from syncnet_programs.program import Program
from syncnet_programs.terminal import progress_console

if TYPE_CHECKING:
    from syncnet_export.verify import Report

__all__ = ["main"]

PROGRAM = Program(
    "syncnet-export",
    "Turn a SyncNet checkpoint into the towers that Triton serves.",
    failures=(ExportError,),
    extra="export",
)

Version = Annotated[
    int | None, typer.Option(help="The version to read; by default the newest one.")
]

Weights = Annotated[
    Path, typer.Option(help="The checkpoint: a published .model file, or safetensors.")
]
Repository = Annotated[
    Path | None,
    typer.Option(
        help="The Triton model repository; by default the one that syncnet-server serves."
    ),
]

WeightsName = Annotated[str, typer.Option(help="A name of the weights, for results.")]
TrainedOn = Annotated[
    str, typer.Option(help="What the weights learned from, in a few words, for results.")
]
OffsetError = Annotated[
    int,
    typer.Option(
        min=0,
        help="How far off the absolute offset was seen to be, in milliseconds; results show it.",
    ),
]


def build(
    weights: Weights,
    precision: Annotated[
        str,
        typer.Option(
            help="What to write: one or more of fp32, fp16, int8, int8-amx, int8-trt, with commas "
            "between.",
            metavar="NAME[,NAME...]",
        ),
    ] = "fp32",
    calibrate: Annotated[
        list[Path],
        typer.Option(
            help="A clip to measure the ranges of int8 on, and to verify all files on; repeat it "
            "for more. int8 takes the project's sample clip where none is named."
        ),
    ] = [],  # noqa: B006
    version: Annotated[
        int | None, typer.Option(help="The version to write; by default the one after the newest.")
    ] = None,
    replace: Annotated[bool, typer.Option(help="Replace the version if it exists.")] = False,
    name: WeightsName = "",
    trained_on: TrainedOn = "",
    offset_error_ms: OffsetError = 0,
    model_repository: Repository = None,
) -> None:
    """Export both towers, verify them, and install what passed as a new version."""
    from syncnet_export import building, metadata
    from syncnet_export.description import WeightsDescription

    result = building.build(
        weights,
        model_repository=model_repository,
        version=version,
        precisions=[name.strip() for name in precision.split(",")],
        calibrate=calibrate,
        replace=replace,
        description=WeightsDescription(name, trained_on, offset_error_ms),
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
    clips: Annotated[list[Path], typer.Argument(help="Clips of talking heads.")] = [],  # noqa: B006
    version: Version = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    model_repository: Repository = None,
) -> None:
    """Compare every file of a version with the PyTorch network; exit 1 past the tolerance."""
    from syncnet_export import checkpoint, install, metadata, tower_files
    from syncnet_export import verify as verification

    repository = install.repository_or_default(model_repository)
    files = tower_files.find_files(repository, version or install.newest_version(repository))
    metadata.require_one_source(file.path for file in files)
    report = verification.verify(
        files,
        checkpoint.load_checkpoint(weights).network(),
        clips=clips,
        model_repository=repository,
    )
    if json:
        typer.echo(dumps(report.to_json(), indent=2))
    else:
        _print_report(report)
    if report.failures:
        raise VerificationError("; ".join(str(failure) for failure in report.failures))


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
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
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
        Console().print(tables.metadata_table(entries))
    metadata.require_one_source(path for path, _ in entries)


def fetch(
    output: Annotated[Path, typer.Option(help="Where to write the weights.")] = Path(
        "weights/syncnet_v2.model"
    ),
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
        str, typer.Option(help="Build from the fp32, fp16 or int8-trt files.")
    ] = "fp16",
    timing_cache: Annotated[
        Path | None, typer.Option(help="File with timings that makes the next build faster.")
    ] = None,
    version: Version = None,
    model_repository: Repository = None,
) -> None:
    """Build TensorRT engines of both towers, for the GPU of this machine."""
    from syncnet_export import install, precisions
    from syncnet_export import tensorrt as engines

    repository = install.repository_or_default(model_repository)
    plans = engines.build_plans(
        repository,
        version or install.newest_version(repository),
        precision=precisions.of_engine(precision),
        timing_cache=timing_cache,
        progress=lambda tower: typer.echo(f"building {tower}", err=True),
    )
    for plan in plans:
        typer.echo(plan)


def _print_report(report: Report) -> None:
    from syncnet_export import tables

    console = Console()
    console.print(tables.embedding_table(report))
    if report.scores:
        console.print(tables.score_table(report))


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
