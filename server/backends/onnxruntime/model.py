"""Triton backend `onnxruntime` for a server from pip: the onnxruntime package in Python.

A Python-based backend of this name stands in for the native ONNX Runtime backend, which the pip
server lacks, so one `config.pbtxt` serves on both. Of a model's configuration it honours

    default_model_filename                  model.onnx if not given
    instance_group                          CPU, or CUDA on the given device
    parameters                              intra_op_thread_count, inter_op_thread_count,
                                            execution_mode (0 sequential, 1 parallel)
    optimization.execution_accelerators     gpu: cuda, tensorrt

and like the native backend it refuses to load a graph that does not match the configuration.
"""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

# Triton's data types, and ONNX Runtime's names of them.
_ELEMENT_TYPES = {
    "TYPE_BOOL": "tensor(bool)",
    "TYPE_UINT8": "tensor(uint8)",
    "TYPE_UINT16": "tensor(uint16)",
    "TYPE_UINT32": "tensor(uint32)",
    "TYPE_UINT64": "tensor(uint64)",
    "TYPE_INT8": "tensor(int8)",
    "TYPE_INT16": "tensor(int16)",
    "TYPE_INT32": "tensor(int32)",
    "TYPE_INT64": "tensor(int64)",
    "TYPE_FP16": "tensor(float16)",
    "TYPE_FP32": "tensor(float)",
    "TYPE_FP64": "tensor(double)",
}
# Keys of a `tensorrt` accelerator that have another name in ONNX Runtime; the rest is passed on.
_TENSORRT_OPTIONS = {
    "max_workspace_size_bytes": "trt_max_workspace_size",
    "int8_calibration_table_name": "trt_int8_calibration_table_name",
    "int8_use_native_calibration_table": "trt_int8_use_native_calibration_table",
}
_TENSORRT_PRECISIONS = {
    "FP32": {},
    "FP16": {"trt_fp16_enable": "1"},
    "INT8": {"trt_int8_enable": "1"},
}


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        path = (
            Path(args["model_repository"])
            / args["model_version"]
            / (config["default_model_filename"] or "model.onnx")
        )
        if not path.is_file():
            raise pb_utils.TritonModelException(f"no such file: {path}")
        try:
            self._session = onnxruntime.InferenceSession(
                path,
                sess_options=_session_options(config),
                providers=_providers(
                    config, args["model_instance_kind"], int(args["model_instance_device_id"])
                ),
            )
            _check_tensors(config, "input", self._session.get_inputs())
            _check_tensors(config, "output", self._session.get_outputs())
        except ValueError as error:
            raise pb_utils.TritonModelException(f"{path}: {error}") from error
        self._input_names = [tensor["name"] for tensor in config["input"]]
        self._output_names = [tensor["name"] for tensor in config["output"]]
        self._batched = config["max_batch_size"] > 0

    def execute(self, requests):
        responses = [None] * len(requests)
        groups = {}
        for index, request in enumerate(requests):
            inputs = [
                pb_utils.get_input_tensor_by_name(request, name).as_numpy()
                for name in self._input_names
            ]
            # Requests of one shape run as one batch.
            key = tuple(value.shape[1:] for value in inputs) if self._batched else index
            groups.setdefault(key, []).append((index, request, inputs))
        for group in groups.values():
            for index, response in self._answer(group):
                responses[index] = response
        return responses

    def _answer(self, group):
        """Run requests of equal shape together; if that fails, each alone, so that one bad
        request does not fail the others."""
        requests = [request for _, request, _ in group]
        try:
            batches = self._run([inputs for _, _, inputs in group])
        except Exception as error:  # ONNX Runtime's errors share no narrower public base class
            if len(group) == 1:
                refusal = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
                return [(group[0][0], pb_utils.InferenceResponse(error=refusal))]
            return [answer for member in group for answer in self._answer([member])]
        return [
            (index, _response(request, dict(zip(self._output_names, outputs, strict=True))))
            for (index, _, _), request, outputs in zip(group, requests, batches, strict=True)
        ]

    def _run(self, batch):
        """Return the outputs of each member of a batch, from one run of the session."""
        if len(batch) == 1:
            feeds = dict(zip(self._input_names, batch[0], strict=True))
            return [self._session.run(self._output_names, feeds)]
        feeds = {
            name: np.concatenate(values)
            for name, values in zip(self._input_names, zip(*batch, strict=True), strict=True)
        }
        outputs = self._session.run(self._output_names, feeds)
        ends = np.cumsum([inputs[0].shape[0] for inputs in batch])[:-1]
        return list(zip(*(np.split(output, ends) for output in outputs), strict=True))


def _response(request, outputs):
    wanted = request.requested_output_names()
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, value) for name, value in outputs.items() if name in wanted]
    )


def _session_options(config):
    options = onnxruntime.SessionOptions()
    # Left to itself ONNX Runtime takes as many threads, but ties each to a core, where those of
    # the two towers, which run side by side, wait for each other.
    options.intra_op_num_threads = _integer_parameter(config, "intra_op_thread_count") or _cores()
    options.inter_op_num_threads = _integer_parameter(config, "inter_op_thread_count")
    if _integer_parameter(config, "execution_mode") == 1:
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    # The models of the repository share the cores: threads of one that spin while they wait
    # for work take time from the others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _cores():
    """Return the number of physical cores that this process may run on."""
    cores = set()
    for cpu in os.sched_getaffinity(0):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        # A sandbox may not show them: then each logical processor counts.
        cores.add(siblings.read_text() if siblings.is_file() else cpu)
    return len(cores)


def _integer_parameter(config, name):
    text = config["parameters"].get(name, {}).get("string_value", "0")
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"parameter {name} must be a whole number, not {text!r}") from None


def _providers(config, kind, device):
    """Return ONNX Runtime's execution providers, the preferred one first."""
    if kind != "GPU":
        return ["CPUExecutionProvider"]
    available = onnxruntime.get_available_providers()
    if "CUDAExecutionProvider" not in available:
        pb_utils.Logger.log_warn(
            f"{config['name']}: onnxruntime has no CUDA here, running on the CPU; "
            "for the GPU: pip install 'onnxruntime-gpu[cuda,cudnn]>=1.21'"
        )
        return ["CPUExecutionProvider"]
    onnxruntime.preload_dlls()
    cuda = {"device_id": str(device)}
    providers = []
    accelerators = config["optimization"].get("execution_accelerators", {})
    for accelerator in accelerators.get("gpu_execution_accelerator", []):
        options = accelerator.get("parameters", {})
        if accelerator["name"] == "cuda":
            cuda.update(options)
        elif accelerator["name"] == "tensorrt":
            if "TensorrtExecutionProvider" not in available:
                raise ValueError("accelerator tensorrt: onnxruntime has no TensorRT here")
            providers.append(("TensorrtExecutionProvider", _tensorrt_options(options, device)))
        else:
            raise ValueError(f"accelerator {accelerator['name']}: only cuda and tensorrt are known")
    return [*providers, ("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]


def _tensorrt_options(parameters, device):
    options = {"device_id": str(device)}
    for key, value in parameters.items():
        if key == "precision_mode":
            if value not in _TENSORRT_PRECISIONS:
                raise ValueError(f"precision_mode must be FP32, FP16 or INT8, not {value!r}")
            options.update(_TENSORRT_PRECISIONS[value])
        else:
            options[_TENSORRT_OPTIONS.get(key, key)] = value
    return options


def _check_tensors(config, side, tensors):
    """Raise ValueError unless the configuration's inputs (outputs) are those of the graph."""
    graph = {tensor.name: tensor for tensor in tensors}
    configured = {tensor["name"]: tensor for tensor in config[side]}
    unknown = sorted(configured.keys() - graph.keys())
    if unknown:
        raise ValueError(f"no {side} {', '.join(unknown)}; the graph has: {', '.join(graph)}")
    missing = sorted(graph.keys() - configured.keys())
    if missing and side == "input":
        raise ValueError(f"the configuration lacks {side} {', '.join(missing)}")
    for name, tensor in configured.items():
        if graph[name].type != _ELEMENT_TYPES.get(tensor["data_type"]):
            raise ValueError(
                f"{side} {name} is {tensor['data_type']} in the configuration "
                f"and {graph[name].type} in the graph"
            )
        dims = ([-1] if config["max_batch_size"] > 0 else []) + tensor["dims"]
        shape = [size if isinstance(size, int) else -1 for size in graph[name].shape]
        # Like the native backend: what the graph leaves open the configuration may fix.
        if len(dims) != len(shape) or any(
            fixed not in (-1, size) for size, fixed in zip(dims, shape, strict=True)
        ):
            raise ValueError(
                f"{side} {name} is {dims} in the configuration, batch included, "
                f"and {shape} in the graph"
            )
