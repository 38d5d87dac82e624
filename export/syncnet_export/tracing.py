"""From a PyTorch tower to an ONNX graph, the same for the same weights, byte by byte."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import onnx
import torch
from onnx import numpy_helper

from syncnet_client.contract import EMBEDDING_SIZE
from syncnet_export.errors import ExportError
from syncnet_export.naming import name_values
from syncnet_export.served_tower import LayerWeight, ServedTower
from syncnet_export.tower_specs import TowerSpec

__all__ = ["store_half_weights", "trace"]

OPSET = 20


def trace(tower: ServedTower) -> onnx.ModelProto:
    """Trace a tower to ONNX with batch and length dynamic; the same weights give the same bytes."""
    spec = tower.spec
    example = torch.zeros(
        spec.input_shape(batch=2, windows=3), dtype=getattr(torch, spec.input_type)
    )
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim(spec.input_axis)}
    with _quiet_exporter():
        program = torch.onnx.export(
            tower,
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[spec.input_name],
            output_names=[spec.output_name],
            dynamic_shapes=(axes,),
        )
    if program is None:
        raise ExportError(f"PyTorch exported nothing for {spec.name}")
    model = program.model_proto
    _normalise(model, spec)
    return model


def store_half_weights(
    model: onnx.ModelProto, weights: dict[str, LayerWeight], *, as_bytes: Collection[str] = ()
) -> None:
    """Keep the fp32 weights in a traced model as fp16, in half the space, or some as bytes.

    The graph casts them to fp32 and multiplies the factors of the folded norms in, which runtimes
    do once, when they load the file. Exact where `LayerWeight.raw` is exact in fp16.

    Args:
        model: changed in place.
        weights: how each was made, by name; those that the model lacks are passed over.
        as_bytes: names of weights that are rounded to signed bytes, with a scale for each output.
    """
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for name in [name for name in weights if name in initializers]:
        raw, factor = weights[name].raw, weights[name].factor
        if name in as_bytes:
            scale = raw.flatten(1).abs().amax(1).clamp(min=1e-12) / 127
            scale = scale.reshape(-1, *[1] * (raw.ndim - 1))
            compact = (raw / scale).round().to(torch.int8).numpy()
            factor = scale if factor is None else factor * scale
        else:
            compact = raw.half().numpy()
        stored = f"{name}.stored"
        cast_to = name if factor is None else f"{name}.raw"
        nodes.append(
            onnx.helper.make_node(
                "Cast", [stored], [cast_to], f"{name}.cast", to=onnx.TensorProto.FLOAT
            )
        )
        initializers[name].CopyFrom(numpy_helper.from_array(compact, stored))
        if factor is not None:
            multiplier = numpy_helper.from_array(factor.numpy(), f"{name}.factor")
            model.graph.initializer.append(multiplier)
            nodes.append(
                onnx.helper.make_node("Mul", [cast_to, multiplier.name], [name], f"{name}.scale")
            )
    nodes.extend(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _normalise(model: onnx.ModelProto, spec: TowerSpec) -> None:
    """Leave what runtimes need, and nothing that differs from one export to the next."""
    graph = model.graph
    graph.name = spec.name
    del graph.value_info[:]
    del model.metadata_props[:]
    del graph.metadata_props[:]
    for item in (graph, model, *graph.node, *graph.input, *graph.output):
        item.doc_string = ""
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
    _measure_after_cast(graph)
    name_values(graph)
    shapes = (
        (graph.input[0], spec.input_axis, spec.input_dims),
        (graph.output[0], "windows", (EMBEDDING_SIZE,)),
    )
    for value, axis, dims in shapes:
        shape = value.type.tensor_type.shape
        del shape.dim[:]
        for size in ("batch", axis, *dims):
            if isinstance(size, str):
                shape.dim.add(dim_param=size)
            else:
                shape.dim.add(dim_value=size)


def _measure_after_cast(graph: onnx.GraphProto) -> None:
    """Read the shape of the input from its cast, if that stands first.

    TensorRT casts bytes, but does not tell their shape.
    """
    name = graph.input[0].name
    for cast in graph.node:
        if cast.op_type == "Cast" and cast.input[0] == name:
            break
    else:
        return
    for node in graph.node:
        if node.op_type == "Shape" and node.input[0] == name:
            node.input[0] = cast.output[0]
    first = onnx.NodeProto()
    first.CopyFrom(cast)
    graph.node.remove(cast)
    graph.node.insert(0, first)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep PyTorch's exporter from naming packages it did not find, and its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for category in (DeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", category)
            yield
    finally:
        logger.setLevel(level)
