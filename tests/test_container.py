"""The image's entrypoint with the real tritonserver, started and stopped as Kubernetes does."""

from __future__ import annotations

import json
import platform
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import kustomize
import psutil
import pytest
import tiny
import tritonclient.grpc
from conftest import unexpected_errors
from deployment import KUBERNETES, SERVER, dockerfile
from tritonclient.utils import InferenceServerException

from syncnet_server import guardian
from syncnet_server.locate import locate

pytestmark = pytest.mark.server

ADMIN_KEY = "0123456789abcdef"


@dataclass
class Container:
    """A process that runs what the image would."""

    process: subprocess.Popen[bytes]
    log: Path
    grpc_url: str
    http_url: str

    def http_status(self, path: str, data: bytes | None = None, **headers: str) -> int:
        request = urllib.request.Request(f"http://{self.http_url}/v2/{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


def arguments_in_kubernetes() -> list[str]:
    """The arguments of the Deployment."""
    (deployment,) = (
        resource
        for resource in kustomize.build(KUBERNETES / "base")
        if (resource["kind"], resource["metadata"]["name"]) == ("Deployment", "syncnet-server")
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert "SYNCNET_ADMIN_KEY" in {variable["name"] for variable in container["env"]}
    return list(container["args"])


@contextmanager
def running_container(folder: Path, repository: Path, **variables: str) -> Iterator[Container]:
    """A container, ready; on leaving it is killed."""
    installation = locate()
    work = folder / "work"
    guardian.write_work_folder(
        work,
        {name: str(path) for name, path in installation.copies.items()},
        {name: str(path) for name, path in installation.links.items()},
        dict(installation.texts),
    )
    environment = installation.environment(work)
    program = folder / "bin" / "tritonserver"
    program.parent.mkdir()
    command = shlex.join([str(installation.executable), *installation.arguments(work)])
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o755)
    environment["PATH"] = f"{program.parent}:{environment['PATH']}"
    environment["SYNCNET_MODEL_REPOSITORY"] = str(repository)
    environment |= variables
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        grpc_port, http_port, metrics_port = (each.getsockname()[1] for each in listeners)
    here = [f"--{name}-address=127.0.0.1" for name in ("grpc", "http", "metrics")]
    ports = [
        f"--grpc-port={grpc_port}",
        f"--http-port={http_port}",
        f"--metrics-port={metrics_port}",
    ]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [SERVER / "entrypoint.sh", *arguments_in_kubernetes(), *here, *ports],
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        started = Container(process, log, f"127.0.0.1:{grpc_port}", f"127.0.0.1:{http_port}")
        wait_until_ready(started)
        yield started
    finally:
        family = tiny.tree(process.pid) if process.poll() is None else []
        for member in family[1:]:
            with suppress(psutil.NoSuchProcess):  # it went with another
                member.kill()
        process.kill()
        process.wait()
        shutil.rmtree(work)
        for path in Path("/dev/shm").glob(f"syncnet-container-{platform.node()}-*"):
            path.unlink()


@pytest.fixture(scope="module")
def container(
    narrow_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Container]:
    """A running container; when the tests are over, SIGTERM must end it in order."""
    folder = tmp_path_factory.mktemp("container")
    with running_container(folder, narrow_repository, SYNCNET_ADMIN_KEY=ADMIN_KEY) as started:
        yield started
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(timeout=45) == 0
        assert unexpected_errors(started.log.read_text()) == []
        assert not list(Path("/dev/shm").glob(f"syncnet-container-{platform.node()}-*"))


def wait_until_ready(container: Container) -> None:
    deadline = time.monotonic() + 120
    while True:
        assert container.process.poll() is None, container.log.read_text()[-2000:]
        assert time.monotonic() < deadline
        try:
            if container.http_status("health/ready") == 200:
                return
        except urllib.error.URLError:
            time.sleep(0.2)


def test_http_is_for_health_alone(container: Container) -> None:
    assert container.http_status("health/ready") == 200
    assert container.http_status("health/live") == 200
    for path in ("models/syncnet", "models/syncnet/stats", "models/syncnet/config"):
        assert container.http_status(path) == 403
        assert container.http_status(path, **{"admin-key": ADMIN_KEY}) == 200


def test_administration_needs_the_key(container: Container) -> None:
    with tritonclient.grpc.InferenceServerClient(container.grpc_url) as client:
        assert client.is_model_ready("syncnet")
        assert client.get_model_metadata("syncnet").name == "syncnet"
        for call in (
            client.get_model_repository_index,
            client.get_system_shared_memory_status,
            client.get_trace_settings,
            client.get_log_settings,
        ):
            with pytest.raises(InferenceServerException, match="restricted"):
                call()
            call(headers={"triton-grpc-protocol-admin-key": ADMIN_KEY})


def test_models_cannot_be_loaded_even_with_the_key(container: Container) -> None:
    key = {"triton-grpc-protocol-admin-key": ADMIN_KEY}
    with (
        tritonclient.grpc.InferenceServerClient(container.grpc_url) as client,
        pytest.raises(InferenceServerException, match="not allowed"),
    ):
        client.unload_model("syncnet", headers=key)


def test_the_health_check_of_the_image(container: Container, tmp_path: Path) -> None:
    command = json.loads(dockerfile()["HEALTHCHECK"].partition("CMD ")[2])
    assert command[:2] == ["python3", "-c"]

    def check(address: str) -> int:
        program = command[2].replace("127.0.0.1:8000", address)
        return subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, stderr=subprocess.DEVNULL
        ).returncode

    assert check(container.http_url) == 0
    assert check(container.grpc_url) != 0


def test_it_ends_when_the_process_of_a_model_has_died(tmp_path: Path) -> None:
    repository = tiny.write_tiny(tmp_path / "repository")
    with running_container(tmp_path, repository) as container:
        assert container.http_status("models/tiny") == 403  # also without a key
        (stub,) = (
            process
            for process in tiny.tree(container.process.pid)
            if "triton_python_backend_stub" in " ".join(process.cmdline()[:1])
        )
        stub.kill()
        assert container.process.wait(timeout=30) != 0
        assert "the process of a Python model died" in container.log.read_text()


@pytest.mark.parametrize(("variable", "status"), [("0", 403), ("1", 200)])
def test_inference_over_http_is_closed_unless_it_is_opened(
    tmp_path: Path, variable: str, status: int
) -> None:
    repository = tiny.write_tiny(tmp_path / "repository")
    with running_container(tmp_path, repository, SYNCNET_HTTP_INFERENCE=variable) as container:
        tensor = {"name": "X", "datatype": "FP32", "shape": [1, 1], "data": [0.0]}
        request = json.dumps({"inputs": [tensor]}).encode()
        assert container.http_status("models/tiny/infer", request) == status
