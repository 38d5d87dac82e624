"""Everything about TensorRT engines but TensorRT: what surrounds the calls, on any machine.

A stand-in for the package records how it is called; its names and signatures are those of
TensorRT 10.5 and of 11.4.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import MODEL_REPOSITORY

from syncnet_client.download import file_sha256
from syncnet_export import ExportError, TensorRTError, build, tensorrt
from syncnet_export.cli import main
from syncnet_export.metadata import read_metadata
from syncnet_export.precisions import FP16, FP32
from syncnet_export.tower_specs import AUDIO, TOWERS, VIDEO
from syncnet_server import ServingError, plans
from syncnet_server.plans import Machine, PlanRecord, check_plans, misfit, version_number

RECORD = PlanRecord("10.5.0", "9.0", "model.fp16.onnx", "aa", "cc")
FITTING = Machine("10.5.0.18", "9.0")


class StandIn:
    """The part of the package `tensorrt` that building an engine uses.

    Attributes:
        shapes: what each optimisation profile was given.
        caches: the timing cache that each build began with.
        refuses: the tower whose network is not built.
    """

    __version__ = "10.5.0"
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")

    def __init__(self) -> None:
        self.shapes: dict[str, list[tuple[tuple[int, ...], ...]]] = {}
        self.caches: list[bytes] = []
        self.refuses = ""
        self.readable = True
        self.network_flags: list[int] = []

    def Logger(self, severity: int) -> object:  # noqa: N802
        return severity

    Logger.WARNING = 2  # type: ignore[attr-defined]

    def Builder(self, logger: object) -> object:  # noqa: N802, ARG002
        return SimpleNamespace(
            create_network=lambda flags: self.network_flags.append(flags) or {},
            create_builder_config=self._config,
            create_optimization_profile=lambda: SimpleNamespace(set_shape=self._set_shape),
            build_serialized_network=self._build,
        )

    def OnnxParser(self, network: dict[str, bytes], logger: object) -> object:  # noqa: N802, ARG002
        def parse(model: bytes) -> bool:
            network["model"] = model
            return self.readable

        error = SimpleNamespace(desc=lambda: "no such operator")
        return SimpleNamespace(parse=parse, num_errors=1, get_error=lambda index: error)  # noqa: ARG005

    def _config(self) -> object:
        def set_timing_cache(cache: bytes, ignore_mismatch: bool) -> bool:
            assert not ignore_mismatch
            self.caches.append(cache)
            return cache != b"of another GPU"

        serialized = SimpleNamespace(serialize=lambda: b"timings")
        return SimpleNamespace(
            set_memory_pool_limit=lambda pool, size: None,  # noqa: ARG005
            add_optimization_profile=lambda profile: 0,  # noqa: ARG005
            create_timing_cache=lambda data: data,
            set_timing_cache=set_timing_cache,
            get_timing_cache=lambda: serialized,
        )

    def _set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        self.shapes.setdefault(name, []).append(shapes)

    def _build(self, network: dict[str, bytes], config: object) -> bytes | None:  # noqa: ARG002
        if self.refuses and self.refuses.encode() in network["model"]:
            return None
        return b"engine of " + network["model"][:10]


@pytest.fixture(scope="module")
def built(narrow_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("engines") / "model_repository"
    shutil.copytree(MODEL_REPOSITORY, target, ignore=shutil.ignore_patterns("[1-9]*", ".*"))
    build(narrow_checkpoint, model_repository=target, version=1, precisions=["fp16"])
    return target


@pytest.fixture
def repository(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "model_repository"))


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """TensorRT and a GPU, as far as the code can tell."""
    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "tensorrt", stand_in)
    monkeypatch.setattr(tensorrt, "compute_capability", lambda: "9.0")
    return stand_in


def plan_files(repository: Path) -> set[str]:
    return {str(path.relative_to(repository)) for path in repository.glob("*/1/*plan*")}


def test_both_engines_are_built_and_described(
    package: StandIn, repository: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "caches" / "timing.cache"
    written = tensorrt.build_plans(repository, 1, timing_cache=cache)
    assert [path.parts[-3:] for path in written] == [
        (spec.name, "1", "model.plan") for spec in TOWERS
    ]
    assert package.network_flags == [2, 2]  # strongly typed
    for spec, plan in zip(TOWERS, written, strict=True):
        assert package.shapes[spec.input_name] == [
            (shapes.minimum, shapes.optimum, shapes.maximum)
            for shapes in tensorrt.shape_ranges(spec)
        ]
        record = PlanRecord.read(plan.with_name("model.plan.json"))
        source = plan.with_name("model.fp16.onnx")
        assert record.tensorrt == "10.5.0"
        assert record.compute_capability == "9.0"
        assert record.source_sha256 == file_sha256(source)
        assert record.checkpoint_sha256 == read_metadata(source).checkpoint_sha256
    # The second engine, and the next build, begin with what was measured so far.
    assert package.caches == [b"", b"timings"]
    with pytest.raises(ExportError, match="exists already; pass --overwrite to replace it"):
        tensorrt.build_plans(repository, 1, timing_cache=cache)
    tensorrt.build_plans(repository, 1, timing_cache=cache, overwrite=True)
    assert package.caches[2:] == [b"timings", b"timings"]


def test_a_timing_cache_of_another_gpu_is_replaced(
    package: StandIn, repository: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "timing.cache"
    cache.write_bytes(b"of another GPU")
    tensorrt.build_plans(repository, 1, timing_cache=cache)
    assert package.caches == [b"of another GPU", b"", b"timings"]
    assert cache.read_bytes() == b"timings"


def test_shapes_reach_from_one_window_to_a_full_batch() -> None:
    for spec in TOWERS:
        live, clips = tensorrt.shape_ranges(spec)
        assert live.minimum == clips.minimum == spec.input_shape(1, 1)
        assert live.optimum[0] == live.maximum[0] == clips.maximum[0] == tensorrt.MAX_BATCH
        assert all(a <= b for a, b in zip(live.maximum, clips.maximum, strict=True))
    live, clips = tensorrt.shape_ranges(VIDEO)
    assert live.optimum == (16, 29, 224, 224, 3)
    assert clips.optimum == (1, 124, 224, 224, 3)
    assert [shapes.optimum for shapes in tensorrt.shape_ranges(AUDIO)] == [
        (16, 45, 13, 20),
        (1, 140, 13, 20),
    ]


@pytest.mark.parametrize("refuses", [VIDEO, AUDIO])
def test_both_engines_or_neither(package: StandIn, repository: Path, refuses: Any) -> None:
    package.refuses = refuses.name
    with pytest.raises(TensorRTError, match=f"cannot build the {refuses.name}"):
        tensorrt.build_plans(repository, 1)
    assert plan_files(repository) == set()


def test_a_graph_that_tensorrt_cannot_read(package: StandIn, repository: Path) -> None:
    package.readable = False
    with pytest.raises(TensorRTError, match="cannot read the video_tower: no such operator"):
        tensorrt.build_plans(repository, 1)


def test_a_precision_that_was_not_exported(
    package: StandIn,  # noqa: ARG001
    repository: Path,
) -> None:
    with pytest.raises(ExportError, match=r"no such file: .*video_tower/1/model\.onnx"):
        tensorrt.build_plans(repository, 1, precision=FP32)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("package", "this needs TensorRT, which comes with"),
        ("gpu", "built on the GPU that runs them: none found here"),
    ],
)
def test_what_is_missing_is_said_exactly(
    missing: str,
    message: str,
    package: StandIn,  # noqa: ARG001
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if missing == "package":
        monkeypatch.setitem(sys.modules, "tensorrt", None)
    else:
        monkeypatch.setattr(tensorrt, "compute_capability", lambda: None)
    with pytest.raises(SystemExit) as ended:
        main(["tensorrt", "--model-repository", str(repository)])
    assert ended.value.code == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    assert plan_files(repository) == set()


# Before serving


@pytest.mark.parametrize(
    ("record", "source", "machine", "expected"),
    [
        (RECORD, "aa", FITTING, None),
        (RECORD, "aa", replace(FITTING, compute_capability=None), "no NVIDIA GPU"),
        (RECORD, "aa", replace(FITTING, compute_capability="8.6"), "capability 9.0, .* has 8.6"),
        (RECORD, "aa", replace(FITTING, tensorrt=None), "10.5.0.* is not installed"),
        (RECORD, "aa", replace(FITTING, tensorrt="10.5.1"), "built with TensorRT 10.5.0"),
        (RECORD, "bb", FITTING, "is not the file it was built from"),
        (RECORD, None, FITTING, "is not the file it was built from"),
    ],
)
def test_engines_that_do_not_fit(
    record: PlanRecord, source: str | None, machine: Machine, expected: str | None
) -> None:
    reason = misfit(record, source, machine)
    if expected is None:
        assert reason is None
    else:
        assert reason is not None
        assert re.search(expected, reason)


def test_versions_are_compared_by_three_numbers() -> None:
    assert version_number("10.5.0.18") == version_number("10.5.0.post1") == (10, 5, 0)


@pytest.fixture
def with_plans(
    package: StandIn,  # noqa: ARG001
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    tensorrt.build_plans(repository, 1)
    monkeypatch.setattr(plans, "compute_capability", lambda: "9.0")
    monkeypatch.setattr(plans, "tensorrt_version", lambda wanted: "10.5.0")  # noqa: ARG005
    return repository


def spoil_source(folder: Path) -> None:
    (folder / FP16.file_name).write_bytes(b"another")


def other_checkpoint(folder: Path) -> None:
    path = folder / "model.plan.json"
    replace(PlanRecord.read(path), checkpoint_sha256="another").write(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "model.plan").unlink(), "no engine .*build it with"),
        (lambda folder: (folder / "model.plan.json").unlink(), "missing or unreadable"),
        (lambda folder: (folder / "model.plan.json").write_text("{}"), "missing or unreadable"),
        (spoil_source, "cannot be served: model.fp16.onnx is not the file"),
        (other_checkpoint, "come from different checkpoints"),
    ],
)
def test_the_server_checks_engines_before_it_starts(
    change: Callable[[Path], object], message: str, with_plans: Path
) -> None:
    check_plans(with_plans, "tensorrt")
    change(with_plans / "video_tower" / "1")
    with pytest.raises(ServingError, match=message):
        check_plans(with_plans, "tensorrt")
    check_plans(with_plans, "int8")  # which serves no engines


def test_only_the_newest_version_counts(with_plans: Path) -> None:
    for spec in TOWERS:
        (with_plans / spec.name / "10").mkdir()
    with pytest.raises(ServingError, match=r"no engine .*10/model\.plan"):
        check_plans(with_plans, "tensorrt")


def test_no_gpu_is_no_compute_capability(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert plans.compute_capability() is None
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 8.9\n")
    smi.chmod(0o755)
    assert plans.compute_capability() == "8.9"


def test_a_library_that_is_not_there_has_no_version() -> None:
    assert plans.tensorrt_version("77.0.0") is None
