"""Static int8: a traced fp32 tower with 8-bit convolutions.

Activations are bytes with one scale for a tensor; they follow a ReLU, so zero is the lowest value
and the zero point. Weights are signed bytes with a scale for each output. QuantizeLinear and
DequantizeLinear stand around every quantised layer, and the runtime fuses each group into one
integer operation.

Rounding moves an output by ``(W' - W) x``, and since activations are never negative, its mean is
not zero. It is known from calibration and subtracted from the bias, which halves the error of the
weights (bias correction: Nagel et al., "Data-free quantization through weight equalization and
bias correction", 2019).

Three forms hold the same network (see `precisions.IntegerForm`):

* For CPUs activations are unsigned. Weights have the zero point 0 or, for processors with AMX, -1.
  The integers are moved with it, so the numbers are the same and so are the answers, to the bit.
  But ONNX Runtime computes a convolution whose weights have no zero point directly, with the dot
  products of AVX-512 VNNI, and any other one as a product of matrices, for which it uses AMX. With
  AMX the second takes about half the time of the first, and without it up to twice.
* For TensorRT all bytes are signed, zero points are 0 and biases are floats: it takes nothing
  else. Activations use half the bytes then, 0 to 127.

What is not quantised, and why:

* The frames, which are bytes already. They go into the first convolution with scale 1, and without
  padding on that layer this is exact. Where bytes are signed, 128 is taken off them, and what that
  takes off the sums is added to the bias: ``W x + b = W (x - 128) + (b + 128 sum W)``.
* The first audio convolution. MFCC have an energy coefficient far larger than the rest, so 8 bits
  would lose much there, and the layer is less than 0.1 % of the tower's work.
* The fully connected layers: 0.4 % of the work of the video tower, 1.4 % of the audio tower's.
* Layers that are to stay in fp32, because a checkpoint needs them to (see `mixed.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from syncnet_export.onnx_files import open_session
from syncnet_export.precisions import IntegerForm

__all__ = ["LayerStatistics", "calibrate", "integer_layers", "quantise"]

Array = npt.NDArray[np.generic]

_WEIGHT_LEVELS = 127  # of a signed byte, to both sides of a zero point of 0 or -1
_SMALLEST = 1e-12  # stands in for the largest weight of an output whose weights are all zero
_MIDDLE = 128  # of the bytes of frames


@dataclass(frozen=True)
class LayerStatistics:
    """What calibration sees of one convolution and the ReLU behind it.

    Attributes:
        input_means: [C], of every input channel.
        output_maximum: of the ReLU.
        products: multiplications of the layer for all calibration inputs.
    """

    input_means: npt.NDArray[np.float64]
    output_maximum: float
    products: int


def calibrate(model: onnx.ModelProto, batches: Iterable[Array]) -> dict[str, LayerStatistics]:
    """Run a traced fp32 tower and watch what goes into convolutions and comes out of their ReLUs.

    Args:
        model: traced.
        batches: inputs of the tower.

    Returns:
        the statistics of every convolution, by the name of its weight
    """
    graph = model.graph
    readers = {node.input[0]: node for node in graph.node if node.op_type == "Relu"}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    watched = [(node.input[0], readers[node.output[0]].output[0]) for node in convolutions]
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    names = list(dict.fromkeys(name for pair in watched for name in pair))
    for name in names:
        probe.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = open_session(probe.SerializeToString())
    sizes = {tensor.name: int(np.prod(tensor.dims[1:])) for tensor in graph.initializer}
    sums: dict[str, npt.NDArray[np.float64]] = {}
    counts = dict.fromkeys((source for source, _ in watched), 0)
    maxima = dict.fromkeys((output for _, output in watched), 0.0)
    outputs = dict.fromkeys(maxima, 0)
    for batch in batches:
        values = dict(zip(names, session.run(names, {graph.input[0].name: batch}), strict=True))
        for source in counts:
            value = values[source]
            others = (0, *range(2, value.ndim))
            sums[source] = sums.get(source, 0) + value.sum(axis=others, dtype=np.float64)
            counts[source] += value.size // value.shape[1]
        for output in maxima:
            maxima[output] = max(maxima[output], float(values[output].max()))
            outputs[output] += values[output].size
    return {
        node.input[1]: LayerStatistics(
            sums[source] / counts[source], maxima[output], outputs[output] * sizes[node.input[1]]
        )
        for node, (source, output) in zip(convolutions, watched, strict=True)
    }


def integer_layers(model: onnx.ModelProto) -> list[str]:
    """The names of the weights that `quantise` turns into bytes, if nothing is kept in fp32."""
    first = model.graph.input[0].type.tensor_type.elem_type != TensorProto.UINT8
    names = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    return names[first:]


def quantise(
    model: onnx.ModelProto,
    statistics: Mapping[str, LayerStatistics],
    form: IntegerForm,
    *,
    keep: Collection[str] = (),
) -> None:
    """Turn a traced fp32 tower into its static int8 form, in place.

    Args:
        model: traced from an `aligned` tower, and from a `bytes_first` one where bytes are
            unsigned.
        statistics: from `calibrate`.
        form: how bytes stand for numbers.
        keep: names of weights of convolutions that stay in fp32.
    """
    layers = [name for name in integer_layers(model) if name not in keep]
    _Quantiser(model.graph, statistics, form, layers).run()


class _Quantiser:
    """Rebuilds a graph node by node.

    A tensor X that is quantised becomes X.float, QuantizeLinear, X.bytes, DequantizeLinear, X, so
    that the nodes that read it need no change.

    Attributes:
        layers: names of the weights that become bytes.
        scales: of the tensors that are quantised so far.
    """

    def __init__(
        self,
        graph: onnx.GraphProto,
        statistics: Mapping[str, LayerStatistics],
        form: IntegerForm,
        layers: Collection[str],
    ) -> None:
        self.graph = graph
        self.statistics = statistics
        self.form = form
        self.layers = layers
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.scales: dict[str, float] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.zero = np.dtype(form.activation).type(0)

    def run(self) -> None:
        """Replace the nodes and constants of the graph by those of its int8 form."""
        weights: dict[str, str] = {}  # of the convolution that an output comes from
        for node in list(self.graph.node):
            source, output = node.input[0], node.output[0]
            if node.op_type == "Cast" and self.form.activation == "uint8":
                self._take_bytes(node)
                continue
            if node.op_type == "Conv":
                weights[output] = node.input[1]
                if node.input[1] in self.layers:
                    self._quantise_layer(node)
            self.nodes.append(node)
            # A runtime computes in integers only what ends in them.
            if node.op_type == "Relu" and (
                weights.get(source) in self.layers or self._read_as_bytes(output)
            ):
                maximum = self.statistics[weights[source]].output_maximum
                self._quantise(node, max(maximum, _SMALLEST) / self.form.levels)
            elif node.op_type == "MaxPool" and source in self.scales:
                self._quantise(node, self.scales[source])
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        del self.graph.initializer[:]
        self.graph.initializer.extend(self.constants.values())

    def _read_as_bytes(self, name: str) -> bool:
        """Whether the next convolution behind a tensor is one of bytes; pools may lie between."""
        for node in self.graph.node:
            if name in node.input:
                if node.op_type == "MaxPool":
                    return self._read_as_bytes(node.output[0])
                return node.op_type == "Conv" and node.input[1] in self.layers
        return False

    def _take_bytes(self, cast: onnx.NodeProto) -> None:
        """Read frames as the bytes that they are, or as floats if the first layer is in fp32."""
        source, output = cast.input[0], cast.output[0]
        if self._read_as_bytes(output):
            self._dequantise(source, output, np.float32(1), self.zero)
            self.scales[output] = 1.0
        else:
            self.nodes.append(cast)

    def _quantise(self, producer: onnx.NodeProto, scale: float) -> None:
        """Quantise the output of a node."""
        name = producer.output[0]
        producer.output[0] = f"{name}.float"
        self._quantise_value(producer.output[0], name, scale)

    def _quantise_value(self, source: str, name: str, scale: float) -> None:
        inputs = [
            source,
            self._constant(f"{name}.scale", np.float32(scale)),
            self._constant(f"{name}.zero", self.zero),
        ]
        self._add("QuantizeLinear", inputs, f"{name}.bytes")
        self._dequantise(f"{name}.bytes", name, np.float32(scale), self.zero)
        self.scales[name] = scale

    def _quantise_layer(self, node: onnx.NodeProto) -> None:
        """Quantise the weight and, where the form says so, the bias of a convolution."""
        _, weight_name, bias_name = node.input
        means = self.statistics[weight_name].input_means
        weight = numpy_helper.to_array(self.constants.pop(weight_name)).astype(np.float64)
        bias = numpy_helper.to_array(self.constants.pop(bias_name)).astype(np.float64)
        rows = weight.reshape(len(weight), -1)
        scales = np.maximum(np.abs(rows).max(axis=1), _SMALLEST) / _WEIGHT_LEVELS
        scales = scales.astype(np.float32)
        integers = np.rint(rows / scales[:, None])
        rounded = integers * scales[:, None]
        error_of_channels = (rounded - rows).reshape(*weight.shape[:2], -1).sum(axis=2)
        bias -= error_of_channels @ means
        if node.input[0] not in self.scales:  # frames as floats
            bias += _MIDDLE * rounded.sum(axis=1)
            self._centre(node)
        stored = (integers + self.form.weight_zero).reshape(weight.shape).astype(np.int8)
        self._store(weight_name, stored, scales, self.form.weight_zero)
        if self.form.integer_bias:
            bias_scales = scales * np.float32(self.scales[node.input[0]])
            self._store(bias_name, np.rint(bias / bias_scales).astype(np.int32), bias_scales, 0)
        else:
            self._constant(bias_name, bias.astype(np.float32))

    def _centre(self, node: onnx.NodeProto) -> None:
        """Let a convolution of frames read them as signed bytes, 128 less than they are."""
        name = f"{node.input[0]}.centred"
        middle = self._constant(f"{name}.middle", np.float32(_MIDDLE))
        self._add("Sub", [node.input[0], middle], f"{name}.float")
        self._quantise_value(f"{name}.float", name, 1.0)
        node.input[0] = name

    def _store(self, name: str, values: Array, scales: npt.NDArray[np.float32], zero: int) -> None:
        """Put integers and their scales in the place of a constant."""
        integers = self._constant(f"{name}.integer", values)
        self._dequantise(integers, name, scales, np.full(len(values), zero, values.dtype))

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
