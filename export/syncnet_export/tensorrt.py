"""TensorRT engines of both towers, built on the GPU that will run them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from syncnet_client.defaults import DEFAULT_CHUNK, DEFAULT_VSHIFT, MAX_VSHIFT
from syncnet_client.download import file_sha256
from syncnet_export.errors import ExportError, TensorRTError
from syncnet_export.install import version_folders
from syncnet_export.metadata import require_one_source
from syncnet_export.precisions import FP16, Precision
from syncnet_export.tower_specs import TOWERS, VIDEO, TowerSpec
from syncnet_server.plans import PlanRecord, compute_capability, record_path

__all__ = [
    "LIVE_CHUNK",
    "MAX_BATCH",
    "ShapeRange",
    "build_engine",
    "build_plans",
    "configure",
    "read_network",
    "shape_ranges",
]

MAX_BATCH = 16  # `max_batch_size` of the towers in the profiles for GPUs
LIVE_CHUNK = 25  # windows: what a live stream sends each second


@dataclass(frozen=True)
class ShapeRange:
    """The shapes of an input that an engine takes, and the one it is made fastest for."""

    minimum: tuple[int, ...]
    optimum: tuple[int, ...]
    maximum: tuple[int, ...]


def shape_ranges(spec: TowerSpec) -> tuple[ShapeRange, ShapeRange]:
    """What live streams send, many at a time, and what clips send, one or a few at a time.

    Both reach from one window to their full batch, so every batch of up to `MAX_BATCH` chunks of up
    to `DEFAULT_CHUNK` windows fits one of them; Triton takes the one whose optimum is nearest. The
    audio tower's chunks are longer by the halo of vshift windows on each side.
    """
    halo, longest_halo = (0, 0) if spec is VIDEO else (2 * DEFAULT_VSHIFT, 2 * MAX_VSHIFT)
    minimum = spec.input_shape(1, 1)
    live = ShapeRange(
        minimum,
        optimum=spec.input_shape(MAX_BATCH, LIVE_CHUNK + halo),
        maximum=spec.input_shape(MAX_BATCH, LIVE_CHUNK + longest_halo),
    )
    clips = ShapeRange(
        minimum,
        optimum=spec.input_shape(1, DEFAULT_CHUNK + halo),
        maximum=spec.input_shape(MAX_BATCH, DEFAULT_CHUNK + longest_halo),
    )
    return live, clips


def build_plans(
    model_repository: Path,
    version: int,
    *,
    precision: Precision = FP16,
    timing_cache: Path | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> list[Path]:
    """Build engines of both towers from their ONNX files, and put in place both or neither.

    Networks are strongly typed: an engine computes in the types of its ONNX file.

    Args:
        model_repository: where the ONNX files are, and the engines go.
        version: of the towers there.
        precision: which ONNX files to build from, one with a `plan_name`.
        timing_cache: file with timings of kernels, read if it exists and written in the end; it
            makes the next build on the same kind of GPU take seconds. One from another version of
            TensorRT or another GPU is replaced.
        overwrite: whether engines that exist may be replaced.
        progress: told the name of each tower before it is built, which takes minutes.

    Returns:
        the engines

    Raises:
        TensorRTError: TensorRT or a GPU is missing, or it cannot build an engine.
        ExportError: an ONNX file is missing, they come from different checkpoints, or an engine
            exists.
    """
    trt = _import_tensorrt()
    assert precision.plan_name is not None
    plan_name = precision.plan_name
    capability = compute_capability()
    if capability is None:
        raise TensorRTError("TensorRT engines are built on the GPU that runs them: none found here")
    folders = version_folders(model_repository, version)
    for folder in folders.values():
        if (folder / plan_name).exists() and not overwrite:
            raise ExportError(
                f"{folder / plan_name} exists already; pass --overwrite to replace it"
            )
    sources = {spec.name: folders[spec.name] / precision.file_name for spec in TOWERS}
    checkpoint_sha256 = require_one_source(sources.values())
    timings = timing_cache.read_bytes() if timing_cache and timing_cache.is_file() else b""
    staged: dict[Path, Path] = {}  # temporary file to final one
    try:
        for spec in TOWERS:
            if progress is not None:
                progress(spec.name)
            source, folder = sources[spec.name], folders[spec.name]
            engine, timings = build_engine(trt, source.read_bytes(), spec, timings)
            record = PlanRecord(
                tensorrt=trt.__version__,
                compute_capability=capability,
                source=source.name,
                source_sha256=file_sha256(source),
                checkpoint_sha256=checkpoint_sha256,
            )
            plan = folder / plan_name
            new_plan, new_record = (
                path.with_name(f".{path.name}.new") for path in (plan, record_path(plan))
            )
            staged |= {new_plan: plan, new_record: record_path(plan)}
            new_plan.write_bytes(engine)
            record.write(new_record)
        for temporary, final in staged.items():
            temporary.replace(final)
    finally:
        for temporary in staged:
            temporary.unlink(missing_ok=True)
    if timing_cache is not None:
        timing_cache.parent.mkdir(parents=True, exist_ok=True)
        timing_cache.write_bytes(timings)
    return [folders[spec.name] / plan_name for spec in TOWERS]


def _import_tensorrt() -> ModuleType:
    try:
        import tensorrt
    except ImportError as error:
        raise TensorRTError(
            "this needs TensorRT, which comes with NVIDIA's TensorRT container: run this there"
        ) from error
    module: ModuleType = tensorrt
    return module


def read_network(trt: Any, builder: Any, logger: Any, model: bytes, name: str) -> Any:
    """A strongly typed network from an ONNX model.

    Args:
        trt: the package, TensorRT or TensorRT for RTX.
        builder: its builder.
        logger: its logger.
        model: the bytes of the ONNX file.
        name: of the tower, for errors.

    Raises:
        TensorRTError: the parser refuses the model.
    """
    # TensorRT 11 knows no other networks, and ignores this.
    strongly_typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(strongly_typed)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        reasons = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
        raise TensorRTError(f"TensorRT cannot read the {name}: {reasons}")
    return network


def configure(builder: Any, spec: TowerSpec) -> Any:
    """How the engine of a tower is built: one optimisation profile for each of `shape_ranges`."""
    config = builder.create_builder_config()
    for shapes in shape_ranges(spec):
        profile = builder.create_optimization_profile()
        profile.set_shape(spec.input_name, shapes.minimum, shapes.optimum, shapes.maximum)
        config.add_optimization_profile(profile)
    return config


def build_engine(
    trt: Any, model: bytes, spec: TowerSpec, timings: bytes = b""
) -> tuple[bytes, bytes]:
    """The engine of an ONNX model, and the timing cache with what was measured for it.

    Args:
        trt: the package.
        model: the bytes of the ONNX file.
        spec: of the tower.
        timings: the timing cache to begin with.

    Raises:
        TensorRTError: TensorRT cannot read the model or build the engine.
    """
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = read_network(trt, builder, logger, model, spec.name)
    config = configure(builder, spec)
    _use_timings(config, timings)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise TensorRTError(f"TensorRT cannot build the {spec.name}; its log says why")
    return bytes(plan), bytes(config.get_timing_cache().serialize())


def _use_timings(config: Any, timings: bytes) -> None:
    """Begin with these timings, or with none where they are of another TensorRT or GPU."""
    cache = config.create_timing_cache(timings)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
