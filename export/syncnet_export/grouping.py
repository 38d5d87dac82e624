"""The first layer of the video tower in groups of windows, so that few of them exist at once.

A window is 3 MB as floats and 4.6 MB behind the first convolution of the published network, which
is more than everything after it together. Frames are small, so windows are cut out, convolved and
pooled a quarter at a time.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from syncnet_export.errors import ExportError

__all__ = ["GROUPS", "run_in_groups"]

GROUPS = 4  # a quarter of the windows takes about as much memory as the layers behind the first


def run_in_groups(model: onnx.ModelProto) -> None:
    """Repeat all between the cutting of windows and the first pool for each group, in place.

    With K windows, a group has ceil(K / GROUPS). The last groups of a few windows begin with the
    last window again, so that no group is empty; what is too much is cut off behind the pool.

    Raises:
        ExportError: the graph is not that of a traced video tower.
    """
    graph = model.graph
    cut = next((node for node in graph.node if node.op_type == "Gather"), None)
    pool = next((node for node in graph.node if node.op_type == "MaxPool"), None)
    if cut is None or pool is None:
        raise ExportError(f"{graph.name}: no windows are cut in this graph")
    planes, indices = cut.input
    layer = _between(graph, cut, pool)
    pooled = pool.output[0]
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    _, *image = shapes[pooled]  # [C, H, W]
    convolution = next(node for node in layer if node.op_type == "Conv")
    channels = shapes[convolution.input[0]][1]
    writer = _Writer(graph)
    zero, one = writer.constant("zero", [0]), writer.constant("one", [1])
    per_window = writer.constant("channels", [channels])
    values = writer.add("Shape", [indices], "values")
    windows = writer.add("Div", [values, per_window], "windows")
    groups = writer.constant("groups", [GROUPS])
    rounded = writer.add(
        "Add", [windows, writer.constant("groups_less_one", [GROUPS - 1])], "rounded"
    )
    size = writer.add("Div", [rounded, groups], "size")
    last = writer.add("Max", [writer.add("Sub", [windows, one], "last_or_less"), zero], "last")
    batch = writer.add("Shape", [planes], "batch", start=0, end=1)
    shape = writer.add(
        "Concat", [batch, writer.constant("image", [-1, *image])], "group_shape", axis=0
    )
    parts = []
    for group in range(GROUPS):
        prefix = f"group_{group}"
        number = writer.constant(prefix, [group])
        ordinary = writer.add("Mul", [size, number], f"{prefix}.ordinary_start")
        start = writer.add("Min", [ordinary, last], f"{prefix}.start")
        end = writer.add(
            "Min", [writer.add("Add", [start, size], f"{prefix}.far_end"), windows], f"{prefix}.end"
        )
        bounds = [
            writer.add("Mul", [bound, per_window], f"{bound}_value") for bound in (start, end)
        ]
        chosen = writer.add("Slice", [indices, *bounds], f"{prefix}.indices")
        result = writer.repeat(layer, {indices: chosen}, prefix)
        parts.append(writer.add("Reshape", [result[pooled], shape], f"{prefix}.pooled"))
    everything = writer.add("Concat", parts, "everything", axis=1)
    exactly = writer.add("Slice", [everything, zero, windows, one], "exactly")
    flat = writer.constant("flat", [-1, *image])
    writer.nodes.append(helper.make_node("Reshape", [exactly, flat], [pooled], "groups.end"))
    repeated = {node.output[0] for node in layer}
    kept = [node for node in graph.node if node.output[0] not in repeated]
    # Everything that the groups read stands before the pool, everything that reads them behind it.
    position = next(index for index, node in enumerate(kept) if pooled in node.input)
    del graph.node[:]
    graph.node.extend([*kept[:position], *writer.nodes, *kept[position:]])


def _between(
    graph: onnx.GraphProto, first: onnx.NodeProto, last: onnx.NodeProto
) -> list[onnx.NodeProto]:
    """The nodes that depend on one node and that another one needs, both included, in order."""
    nodes = list(graph.node)
    behind = set(first.output)
    dependent = [first]
    for node in nodes[nodes.index(first) + 1 :]:
        if behind.intersection(node.input):
            behind.update(node.output)
            dependent.append(node)
    needed = set(last.output)
    result = []
    for node in reversed(dependent):
        if needed.intersection(node.output):
            needed.update(node.input)
            result.append(node)
    return result[::-1]


class _Writer:
    """Writes nodes and constants whose names begin with "groups" and a dot."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []

    def constant(self, name: str, values: list[int]) -> str:
        """A vector of whole numbers; gives its name."""
        array = np.array(values, np.int64)
        self.graph.initializer.append(numpy_helper.from_array(array, f"groups.{name}"))
        return f"groups.{name}"

    def add(self, operator: str, inputs: list[str], output: str, **attributes: int) -> str:
        """A node; gives the name of its output."""
        name = output if output.startswith("groups.") else f"groups.{output}"
        node = helper.make_node(operator, inputs, [name], name)
        node.attribute.extend(
            helper.make_attribute(key, value) for key, value in attributes.items()
        )
        self.nodes.append(node)
        return name

    def repeat(
        self, layer: list[onnx.NodeProto], replaced: dict[str, str], prefix: str
    ) -> dict[str, str]:
        """Copies of nodes that read other inputs; gives the names of all outputs, by the old."""
        names = dict(replaced)
        for node in layer:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name = f"groups.{prefix}.{node.name}"
            copy.input[:] = [names.get(name, name) for name in node.input]
            names.update({name: f"groups.{prefix}.{name}" for name in node.output})
            copy.output[:] = [names[name] for name in node.output]
            self.nodes.append(copy)
        return names
