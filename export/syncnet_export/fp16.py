"""Half precision: a traced fp32 tower with weights and activations typed fp16.

Every tensor between the input and the output of the graph is fp16, so that a strongly typed
TensorRT build runs it as such; the contract's types stay. Frames are whole numbers up to 255,
which fp16 holds exactly.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from syncnet_export.errors import ExportError

__all__ = ["to_fp16"]


def to_fp16(model: onnx.ModelProto) -> None:
    """Turn a traced fp32 tower into its fp16 form, in place.

    Raises:
        ExportError: a weight is too large for fp16.
    """
    graph = model.graph
    for constant in graph.initializer:
        if constant.data_type == TensorProto.FLOAT:
            with np.errstate(over="ignore"):
                half = numpy_helper.to_array(constant).astype(np.float16)
            if not np.isfinite(half).all():
                raise ExportError(f"{graph.name}: {constant.name} has values too large for fp16")
            constant.CopyFrom(numpy_helper.from_array(half, constant.name))
    for node in graph.node:
        if node.op_type == "Cast":
            _set_target(node, TensorProto.FLOAT16)
    if graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT:
        _cast_input(graph)
    _cast_output(graph)


def _cast_input(graph: onnx.GraphProto) -> None:
    name = graph.input[0].name
    for node in graph.node:
        if node.op_type != "Shape":
            node.input[:] = [f"{name}.half" if value == name else value for value in node.input]
    graph.node.insert(0, _cast(name, f"{name}.half", TensorProto.FLOAT16))


def _cast_output(graph: onnx.GraphProto) -> None:
    name = graph.output[0].name
    (producer,) = (node for node in graph.node if name in node.output)
    producer.output[0] = f"{name}.half"
    graph.node.append(_cast(f"{name}.half", name, TensorProto.FLOAT))


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], f"{target}.cast", to=to)


def _set_target(node: onnx.NodeProto, to: int) -> None:
    (attribute,) = (attribute for attribute in node.attribute if attribute.name == "to")
    attribute.i = to
