"""Everything here that bears a name of Triton's: options, settings, metrics and parameters."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest
from conftest import MODEL_REPOSITORY
from environments import RUNNING, Environment
from google.protobuf import text_format
from triton_names import (
    BACKEND_SETTINGS,
    GPU_METRICS,
    METRICS,
    NOT_ANALYZED,
    ONNXRUNTIME_PARAMETERS,
    OPTIONS,
    TENSORRT_PARAMETERS,
)
from tritonclient.grpc import model_config_pb2 as triton

from syncnet_server import Server
from syncnet_server.locate import locate

SERVER = Path(__file__).resolve().parents[1] / "server"
STARTING = [  # what starts tritonserver with options
    SERVER / "entrypoint.sh",
    SERVER / "syncnet_server" / "locate.py",
    SERVER / "syncnet_server" / "security.py",
    SERVER / "syncnet_server" / "server.py",
]
PASSING = [  # what passes options to the entrypoint
    SERVER / "Dockerfile",
    SERVER / "compose.cpu.yaml",
    SERVER / "kubernetes" / "base" / "server.yaml",
    SERVER / "kubernetes" / "kserve" / "inference-service.yaml",
    SERVER / "kubernetes" / "overlays" / "cpu" / "kustomization.yaml",
]
OBSERVING = [
    path
    for folder in ("grafana", "kubernetes", "prometheus")
    for path in sorted((SERVER / folder).rglob("*.*"))
    if path.suffix in (".json", ".yaml", ".yml")
]
# Options of other programs in the Dockerfile: of install, and of its own health check.
OTHERS = {"directory", "group", "interval", "mode", "owner", "retries", "start-period", "timeout"}


def options(text: str) -> set[str]:
    """Words like --this, comments aside; f-strings name the service of an address or a port."""
    code = "\n".join(re.sub(r"(^|\s)#.*", "", line) for line in text.splitlines())
    named = set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)\b", code))
    for suffix in re.findall(r"--\{service\}-([a-z]+)", code):
        named |= {f"{service}-{suffix}" for service in ("grpc", "http", "metrics")}
    return named - OTHERS


@pytest.mark.parametrize("path", STARTING + PASSING, ids=lambda path: path.name)
def test_options_are_those_of_tritonserver(path: Path) -> None:
    text = path.read_text()
    if path.suffix == ".py":
        # Its sentences speak of options of other programs, too.
        text = "\n".join(re.findall(r"[\"']--[^\"']*", text))
    found = options(text)
    assert found
    assert found <= OPTIONS


def test_settings_of_backends_are_theirs() -> None:
    found = {
        tuple(setting)
        for path in STARTING + PASSING
        for setting in re.findall(r"backend-config=([a-z]+),([a-z_-]+)=", path.read_text())
    }
    assert {backend for backend, _ in found} == set(BACKEND_SETTINGS)
    assert all(setting in BACKEND_SETTINGS[backend] for backend, setting in found)


def test_metrics_are_those_of_tritonserver() -> None:
    found = {
        re.sub(r"_(count|sum)$", "", name) if "_summary_" in name else name
        for path in OBSERVING
        for name in re.findall(r"\bnv_[a-z_]+", path.read_text())
    }
    assert found
    assert found <= METRICS | GPU_METRICS


@pytest.mark.parametrize(
    "path",
    sorted(MODEL_REPOSITORY.glob("*_tower/**/*.pbtxt")),
    ids=lambda path: str(path.relative_to(MODEL_REPOSITORY)),
)
def test_parameters_are_those_of_the_native_backend(path: Path) -> None:
    config = text_format.Parse(path.read_text(), triton.ModelConfig())
    own = {name for name in config.parameters if name.startswith("weights.")}
    known = ONNXRUNTIME_PARAMETERS if config.backend == "onnxruntime" else frozenset()
    assert set(config.parameters) - own <= known
    for accelerator in config.optimization.execution_accelerators.gpu_execution_accelerator:
        assert accelerator.name == "tensorrt"
        assert set(accelerator.parameters) <= TENSORRT_PARAMETERS


@pytest.mark.server
def test_the_server_from_pip_knows_the_options(tmp_path: Path) -> None:
    installation = locate()
    help_text = subprocess.run(
        [installation.executable, "--help"],
        env=installation.environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    listed = set(re.findall(r"^\s*--([a-z-]+)", help_text.stdout + help_text.stderr, re.MULTILINE))
    assert OPTIONS - listed == set()


@pytest.mark.server
def test_the_server_from_pip_has_the_metrics(server: Server) -> None:
    with urllib.request.urlopen(f"http://{server.metrics_url}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    listed = set(re.findall(r"^# TYPE (nv_\w+)", text, re.MULTILINE))
    assert METRICS - listed == set()


# Prints the options and metrics that Model Analyzer knows, once the schema of tritonclient has
# taken every configuration. Model Analyzer is read as text: its own requirements are not there.
ASK = """
import json, pathlib, re, sys
from importlib.metadata import files
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig
for config in sys.argv[1:]:
    text_format.Parse(pathlib.Path(config).read_text(), ModelConfig())
texts = [f.read_text() for f in files("triton-model-analyzer") if f.suffix == ".py"]
(table,) = re.findall(r"server_arg_keys = \\[(.*?)\\]", "".join(texts), re.S)
options = re.findall(r'"([a-z-]+)"', table)
metrics = [name for text in texts for name in re.findall(r"\\bnv_gpu_[a-z_]+", text)]
print(json.dumps({"options": options, "metrics": metrics}))
"""


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_newest_release_has_the_names(tmp_path: Path) -> None:
    environment = Environment(tmp_path, RUNNING)
    environment.install("tritonclient[grpc]")
    environment.pip("install", "--no-deps", "triton-model-analyzer")
    configs = sorted(MODEL_REPOSITORY.rglob("*.pbtxt"))
    assert configs
    known = json.loads(environment.run("python", "-c", ASK, *configs).stdout)
    assert OPTIONS - NOT_ANALYZED - set(known["options"]) == set()
    assert GPU_METRICS - set(known["metrics"]) == set()
