"""The precisions a tower is exported in: what each file is called, and how far it may be off."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from syncnet_export.errors import ExportError

__all__ = [
    "FP16",
    "FP32",
    "INT8",
    "INT8_AMX",
    "PRECISIONS",
    "Precision",
    "of_engine",
    "parse",
]


@dataclass(frozen=True)
class Precision:
    """A number format of the weights and activations inside a file.

    Attributes:
        name: as given on the command line.
        file_name: in a version folder; profiles pick it with `default_model_filename`.
        embedding_tolerance: largest relative L2 error of an embedding.
        confidence_tolerance: largest relative error of a clip's confidence.
    """

    name: str
    file_name: str
    embedding_tolerance: float
    confidence_tolerance: float


FP32 = Precision("fp32", "model.onnx", 1e-5, 1e-4)

FP16 = Precision("fp16", "model.fp16.onnx", 2e-3, 1e-2)
INT8 = Precision("int8", "model.int8.onnx", 3e-2, 5e-2)
INT8_AMX = Precision("int8-amx", "model.int8-amx.onnx", 3e-2, 5e-2)

PRECISIONS = (FP32, FP16, INT8, INT8_AMX)


def parse(names: Iterable[str]) -> tuple[Precision, ...]:
    """The precisions of these names, each once, fp32 first.

    Raises:
        ExportError: a name is none of a precision, or there are no names.
    """
    wanted = set(names)
    known = [precision.name for precision in PRECISIONS]
    if unknown := sorted(wanted.difference(known)):
        raise ExportError(f"no such precision: {unknown[0]}; there are {', '.join(known)}")
    if not wanted:
        raise ExportError(f"name at least one precision: {', '.join(known)}")
    return tuple(precision for precision in PRECISIONS if precision.name in wanted)


def of_engine(name: str) -> Precision:
    """The precision of the ONNX files to build TensorRT engines from.

    Raises:
        ExportError: it is not one that TensorRT takes; int8 is in a form for CPUs.
    """
    for precision in (FP32, FP16):
        if precision.name == name:
            return precision
    raise ExportError(f"engines are built from fp32 or fp16 files, not {name}")
