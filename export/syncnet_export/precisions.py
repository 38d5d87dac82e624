"""The precisions a tower is exported in: what each file is called, and how far it may be off."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from syncnet_export.errors import ExportError

__all__ = [
    "FP16",
    "FP32",
    "INT8",
    "INT8_AMX",
    "INT8_TRT",
    "PRECISIONS",
    "IntegerForm",
    "Precision",
    "of_engine",
    "parse",
]


@dataclass(frozen=True)
class IntegerForm:
    """How bytes stand for numbers, which every runtime wants otherwise.

    Attributes:
        activation: ``uint8`` or ``int8``; the zero point is 0 in both.
        weight_zero: the zero point of all weights, which are signed.
        integer_bias: whether biases are integers, too.
    """

    activation: Literal["uint8", "int8"]
    weight_zero: int
    integer_bias: bool

    @property
    def levels(self) -> int:
        """The largest byte."""
        return 255 if self.activation == "uint8" else 127


@dataclass(frozen=True)
class Precision:
    """A number format of the weights and activations inside a file.

    Attributes:
        name: as given on the command line.
        file_name: in a version folder; profiles pick it with `default_model_filename`.
        embedding_tolerance: largest relative L2 error of an embedding.
        confidence_tolerance: largest relative error of a clip's confidence.
        half: whether floats are fp16.
        integer: the form of 8-bit convolutions; None for none.
        aligned: whether the first video convolution has 16 channels in place of 15.
        grouped: whether the first video layer runs in groups of windows, which bounds memory.
        plan_name: of the TensorRT engine that is built from this file; None where none is.
    """

    name: str
    file_name: str
    embedding_tolerance: float
    confidence_tolerance: float
    half: bool = False
    integer: IntegerForm | None = None
    aligned: bool = True
    grouped: bool = False
    plan_name: str | None = None

    @property
    def bytes_first(self) -> bool:
        """Whether frames are cut into windows as bytes; TensorRT cannot."""
        return self.integer is not None and self.plan_name is None


FP32 = Precision(
    "fp32", "model.onnx", 1e-5, 1e-4, aligned=False, grouped=True, plan_name="model.plan"
)
FP16 = Precision("fp16", "model.fp16.onnx", 2e-3, 1e-2, half=True, plan_name="model.plan")
INT8 = Precision(
    "int8",
    "model.int8.onnx",
    3e-2,
    5e-2,
    integer=IntegerForm("uint8", weight_zero=0, integer_bias=True),
    grouped=True,
)
INT8_AMX = Precision(
    "int8-amx",
    "model.int8-amx.onnx",
    3e-2,
    5e-2,
    integer=IntegerForm("uint8", weight_zero=-1, integer_bias=True),
    grouped=True,
)
INT8_TRT = Precision(
    "int8-trt",
    "model.int8-trt.onnx",
    3e-2,
    5e-2,
    integer=IntegerForm("int8", weight_zero=0, integer_bias=False),
    plan_name="model.int8.plan",
)

PRECISIONS = (FP32, FP16, INT8, INT8_AMX, INT8_TRT)


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
        ExportError: it is not one that TensorRT takes.
    """
    known = [precision for precision in PRECISIONS if precision.plan_name is not None]
    for precision in known:
        if precision.name == name:
            return precision
    names = ", ".join(precision.name for precision in known)
    raise ExportError(f"engines are built from these files: {names}; not from {name}")
