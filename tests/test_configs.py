"""Every config.pbtxt and every profile as Triton parses them, against each other and the graphs."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest
from conftest import MODEL_REPOSITORY
from google.protobuf import text_format
from onnx import TensorProto
from tritonclient.grpc import model_config_pb2 as triton

from syncnet_client.defaults import DEFAULT_CHUNK, DEFAULT_VSHIFT
from syncnet_export.fp16 import to_fp16
from syncnet_export.int8 import calibrate, quantise
from syncnet_export.network import SyncNet
from syncnet_export.precisions import FP16, INT8, INT8_AMX, INT8_TRT, PRECISIONS
from syncnet_export.reference import seeded_inputs
from syncnet_export.served_tower import serving_form
from syncnet_export.tensorrt import LIVE_CHUNK, MAX_BATCH, shape_ranges
from syncnet_export.tower_specs import TOWERS, TowerSpec
from syncnet_export.tracing import trace

CONFIGS = sorted(MODEL_REPOSITORY.glob("*/config.pbtxt"))
PROFILES = sorted(MODEL_REPOSITORY.glob("*/configs/*.pbtxt"))
TYPES = {
    TensorProto.UINT8: triton.TYPE_UINT8,
    TensorProto.FLOAT: triton.TYPE_FP32,
}
CPU_BATCH = 2  # chunks: their activations bound the memory of a server
# Profile: backend, file, kind of instance, chunks in a batch.
EXPECTED = {
    "int8": ("onnxruntime", INT8.file_name, "KIND_CPU", CPU_BATCH),
    "int8-amx": ("onnxruntime", INT8_AMX.file_name, "KIND_CPU", CPU_BATCH),
    "fp16": ("onnxruntime", FP16.file_name, "KIND_AUTO", MAX_BATCH),
    "tensorrt": ("tensorrt", FP16.plan_name, "KIND_GPU", MAX_BATCH),
    "tensorrt-int8": ("tensorrt", INT8_TRT.plan_name, "KIND_GPU", MAX_BATCH),
    "tensorrt-ep": ("onnxruntime", FP16.file_name, "KIND_GPU", MAX_BATCH),
}
ON_GPU = [name for name, (*_, batch) in EXPECTED.items() if batch == MAX_BATCH]
TOWER_PROFILES = [path for path in PROFILES if path.parts[-3] != "mfcc"]


def parse(path: Path) -> triton.ModelConfig:
    return text_format.Parse(path.read_text(), triton.ModelConfig())


def model_of(path: Path) -> str:
    return path.relative_to(MODEL_REPOSITORY).parts[0]


def tensors(values: list[triton.ModelInput]) -> list[tuple[str, int, list[int]]]:
    return [(value.name, value.data_type, list(value.dims)) for value in values]


@pytest.fixture(scope="module")
def graphs(narrow_weights: dict[str, object]) -> dict[tuple[str, str], onnx.GraphProto]:
    """The graph of each tower in each ONNX file, by the names of the tower and the file."""
    network = SyncNet.from_state_dict(narrow_weights)
    result = {}
    for spec in TOWERS:
        for precision in PRECISIONS:
            form = {"aligned": precision.aligned, "bytes_first": precision.bytes_first}
            model = trace(serving_form(network, spec, **form))
            if precision.integer:
                statistics = calibrate(model, [seeded_inputs(0, windows=1).of(spec)[None]])
                quantise(model, statistics, precision.integer)
            if precision.half:
                to_fp16(model)
            result[spec.name, precision.file_name] = model.graph
    return result


def test_all_models_are_there() -> None:
    names = {"syncnet", "mfcc", "video_tower", "audio_tower", "shift_distance", "sync_metrics"}
    assert {model_of(path) for path in CONFIGS} == names
    profiles = {(model_of(path), path.stem) for path in PROFILES}
    towers = {(spec.name, name) for spec in TOWERS for name in EXPECTED}
    assert profiles == towers | {("mfcc", name) for name in ON_GPU}


@pytest.mark.parametrize(
    "path", CONFIGS + PROFILES, ids=lambda path: str(path.relative_to(MODEL_REPOSITORY))
)
def test_every_config_parses_and_batches(path: Path) -> None:
    config = parse(path)
    assert config.name == model_of(path)
    assert path in PROFILES or config.max_batch_size == CPU_BATCH
    assert config.input
    assert config.output
    assert config.name == "syncnet" or config.HasField("dynamic_batching")


@pytest.mark.parametrize("path", TOWER_PROFILES, ids=lambda path: f"{model_of(path)}-{path.stem}")
def test_profiles_change_how_a_tower_runs_and_not_what_it_is(path: Path) -> None:
    profile, default = parse(path), parse(path.parents[1] / "config.pbtxt")
    assert tensors(profile.input) == tensors(default.input)
    assert tensors(profile.output) == tensors(default.output)
    (group,) = profile.instance_group
    kind = triton.ModelInstanceGroup.Kind.Name(group.kind)
    what_runs = (profile.backend, profile.default_model_filename, kind, profile.max_batch_size)
    assert what_runs == EXPECTED[path.stem]


@pytest.mark.parametrize("name", ON_GPU)
def test_a_gpu_has_more_processes_for_mfcc(name: str) -> None:
    profile = parse(MODEL_REPOSITORY / "mfcc" / "configs" / f"{name}.pbtxt")
    default = parse(MODEL_REPOSITORY / "mfcc" / "config.pbtxt")
    assert (default.instance_group[0].count, profile.instance_group[0].count) == (1, 4)
    profile.instance_group[0].count = 1
    assert profile == default


@pytest.mark.parametrize(
    "path",
    [path for path in CONFIGS + PROFILES if model_of(path) in {spec.name for spec in TOWERS}],
    ids=lambda path: f"{model_of(path)}-{path.stem}",
)
def test_towers_match_their_graphs(
    path: Path, graphs: dict[tuple[str, str], onnx.GraphProto]
) -> None:
    config = parse(path)
    file_name = config.default_model_filename
    # An engine has the tensors of the ONNX file it is built from.
    sources = {precision.plan_name: precision.file_name for precision in PRECISIONS}
    graph = graphs[config.name, sources.get(file_name, file_name)]
    for declared, actual in ((config.input, graph.input), (config.output, graph.output)):
        assert len(declared) == len(actual)
        for tensor, value in zip(declared, actual, strict=True):
            kind = value.type.tensor_type
            assert tensor.name == value.name
            assert tensor.data_type == TYPES[kind.elem_type]
            # The batch is free and not declared; -1 stands where the graph has a name, only there.
            batch, *dims = kind.shape.dim
            assert batch.dim_param == "batch"
            assert list(tensor.dims) == [-1 if dim.dim_param else dim.dim_value for dim in dims]


def test_ensemble_steps_fit_together() -> None:
    configs = {model_of(path): parse(path) for path in CONFIGS}
    ensemble = configs["syncnet"]
    known = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in ensemble.input}
    steps = ensemble.ensemble_scheduling.step
    assert {step.model_name for step in steps} == set(configs) - {"syncnet"}
    for step in steps:
        model = configs[step.model_name]
        inputs = {name: (kind, dims) for name, kind, dims in tensors(model.input)}
        assert set(step.input_map) == {each.name for each in model.input if not each.optional}
        for name, source in step.input_map.items():
            assert known[source] == inputs[name], f"{step.model_name}.{name} from {source}"
        known |= {
            step.output_map[name]: (kind, dims)
            for name, kind, dims in tensors(model.output)
            if name in step.output_map
        }
    for name, kind, dims in tensors(ensemble.output):
        assert known[name] == (kind, dims)


@pytest.mark.parametrize("spec", TOWERS, ids=lambda spec: spec.name)
def test_both_ways_to_tensorrt_take_the_same_shapes(spec: TowerSpec) -> None:
    config = parse(MODEL_REPOSITORY / spec.name / "configs" / "tensorrt-ep.pbtxt")
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    written = {
        name: accelerator.parameters[f"trt_profile_{name}_shapes"] for name in ("min", "opt", "max")
    }
    _, shapes = shape_ranges(spec)
    for name, shape in zip(written, (shapes.minimum, shapes.optimum, shapes.maximum), strict=True):
        assert written[name] == f"{spec.input_name}:{'x'.join(map(str, shape))}"
    usual = DEFAULT_CHUNK + (0 if spec.surplus else 2 * DEFAULT_VSHIFT)
    assert shapes.optimum == spec.input_shape(1, usual)


@pytest.mark.parametrize("spec", TOWERS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-int8"])
def test_an_instance_takes_all_optimisation_profiles_of_its_engine(
    spec: TowerSpec, name: str
) -> None:
    (group,) = parse(MODEL_REPOSITORY / spec.name / "configs" / f"{name}.pbtxt").instance_group
    assert list(group.profile) == [str(number) for number in range(len(shape_ranges(spec)))]


@pytest.mark.parametrize("spec", TOWERS, ids=lambda spec: spec.name)
def test_profiles_for_gpus_are_warmed_up_with_the_usual_lengths(spec: TowerSpec) -> None:
    halo = 0 if spec.surplus else 2 * DEFAULT_VSHIFT
    usual = {chunk + halo + spec.surplus for chunk in (DEFAULT_CHUNK, LIVE_CHUNK)}
    for name, (_, _, _, batch) in EXPECTED.items():
        config = parse(MODEL_REPOSITORY / spec.name / "configs" / f"{name}.pbtxt")
        lengths = {sample.inputs[spec.input_name].dims[0] for sample in config.model_warmup}
        assert lengths == (usual if batch == MAX_BATCH else set())


def test_towers_on_cpus_plan_no_memory() -> None:
    """Plans of each length are kept; without them two full chunks fit into 2 GB."""
    for path in (path for path in CONFIGS + PROFILES if model_of(path).endswith("_tower")):
        config = parse(path)
        if config.max_batch_size == CPU_BATCH:
            assert config.parameters["enable_mem_pattern"].string_value == "0"


def test_no_profile_for_gpus_searches_algorithms_for_every_length() -> None:
    for path in (path for path in CONFIGS + PROFILES if model_of(path).endswith("_tower")):
        config = parse(path)
        if config.backend == "onnxruntime" and path.stem not in ("int8", "int8-amx"):
            assert config.parameters["cudnn_conv_algo_search"].string_value == "1"  # HEURISTIC


def test_parameters_are_those_that_the_native_backend_knows() -> None:
    known = {
        "precision_mode",
        "max_workspace_size_bytes",
        *(f"trt_profile_{name}_shapes" for name in ("min", "opt", "max")),
        *(
            f"trt_{cache}_cache_{what}"
            for cache in ("engine", "timing")
            for what in ("enable", "path")
        ),
    }
    for path in PROFILES:
        if path.stem == "tensorrt-ep" and path in TOWER_PROFILES:
            config = parse(path)
            (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
            assert set(accelerator.parameters) == known


def test_thread_counts_are_strings() -> None:
    for path in CONFIGS + PROFILES:
        for name, value in parse(path).parameters.items():
            if name.endswith("_thread_count"):
                assert re.fullmatch(r"\d+", value.string_value)
