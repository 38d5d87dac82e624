"""Fixtures shared by all areas: a real server with small random towers.

    narrow_weights      state dict of a random SyncNet, 1/16 of the published width
    narrow_checkpoint   a file of it
    narrow_repository   copy of the model repository with its towers exported as version 1
    server              `syncnet_server.Server` on that repository, ready
    talking_clip        1.2 s of video in the size of a face crop, with sound
    all_precisions      such a repository with towers of every precision, and its `Build`

All last for the whole session. The server's log must not hold errors in the end.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
import torch
from talking_clip import write_clip
from torch import Tensor

from syncnet_export import exporter
from syncnet_export.building import Build, build
from syncnet_export.network import random_checkpoint
from syncnet_export.precisions import PRECISIONS
from syncnet_export.served_tower import ServedTower
from syncnet_export.tracing import trace
from syncnet_server import Server
from syncnet_server.log import is_problem

# A shell that runs the tests in the background lets them ignore Ctrl-C, and what they start would
# inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test depends on what was downloaded on this machine.
os.environ["SYNCNET_CACHE_DIR"] = "/nonexistent/syncnet-cache"

MODEL_REPOSITORY = Path(__file__).resolve().parents[1] / "model_repository"
NARROW_WIDTH = 1 / 16


# perf_analyzer may end its regions, all at once, while the server still works on its last requests.
# Those of the client, which takes care not to, have its name.
_REGIONS_IN_USE = re.compile(
    r"Failed to unregister the following system shared memory regions: (?!.*syncnet-client)"
)


def unexpected_errors(log: str) -> list[str]:
    """Return the lines of a tritonserver log that report errors, the lack of a GPU aside."""
    errors = (line for line in log.splitlines() if is_problem(line, "E"))
    return [line for line in errors if not _REGIONS_IN_USE.search(line)]


def copy_model_repository(folder: Path) -> Path:
    """Copy the model repository as it ships, without this machine's own exports."""
    repository = folder / "model_repository"
    own_versions = shutil.ignore_patterns("[2-9]", "[1-9][0-9]*", ".*", "__pycache__")
    shutil.copytree(MODEL_REPOSITORY, repository, ignore=own_versions)
    return repository


Trace = Callable[[ServedTower], onnx.ModelProto]


@pytest.fixture(scope="session", autouse=True)
def trace_once() -> Iterator[Trace]:
    """Traces the same tower once, also for `build`; test_export shows that its bytes repeat."""
    models: dict[tuple[object, ...], bytes] = {}

    def traced(tower: ServedTower) -> onnx.ModelProto:
        weights = hashlib.sha256()
        for name, tensor in tower.state_dict().items():
            weights.update(name.encode() + tensor.numpy().tobytes())
        key = tower.spec, tower.aligned, tower.bytes_first, weights.digest()
        if key not in models:
            models[key] = trace(tower).SerializeToString()
        return onnx.load_from_string(models[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "trace", traced)
        yield traced


@pytest.fixture(scope="session")
def narrow_weights() -> dict[str, Tensor]:
    return random_checkpoint(seed=1, width=NARROW_WIDTH)


@pytest.fixture(scope="session")
def narrow_checkpoint(
    narrow_weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("weights") / "narrow.model"
    torch.save(narrow_weights, path)
    return path


@pytest.fixture(scope="session")
def narrow_repository(narrow_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = copy_model_repository(tmp_path_factory.mktemp("narrow"))
    build(narrow_checkpoint, model_repository=repository, version=1, replace=True)
    return repository


@pytest.fixture(scope="session")
def talking_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("talking") / "clip.mp4")


@pytest.fixture(scope="session")
def all_precisions(
    narrow_repository: Path,
    narrow_checkpoint: Path,
    talking_clip: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Build]:
    repository = tmp_path_factory.mktemp("precisions") / "model_repository"
    shutil.copytree(narrow_repository, repository)
    result = build(
        narrow_checkpoint,
        model_repository=repository,
        version=1,
        precisions=[precision.name for precision in PRECISIONS],
        calibrate=[talking_clip],
        replace=True,
    )
    return repository, result


@pytest.fixture(scope="session")
def server(narrow_repository: Path) -> Iterator[Server]:
    with Server(narrow_repository) as running:
        yield running
        log = running.log
    assert unexpected_errors(log) == []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--hostile-files", type=int, default=320, help="how many files the fuzz test tries"
    )
