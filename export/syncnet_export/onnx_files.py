"""ONNX files of the towers: written, read and run."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from syncnet_export.errors import ExportError
from syncnet_export.tower_specs import TowerSpec

__all__ = ["MAX_IR_VERSION", "MAX_OPSET", "embed", "open_session", "read_model", "write_model"]

# What the ONNX Runtime backend of the oldest supported Triton release (24.10) reads.
MAX_IR_VERSION = 10
MAX_OPSET = 21


def write_model(model: onnx.ModelProto, path: Path) -> None:
    """Check a model against what the served runtimes read, and write it as one file.

    Raises:
        ExportError: the model needs a newer runtime, external files or optional inputs.
    """
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if model.ir_version > MAX_IR_VERSION or opset > MAX_OPSET:
        raise ExportError(
            f"{path.name}: IR {model.ir_version}, opset {opset}; Triton 24.10 reads up to "
            f"IR {MAX_IR_VERSION}, opset {MAX_OPSET}"
        )
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ExportError(f"{path.name}: weights outside the file")
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def read_model(path: Path) -> onnx.ModelProto:
    """Read an ONNX file.

    Raises:
        ExportError: it is not there, or no ONNX.
    """
    if not path.is_file():
        raise ExportError(f"no such file: {path}")
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf raises its own DecodeError, which onnx does not wrap
        raise ExportError(f"{path}: not an ONNX file: {error}") from error


def open_session(model: Path | bytes, *, threads: int = 0) -> onnxruntime.InferenceSession:
    """Open a model for inference on the CPU.

    Args:
        model: a file, or its bytes.
        threads: for the work of one call; 0 for one per core.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only; warnings name internals of the optimizer
    source = model if isinstance(model, bytes) else os.fspath(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def embed(
    session: onnxruntime.InferenceSession, spec: TowerSpec, inputs: npt.NDArray[np.generic]
) -> npt.NDArray[np.float32]:
    """Run a tower on one input; float32 [B, windows, 1024]."""
    (embeddings,) = session.run([spec.output_name], {spec.input_name: inputs})
    result: npt.NDArray[np.float32] = embeddings
    return result
