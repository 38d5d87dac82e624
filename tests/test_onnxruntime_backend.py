"""The Python-based `onnxruntime` backend of the pip server, on the real server.

The graph under test looks up rows of a table: Y = TABLE[X], so that a request with an index out of
range fails when it runs, and the values of an answer tell which request it belongs to.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import psutil
import pytest
import tiny
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc import InferenceServerClient, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from syncnet_server import Server, ServingError

BACKEND = Path(__file__).resolve().parents[1] / "server" / "backends" / "onnxruntime" / "model.py"
TABLE = np.arange(20, dtype=np.float32).reshape(10, 2)
CONFIG = """
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "X" data_type: TYPE_INT32 dims: [ -1 ] } ]
output [
  { name: "Y" data_type: TYPE_FP32 dims: [ -1, 2 ] },
  { name: "Z" data_type: TYPE_INT32 dims: [ -1 ] }
]
"""


def write_model(
    repository: Path, name: str, config: str = CONFIG, file: str = "model.onnx"
) -> None:
    """Write a model Y = TABLE[X], Z = X; X int32 [batch, n]."""
    version = repository / name / "1"
    version.mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(config)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["TABLE", "X"], ["Y"], axis=0),
            helper.make_node("Identity", ["X"], ["Z"]),
        ],
        "lookup",
        [helper.make_tensor_value_info("X", TensorProto.INT32, ["batch", "n"])],
        [
            helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["batch", "n", 2]),
            helper.make_tensor_value_info("Z", TensorProto.INT32, ["batch", "n"]),
        ],
        [numpy_helper.from_array(TABLE, "TABLE")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, version / file)


@pytest.fixture(scope="module")
def lookup_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("lookup") / "repository"
    # Wait for 4 requests, for 10 s on a busy machine, then run them as one batch.
    batching = "dynamic_batching { preferred_batch_size: [ 4 ] max_queue_delay_microseconds: %d }"
    write_model(repository, "lookup", CONFIG + batching % 10_000_000)
    write_model(repository, "single", CONFIG)
    ragged = CONFIG.replace("dims: [ -1 ] }", "dims: [ -1 ] allow_ragged_batch: true }", 1)
    write_model(repository, "ragged", ragged + batching % 10_000_000)
    named = CONFIG + 'default_model_filename: "other.onnx"\n'
    for threads in (1, 4):
        parameter = "parameters { key: 'intra_op_thread_count' value: { string_value: '%d' } }"
        write_model(repository, f"threads_{threads}", named + parameter % threads, "other.onnx")
    with Server(repository) as server:
        yield server


def look_up(url: str, model: str, indices: list[int]) -> np.ndarray:
    with InferenceServerClient(url) as client:
        answer = client.infer(model, [tiny.tensor(indices, kind="INT32")])
        assert answer.as_numpy("Z").tolist() == [indices]
        return answer.as_numpy("Y")


@pytest.mark.server
def test_answers_are_those_of_the_graph(lookup_server: Server) -> None:
    np.testing.assert_array_equal(
        look_up(lookup_server.grpc_url, "single", [3, 0]), TABLE[None, [3, 0]]
    )


@pytest.mark.server
def test_outputs_that_are_not_asked_for_are_not_sent(lookup_server: Server) -> None:
    with InferenceServerClient(lookup_server.grpc_url) as client:
        asked = [InferRequestedOutput("Z")]
        answer = client.infer("single", [tiny.tensor([1], kind="INT32")], outputs=asked)
    assert [output.name for output in answer.get_response().outputs] == ["Z"]


@pytest.mark.server
@pytest.mark.parametrize(
    ("model", "requests"),
    [
        ("lookup", [[0, 1], [2, 3], [4, 5], [6, 7]]),
        ("ragged", [[0, 1], [2], [3, 4], [5, 6, 7]]),
    ],
)
def test_requests_are_answered_as_one_batch(
    lookup_server: Server, model: str, requests: list[list[int]]
) -> None:
    before = _executions(lookup_server, model)
    with ThreadPoolExecutor(4) as pool:
        url = lookup_server.grpc_url
        answers = list(pool.map(lambda indices: look_up(url, model, indices), requests))
    for indices, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer, TABLE[None, indices])
    assert _executions_after(lookup_server, model, before) == before + 1


@pytest.mark.server
def test_a_request_that_fails_does_not_fail_its_batch(lookup_server: Server) -> None:
    before = _executions(lookup_server, "lookup")

    def answer_or_error(indices: list[int]) -> np.ndarray | str:
        try:
            return look_up(lookup_server.grpc_url, "lookup", indices)
        except InferenceServerException as error:
            return f"{error.status()} {error.message()}"

    requests = [[0, 1], [2, 99], [4, 5], [6, 7]]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(answer_or_error, requests))
    failed = answers.pop(1)
    assert isinstance(failed, str)
    assert failed.startswith("StatusCode.INTERNAL")
    assert "out of data bounds" in failed
    for indices, answer in zip([[0, 1], [4, 5], [6, 7]], answers, strict=True):
        np.testing.assert_array_equal(answer, TABLE[None, indices])
    assert _executions_after(lookup_server, "lookup", before) == before + 1


def _executions(server: Server, model: str) -> int:
    """Return how many batches a model has run, as far as Triton has counted."""
    with InferenceServerClient(server.grpc_url) as client:
        return int(client.get_inference_statistics(model).model_stats[0].execution_count)


def _executions_after(server: Server, model: str, before: int) -> int:
    """The same, once Triton has counted the last batch, which it does after answering."""
    tiny.wait_for(lambda: _executions(server, model) > before)
    return _executions(server, model)


@pytest.mark.server
def test_honours_thread_count_and_file_name(lookup_server: Server) -> None:
    assert look_up(lookup_server.grpc_url, "threads_1", [1]).tolist() == [[[2.0, 3.0]]]
    # The calling thread works, too, so 1 and 4 threads make pools of 0 and 3.
    assert _stub("threads_4").num_threads() - _stub("threads_1").num_threads() == 3


@pytest.mark.server
@pytest.mark.usefixtures("lookup_server")
def test_threads_are_not_tied_to_cores() -> None:
    stub = _stub("single")
    allowed = {tuple(os.sched_getaffinity(thread.id)) for thread in stub.threads()}
    assert allowed == {tuple(os.sched_getaffinity(0))}


def _stub(model: str) -> psutil.Process:
    """The process of a model's only instance."""
    (stub,) = (
        process
        for process in tiny.tree(os.getpid())
        if "triton_python_backend_stub" in (command := " ".join(process.cmdline()))
        and f" {model}_0" in command
    )
    return stub


# Changes to CONFIG that do not fit the graph, and what must be said about them.
MISFITS = {
    "no_file": ('"onnxruntime"', '"onnxruntime" default_model_filename: "a.onnx"', "no such file"),
    "no_input": ('"X"', '"FRAMES"', "no input FRAMES; the graph has: X"),
    "no_output": ('"Z"', '"W"', "no output W; the graph has: Y, Z"),
    "bad_type": (
        'name: "Y" data_type: TYPE_FP32',
        'name: "Y" data_type: TYPE_FP16',
        "output Y is TYPE_FP16 in the configuration and tensor(float) in the graph",
    ),
    "bad_size": (
        "dims: [ -1, 2 ]",
        "dims: [ -1, -1 ]",
        "output Y is [-1, -1, -1] in the configuration, batch included, and [-1, -1, 2] in the",
    ),
    "bad_rank": (
        "max_batch_size: 8",
        "max_batch_size: 0",
        "input X is [-1] in the configuration, batch included, and [-1, -1] in the graph",
    ),
    "bad_parameter": (
        "max_batch_size: 8",
        "max_batch_size: 8 parameters { key: 'intra_op_thread_count' "
        "value: { string_value: 'two' } }",
        "parameter intra_op_thread_count must be a whole number, not 'two'",
    ),
}


@pytest.mark.server
def test_says_what_does_not_fit_the_graph(tmp_path: Path) -> None:
    repository, log = tmp_path / "repository", tmp_path / "triton.log"
    for name, (old, new, _) in MISFITS.items():
        write_model(repository, name, CONFIG.replace(old, new))
    with pytest.raises(ServingError, match=rf"model \w+ .* \(and {len(MISFITS) - 1} more failed\)"):
        Server(repository, log_file=log).start()
    lines = log.read_text().splitlines()
    for name, (_, _, message) in MISFITS.items():
        assert any(f"failed to load '{name}'" in line and message in line for line in lines), name


# --- In this process: threads, and providers, which a machine without a GPU can only choose ------


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The backend's module; Triton's utilities exist only in its own processes."""
    warnings: list[str] = []
    utilities = SimpleNamespace(Logger=SimpleNamespace(log_warn=warnings.append), warnings=warnings)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", utilities)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    spec = importlib.util.spec_from_file_location("onnxruntime_backend", BACKEND)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_threads_are_as_many_as_the_cores_it_may_use(backend: ModuleType) -> None:
    allowed = os.sched_getaffinity(0)
    assert 1 <= backend._cores() <= len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert backend._cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def accelerated(*accelerators: dict[str, object]) -> dict[str, object]:
    return {
        "name": "tower",
        "parameters": {},
        "optimization": {
            "execution_accelerators": {"gpu_execution_accelerator": list(accelerators)}
        },
    }


def test_cpu_instances_run_on_the_cpu(backend: ModuleType) -> None:
    assert backend._providers(accelerated(), "CPU", 0) == ["CPUExecutionProvider"]


def test_gpu_instances_run_on_their_device(
    backend: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    available = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    cuda = {"name": "cuda", "parameters": {"cudnn_conv_use_max_workspace": "0"}}
    tensorrt = {
        "name": "tensorrt",
        "parameters": {
            "precision_mode": "FP16",
            "max_workspace_size_bytes": "1024",
            "trt_engine_cache_enable": "1",
        },
    }
    assert backend._providers(accelerated(tensorrt, cuda), "GPU", 1) == [
        (
            "TensorrtExecutionProvider",
            {
                "device_id": "1",
                "trt_fp16_enable": "1",
                "trt_max_workspace_size": "1024",
                "trt_engine_cache_enable": "1",
            },
        ),
        ("CUDAExecutionProvider", {"device_id": "1", "cudnn_conv_use_max_workspace": "0"}),
        "CPUExecutionProvider",
    ]
    tensorrt["parameters"] = {"precision_mode": "FP8"}
    with pytest.raises(ValueError, match="precision_mode must be FP32, FP16 or INT8, not 'FP8'"):
        backend._providers(accelerated(tensorrt), "GPU", 0)
    with pytest.raises(ValueError, match="accelerator openvino: only cuda and tensorrt are known"):
        backend._providers(accelerated({"name": "openvino"}), "GPU", 0)


def test_gpu_instances_fall_back_to_the_cpu(
    backend: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert backend._providers(accelerated(), "GPU", 0) == ["CPUExecutionProvider"]
    (warning,) = backend.pb_utils.warnings
    assert "tower: onnxruntime has no CUDA here" in warning


def test_tensorrt_is_not_silently_left_out(
    backend: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    with pytest.raises(ValueError, match="onnxruntime has no TensorRT here"):
        backend._providers(accelerated({"name": "tensorrt"}), "GPU", 0)
