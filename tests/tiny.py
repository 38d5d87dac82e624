"""A model repository of one small Python model, which a server loads in half a second."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import psutil
import tritonclient.grpc

CONFIG = """
backend: "python"
max_batch_size: 8
input [ { name: "X" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] } ]
instance_group [ { kind: KIND_CPU } ]
"""
MODEL = """
import time
from pathlib import Path

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        {initialize}

    def execute(self, requests):
        responses = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
            if x.max() > 0:
                Path(__file__).with_name("busy").touch()
                time.sleep(float(x.max()))
            end = time.monotonic() - float(x.min())
            while time.monotonic() < end:
                pass
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("Y", 2 * x)]))
        return responses
"""


def write_tiny(repository: Path, name: str = "tiny", initialize: str = "pass") -> Path:
    """Write a model that doubles X after sleeping for max(X) seconds; return the repository.

    When it goes to sleep, it creates a file `busy` beside its model.py. If min(X) is negative, it
    works for so many seconds.

    Args:
        initialize: a Python statement that the model runs when it is loaded.
    """
    version = repository / name / "1"
    version.mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(CONFIG)
    (version / "model.py").write_text(MODEL.replace("{initialize}", initialize))
    return repository


def tensor(
    values: list[float], name: str = "X", kind: str = "FP32"
) -> tritonclient.grpc.InferInput:
    array = np.array([values], np.int32 if kind == "INT32" else np.float32)
    given = tritonclient.grpc.InferInput(name, array.shape, kind)
    given.set_data_from_numpy(array)
    return given


def double(url: str, values: list[float]) -> list[float]:
    """Ask the model `tiny` at `url`."""
    with tritonclient.grpc.InferenceServerClient(url) as client:
        answer = client.infer("tiny", [tensor(values)])
        return list(answer.as_numpy("Y")[0])


def taken_port() -> socket.socket:
    """Return a socket that listens on a free port of 127.0.0.1."""
    return socket.create_server(("127.0.0.1", 0))


def wait_for(condition: Callable[[], bool], timeout_s: float = 30.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def read_so_far(path: Path) -> int:
    """How far this process, or one that it started, has read a file that it has open; else 0."""
    for process in tree(os.getpid()):
        with contextlib.suppress(psutil.Error):
            for opened in process.open_files():
                if opened.path == str(path):
                    return int(opened.position)
    return 0


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def gone(processes: Iterable[psutil.Process]) -> bool:
    """Return whether none of the processes runs any more (a zombie does not)."""
    return not any(
        process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes
    )


def traces(owner_pid: int, temporary: Path) -> list[Path]:
    """Return the temporary folders and shared-memory files of the servers of a process."""
    pattern = f"syncnet-server-{owner_pid}-*"
    return [*temporary.glob(pattern), *Path("/dev/shm").glob(pattern)]
