"""Options and output that several commands have in common."""

import json
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from syncnet_programs.terminal import show

if TYPE_CHECKING:
    import torch

__all__ = ["DeviceOption", "JsonOption", "Precision", "PrecisionOption", "choose_device", "output"]


class Precision(str, Enum):
    """What the towers compute in."""

    auto = "auto"
    bf16 = "bf16"
    fp32 = "fp32"


_compute = partial(typer.Option, rich_help_panel="Compute")
DeviceOption = Annotated[
    str,
    _compute(
        metavar="DEVICE",
        help="Where to compute: cpu, cuda, cuda:1; auto takes a GPU if there is one.",
    ),
]
PrecisionOption = Annotated[
    Precision,
    _compute(help="What to compute in; auto is bf16 where the hardware multiplies it."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON, not a table.", rich_help_panel="Output")
]


def choose_device(name: str, precision: Precision) -> "tuple[torch.device, torch.dtype]":
    """What `--device` and `--precision` say.

    Raises:
        TrainingError: there is no such device.
    """
    import torch

    from syncnet_training.embedding import best_precision
    from syncnet_training.errors import TrainingError

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise TrainingError(f"--device {name}: expected cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise TrainingError(f"--device {name}: expected cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise TrainingError(f"--device {name}: there is no such GPU")
    if precision is Precision.auto:
        return device, best_precision(device)
    return device, torch.bfloat16 if precision is Precision.bf16 else torch.float32


def output(data: Any, table: Table, as_json: bool) -> None:
    """Print a report, as a table or as JSON."""
    if as_json:
        print(json.dumps(data, indent=2))
    else:
        show(table)
