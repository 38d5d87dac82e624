"""The command `syncnet-export`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from syncnet_export.errors import ExportError
from syncnet_export.precision import FP32

__all__ = ["main"]

app = typer.Typer(
    help="Turn a SyncNet checkpoint into the towers that Triton serves.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_LIST_OPTIONS = ("--precision", "--calibrate")

Weights = Annotated[
    Path, typer.Option(help="The checkpoint: a published .model file, or safetensors.")
]
Repository = Annotated[
    Path | None,
    typer.Option(
        help="The Triton model repository; by default the one that syncnet-server serves."
    ),
]


@app.callback()
def _commands() -> None:
    """Keep the name of the command in the call, even where there is only one."""


@app.command()
def build(
    weights: Weights,
    precision: Annotated[
        list[str], typer.Option(help="What to write: one or more of fp32, fp16, int8.")
    ] = [FP32.name],  # noqa: B006
    version: Annotated[
        int | None, typer.Option(help="The version to write; by default the one after the newest.")
    ] = None,
    replace: Annotated[bool, typer.Option(help="Replace the version if it exists.")] = False,
    model_repository: Repository = None,
) -> None:
    """Export both towers, verify them, and install them as a new version."""
    from syncnet_export.building import build as run  # takes seconds to import

    result = run(
        weights,
        model_repository=model_repository,
        version=version,
        precisions=precision,
        replace=replace,
    )
    for file, check in zip(result.files, result.checks, strict=True):
        typer.echo(f"{file.path}  relative error {check.relative_error:.1e}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exits 1 with one line on stderr where it cannot be done, 2 on bad usage."""
    try:
        app(_spread(sys.argv[1:] if arguments is None else arguments))
    except ExportError as error:
        print(f"syncnet-export: {error}", file=sys.stderr)
        sys.exit(1)


def _spread(arguments: Sequence[str]) -> list[str]:
    """Repeat the name of a list option before each of its values: ``--precision fp32 int8``."""
    spread: list[str] = []
    option = None  # the list option whose values are being read
    for argument in arguments:
        if argument.startswith("-"):
            option = argument if argument in _LIST_OPTIONS else None
            spread.append(argument)
        else:
            if option is not None and spread[-1] != option:
                spread.append(option)
            spread.append(argument)
    return spread


if __name__ == "__main__":
    main()
