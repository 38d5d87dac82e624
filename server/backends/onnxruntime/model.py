"""Triton backend `onnxruntime` for a server from pip: the onnxruntime package in Python.

A Python-based backend of this name stands in for the native ONNX Runtime backend, which the pip
server lacks, so one `config.pbtxt` serves on both. Of a model's configuration it honours

    default_model_filename                  model.onnx if not given
    instance_group                          CPU, or CUDA on the given device
    optimization.graph.level                -1 basic, 1 extended, 2 no optimisations; else all
    optimization.execution_accelerators     gpu: cuda, tensorrt
    parameters                              intra_op_thread_count, inter_op_thread_count,
                                            execution_mode (0 sequential, 1 parallel),
                                            enable_mem_arena, enable_mem_pattern,
                                            cudnn_conv_algo_search (0 to 2), gpu_mem_limit,
                                            arena_extend_strategy (0, 1), do_copy_in_default_stream

and like the native backend it refuses other values and other accelerators, and does not load a
graph that does not match the configuration.
"""

import json
import os
import stat
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
_TENSORRT_FOLDERS = ("trt_engine_cache_path", "trt_timing_cache_path")
_OPTIMISATIONS = {
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
_EXECUTION_MODES = {
    0: onnxruntime.ExecutionMode.ORT_SEQUENTIAL,
    1: onnxruntime.ExecutionMode.ORT_PARALLEL,
}
# Parameters that name options of ONNX Runtime's CUDA provider by number, and their values there.
_CUDA_CHOICES = {
    "cudnn_conv_algo_search": {0: "EXHAUSTIVE", 1: "HEURISTIC", 2: "DEFAULT"},
    "arena_extend_strategy": {0: "kNextPowerOfTwo", 1: "kSameAsRequested"},
}
_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}


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
                # Like the native backend, which does not tell a bad input from another failure.
                refusal = pb_utils.TritonError(str(error), pb_utils.TritonError.INTERNAL)
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
    options.execution_mode = _chosen(config, "execution_mode", _EXECUTION_MODES)
    level = config["optimization"].get("graph", {}).get("level", 0)
    options.graph_optimization_level = _OPTIMISATIONS.get(
        int(level), onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    )
    options.enable_cpu_mem_arena = _boolean_parameter(config, "enable_mem_arena", True)
    options.enable_mem_pattern = _boolean_parameter(config, "enable_mem_pattern", True)
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


def _boolean_parameter(config, name, default):
    text = config["parameters"].get(name, {}).get("string_value")
    if text is None:
        return default
    if text.lower() not in _BOOLEANS:
        raise ValueError(f"parameter {name} must be 0, 1, false or true, not {text!r}")
    return _BOOLEANS[text.lower()]


def _chosen(config, name, values):
    """Return the value that a parameter names by number, the first one where it is not given."""
    number = _integer_parameter(config, name)
    if number not in values:
        known = " or ".join(str(known) for known in values)
        raise ValueError(f"parameter {name} must be {known}, not {number}")
    return values[number]


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
    cuda = {"device_id": str(device), **_cuda_parameters(config)}
    providers = []
    accelerators = config["optimization"].get("execution_accelerators", {})
    for accelerator in accelerators.get("gpu_execution_accelerator", []):
        options = accelerator.get("parameters", {})
        if accelerator["name"] == "cuda":
            # The native backend lets the parameters of the model win.
            cuda = {**options, **cuda}
        elif accelerator["name"] == "tensorrt":
            if "TensorrtExecutionProvider" not in available:
                raise ValueError("accelerator tensorrt: onnxruntime has no TensorRT here")
            providers.append(("TensorrtExecutionProvider", _tensorrt_options(options, device)))
        else:
            raise ValueError(f"accelerator {accelerator['name']}: only cuda and tensorrt are known")
    return [*providers, ("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]


def _cuda_parameters(config):
    """Return the options of the CUDA provider that stand among the parameters of a model."""
    parameters = config["parameters"]
    options = {
        name: _chosen(config, name, values)
        for name, values in _CUDA_CHOICES.items()
        if name in parameters
    }
    for name in ("gpu_mem_limit", "do_copy_in_default_stream"):
        if name in parameters:
            options[name] = parameters[name]["string_value"]
    return options


def _tensorrt_options(parameters, device):
    options = {"device_id": str(device)}
    for key, value in parameters.items():
        if key == "precision_mode":
            if value not in _TENSORRT_PRECISIONS:
                raise ValueError(f"precision_mode must be FP32, FP16 or INT8, not {value!r}")
            options.update(_TENSORRT_PRECISIONS[value])
        elif key in _TENSORRT_FOLDERS:
            options[key] = str(_private_folder(value))
        else:
            options[_TENSORRT_OPTIONS.get(key, key)] = value
    return options


def _private_folder(name):
    """Return a folder of this user's own: whoever else could write there would choose what runs.

    A relative name is one in the user's cache, and not where the server happened to be started.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "syncnet-triton" / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if (
        not stat.S_ISDIR(status.st_mode)
        or status.st_uid != os.getuid()
        or stat.S_IMODE(status.st_mode) & 0o077
    ):
        raise ValueError(f"{folder} must be a folder that only this user can use: chmod 700")
    return folder


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
        # Like the native backend: what the graph leaves open the configuration may fix, but for
        # outputs, which are compared exactly.
        open_sizes = (-1,) if side == "input" else ()
        if len(dims) != len(shape) or any(
            fixed != size and fixed not in open_sizes
            for size, fixed in zip(dims, shape, strict=True)
        ):
            raise ValueError(
                f"{side} {name} is {dims} in the configuration, batch included, "
                f"and {shape} in the graph"
            )
