"""Static int8: a traced fp32 tower with 8-bit convolutions, for CPUs with integer dot products.

Activations are unsigned bytes with one scale for a tensor; they follow a ReLU, so zero is the
lowest value and the zero point. Weights are signed bytes with a scale for each output.
QuantizeLinear and DequantizeLinear stand around every quantised layer, and the runtime fuses each
group into one integer operation.

Rounding moves an output by ``(W' - W) x``, and since activations are never negative, its mean is
not zero. It is known from calibration and subtracted from the bias, which halves the error of the
weights (bias correction: Nagel et al., "Data-free quantization through weight equalization and
bias correction", 2019).

Weights have the zero point 0 or, for processors with AMX, -1. The integers are moved with it, so
the numbers are the same and so are the answers, to the bit. But ONNX Runtime computes a
convolution whose weights have no zero point directly, with the dot products of AVX-512 VNNI, and
any other one as a product of matrices, for which it uses AMX. With AMX the second takes about half
the time of the first, and without it up to twice.

What is not quantised, and why:

* The frames, which are bytes already. They go into the first convolution with scale 1 and zero
  point 0, and without padding on that layer, this is exact.
* The first audio convolution. MFCC have an energy coefficient far larger than the rest, so 8 bits
  would lose much there, and the layer is less than 0.1 % of the tower's work.
* The fully connected layers: 0.4 % of the work of the video tower, 1.4 % of the audio tower's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from syncnet_export.onnx_files import open_session

__all__ = ["quantise"]

Array = npt.NDArray[np.generic]

_LEVELS = 255  # of an unsigned byte, above its zero point 0
_WEIGHT_LEVELS = 127  # of a signed byte, to both sides of a zero point of 0 or -1
_SMALLEST = 1e-12  # stands in for the largest weight of an output whose weights are all zero


def quantise(model: onnx.ModelProto, batches: Iterable[Array], *, for_amx: bool = False) -> None:
    """Turn a traced fp32 tower into its static int8 form.

    Args:
        model: traced from an `integer` tower; changed in place.
        batches: inputs of the tower to measure the ranges of activations on.
        for_amx: give weights a zero point, for processors with AMX.
    """
    statistics = _calibrate(model, batches)
    _Quantiser(model.graph, statistics, weight_zero=-1 if for_amx else 0).run()


@dataclass
class _Statistics:
    """What calibration sees of one tensor with channels on axis 1.

    Attributes:
        maximum: over everything.
        channel_sums: [C], over windows and positions.
        count: how many values are in each of those sums.
    """

    maximum: float
    channel_sums: npt.NDArray[np.float64]
    count: int

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Count another batch, [N, C, ...]."""
        others = (0, *range(2, values.ndim))
        self.maximum = max(self.maximum, float(values.max()))
        self.channel_sums = self.channel_sums + values.sum(axis=others, dtype=np.float64)
        self.count += values.size // values.shape[1]

    @property
    def channel_means(self) -> npt.NDArray[np.float64]:
        """[C]"""
        return self.channel_sums / self.count


def _calibrate(model: onnx.ModelProto, batches: Iterable[Array]) -> dict[str, _Statistics]:
    """Run the fp32 tower and watch what goes into convolutions and comes out of ReLUs."""
    watched = []
    for node in model.graph.node:
        if node.op_type == "Conv":
            watched.append(node.input[0])
        elif node.op_type == "Relu":
            watched.append(node.output[0])
    watched = list(dict.fromkeys(watched))
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    for name in watched:
        probe.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = open_session(probe.SerializeToString())
    input_name = model.graph.input[0].name
    statistics = {name: _Statistics(0.0, np.zeros(1), 0) for name in watched}
    for batch in batches:
        for name, values in zip(watched, session.run(watched, {input_name: batch}), strict=True):
            statistics[name].add(values)
    return statistics


class _Quantiser:
    """Rebuilds a graph node by node.

    A tensor X that is quantised becomes X.float, QuantizeLinear, X.bytes, DequantizeLinear, X, so
    that the nodes that read it need no change.

    Attributes:
        weight_zero: the zero point of all weights.
        scales: of the tensors that are quantised so far.
    """

    def __init__(
        self, graph: onnx.GraphProto, statistics: Mapping[str, _Statistics], *, weight_zero: int
    ) -> None:
        self.graph = graph
        self.statistics = statistics
        self.weight_zero = weight_zero
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.scales: dict[str, float] = {}
        self.nodes: list[onnx.NodeProto] = []

    def run(self) -> None:
        """Replace the nodes and constants of the graph by those of its int8 form."""
        convolved: set[str] = set()
        for node in list(self.graph.node):
            source, output = node.input[0], node.output[0]
            if node.op_type == "Cast":
                self._dequantise(source, output, np.float32(1), np.uint8(0))
                self.scales[output] = 1.0
                continue
            if node.op_type == "Conv":
                convolved.add(output)
                if source in self.scales:
                    self._quantise_layer(node)
            self.nodes.append(node)
            if node.op_type == "Relu" and source in convolved:
                self._quantise(node, self.statistics[output].maximum / _LEVELS)
            elif node.op_type == "MaxPool":
                self._quantise(node, self.scales[source])
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        del self.graph.initializer[:]
        self.graph.initializer.extend(self.constants.values())

    def _quantise(self, producer: onnx.NodeProto, scale: float) -> None:
        """Quantise the output of a node."""
        name = producer.output[0]
        producer.output[0] = f"{name}.float"
        inputs = [
            producer.output[0],
            self._constant(f"{name}.scale", np.float32(scale)),
            self._constant(f"{name}.zero", np.uint8(0)),
        ]
        self._add("QuantizeLinear", inputs, f"{name}.bytes")
        self._dequantise(f"{name}.bytes", name, np.float32(scale), np.uint8(0))
        self.scales[name] = scale

    def _quantise_layer(self, node: onnx.NodeProto) -> None:
        """Quantise the weight and the bias of a convolution."""
        source, weight_name, bias_name = node.input
        weight = numpy_helper.to_array(self.constants.pop(weight_name)).astype(np.float64)
        bias = numpy_helper.to_array(self.constants.pop(bias_name)).astype(np.float64)
        rows = weight.reshape(len(weight), -1)
        scales = np.maximum(np.abs(rows).max(axis=1), _SMALLEST) / _WEIGHT_LEVELS
        scales = scales.astype(np.float32)
        integers = np.rint(rows / scales[:, None])
        error = integers * scales[:, None] - rows
        error_of_channels = error.reshape(*weight.shape[:2], -1).sum(axis=2)
        bias -= error_of_channels @ self.statistics[source].channel_means
        bias_scales = scales * np.float32(self.scales[source])
        stored = (integers + self.weight_zero).reshape(weight.shape).astype(np.int8)
        for name, values, value_scales, zero in (
            (weight_name, stored, scales, self.weight_zero),
            (bias_name, np.rint(bias / bias_scales).astype(np.int32), bias_scales, 0),
        ):
            integer_name = self._constant(f"{name}.integer", values)
            zeros = np.full(len(values), zero, values.dtype)
            self._dequantise(integer_name, name, value_scales, zeros)

    def _dequantise(
        self,
        integer_name: str,
        name: str,
        scale: np.generic | Array,
        zero: np.generic | Array,
    ) -> None:
        """Add `name`, the floats that integers stand for; several scales are those of axis 0."""
        inputs = [
            integer_name,
            self._constant(f"{name}.scale", scale),
            self._constant(f"{name}.zero", zero),
        ]
        node = self._add("DequantizeLinear", inputs, name)
        if np.ndim(scale):
            node.attribute.append(helper.make_attribute("axis", 0))

    def _add(self, operator: str, inputs: list[str], output: str) -> onnx.NodeProto:
        self.nodes.append(helper.make_node(operator, inputs, [output], f"{output}.{operator}"))
        return self.nodes[-1]

    def _constant(self, name: str, values: np.generic | Array) -> str:
        self.constants[name] = numpy_helper.from_array(np.asarray(values), name)
        return name
