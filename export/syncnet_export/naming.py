"""Names inside a graph: the same for the same weights, and others for others.

ONNX Runtime's TensorRT provider keeps the engines it builds under a name made of the file's name,
the names of the graph's inputs and those of all inner values, but not of the weights. Two
checkpoints of one shape would find each other's engines; so inner values are named after theirs.
"""

from __future__ import annotations

import onnx

__all__ = ["CHECKPOINT_DIGITS", "name_after_checkpoint", "name_values"]

CHECKPOINT_DIGITS = 12  # of the sha256; 48 bits tell all checkpoints of one server apart


def name_values(graph: onnx.GraphProto) -> None:
    """Name nodes and inner values after operator and order, not after the tracer's counters."""
    kept = {value.name for value in (*graph.input, *graph.output)}
    names: dict[str, str] = {}
    for initializer in graph.initializer:
        if not initializer.name.startswith("layers."):
            names[initializer.name] = f"constant_{len(names)}"
    for index, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{index}"
        for position, output in enumerate(node.output):
            if output not in kept:
                names[output] = f"{node.name}_{position}"
    _rename(graph, names)


def name_after_checkpoint(graph: onnx.GraphProto, sha256: str) -> None:
    """Put the first digits of a checkpoint's sha256 before the names of the graph and its values.

    Inputs and outputs keep their names: Triton knows the tensors by them.

    Args:
        graph: changed in place.
        sha256: in hexadecimal.
    """
    digits = sha256[:CHECKPOINT_DIGITS]
    graph.name = f"{graph.name}_{digits}"
    kept = {value.name for value in (*graph.input, *graph.output)}
    inner = [tensor.name for tensor in graph.initializer]
    inner += [output for node in graph.node for output in node.output if output not in kept]
    _rename(graph, {name: f"{digits}.{name}" for name in inner})
    for node in graph.node:
        node.name = f"{digits}.{node.name}"


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for initializer in graph.initializer:
        initializer.name = names.get(initializer.name, initializer.name)
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(value, value) for value in values]
