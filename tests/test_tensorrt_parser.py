"""TensorRT itself on the exported files: it needs no GPU to parse a graph and to build an engine.

TensorRT for RTX, which comes as wheels, has its parser and builds for GPUs that are not there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from syncnet_export.building import Build, build
from syncnet_export.checkpoint import save_checkpoint
from syncnet_export.network import random_checkpoint
from syncnet_export.precisions import FP16, FP32, INT8_TRT, PRECISIONS
from syncnet_export.tensorrt import configure, read_network
from syncnet_export.tower_files import TowerFile
from syncnet_export.tower_specs import TOWERS

trt: Any = pytest.importorskip(
    "tensorrt_rtx_bindings", reason="TensorRT for RTX (tensorrt-rtx-cu12) is not installed"
)

CAPABILITIES = ("SM80", "SM89")  # A100, L4
ENGINES = [precision for precision in PRECISIONS if precision.plan_name is not None]


class Complaints(trt.ILogger):  # type: ignore[misc]
    """Keeps what TensorRT warns of."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.messages: list[str] = []

    def log(self, severity: Any, message: str) -> None:
        if severity <= trt.ILogger.WARNING:
            self.messages.append(message)


@pytest.fixture(scope="module")
def complaints() -> Complaints:
    """One logger: TensorRT keeps the first that it is given."""
    return Complaints()


def check(file: TowerFile, complaints: Complaints) -> None:
    """Parse a file, and build an engine of it for each of `CAPABILITIES`."""
    complaints.messages.clear()
    builder = trt.Builder(complaints)
    network = read_network(trt, builder, complaints, file.path.read_bytes(), file.spec.name)
    assert network.num_outputs == 1
    assert network.get_output(0).name == file.spec.output_name
    assert tuple(network.get_output(0).shape) == (-1, -1, 1024)
    for capability in CAPABILITIES:
        config = configure(builder, file.spec)
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
        assert builder.build_serialized_network(network, config) is not None
    assert complaints.messages == []


def test_what_engines_are_built_from() -> None:
    assert ENGINES == [FP32, FP16, INT8_TRT]


@pytest.mark.parametrize("spec", TOWERS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("precision", ENGINES, ids=lambda precision: precision.name)
def test_tensorrt_takes_exported_files(
    all_precisions: tuple[Path, Build], precision: Any, spec: Any, complaints: Complaints
) -> None:
    (file,) = (
        file
        for file in all_precisions[1].files
        if file.spec is spec and file.precision is precision
    )
    check(file, complaints)


@pytest.mark.parametrize("spec", TOWERS, ids=lambda spec: spec.name)
def test_tensorrt_takes_the_shipped_towers(spec: Any, complaints: Complaints) -> None:
    folder = Path(__file__).parents[1] / "model_repository" / spec.name / "1"
    check(TowerFile(spec, FP32, folder / FP32.file_name), complaints)


@pytest.mark.long
def test_tensorrt_takes_towers_of_full_size(
    narrow_repository: Path, tmp_path: Path, complaints: Complaints
) -> None:
    weights = tmp_path / "full.safetensors"
    save_checkpoint(weights, random_checkpoint(seed=0))
    repository = tmp_path / "model_repository"
    for spec in TOWERS:
        (repository / spec.name).mkdir(parents=True)
        (repository / spec.name / "config.pbtxt").touch()
    (repository / "mfcc").symlink_to(narrow_repository / "mfcc")
    built = build(weights, model_repository=repository, precisions=["fp32", "fp16"])
    for file in built.files:
        check(file, complaints)
