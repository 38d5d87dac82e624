"""From a checkpoint to verified files in a model repository: every step, and every refusal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from conftest import MODEL_REPOSITORY, NARROW_WIDTH, Trace
from onnx import TensorProto, numpy_helper
from torch import Tensor

from syncnet_export import (
    CheckpointError,
    ExportError,
    VerificationError,
    build,
    exporter,
    load_checkpoint,
    save_checkpoint,
)
from syncnet_export.building import Build
from syncnet_export.cli import main
from syncnet_export.fp16 import to_fp16
from syncnet_export.grouping import run_in_groups
from syncnet_export.install import install, installed_versions, next_version, staged
from syncnet_export.int8 import calibrate, quantise
from syncnet_export.metadata import read_metadata, require_one_source
from syncnet_export.mixed import LayerChoice
from syncnet_export.network import SyncNet, random_checkpoint
from syncnet_export.onnx_files import embed, open_session, read_model, write_model
from syncnet_export.precisions import (
    FP32,
    INT8,
    INT8_AMX,
    PRECISIONS,
    Precision,
)
from syncnet_export.reference import Inputs, published_embeddings, seeded_inputs
from syncnet_export.served_tower import serving_form
from syncnet_export.tower_files import TowerFile, find_files
from syncnet_export.tower_specs import AUDIO, TOWERS, VIDEO, TowerSpec
from syncnet_export.tracing import store_half_weights, trace
from syncnet_export.verify import verify
from syncnet_server.processor import has_vnni

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `syncnet-export`; gives its exit status, stdout and stderr."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def network(narrow_weights: dict[str, Tensor]) -> SyncNet:
    return SyncNet.from_state_dict(narrow_weights)


@pytest.fixture(scope="module", params=TOWERS, ids=lambda spec: spec.name)
def spec(request: pytest.FixtureRequest) -> TowerSpec:
    tower: TowerSpec = request.param
    return tower


@pytest.fixture(scope="module")
def traced(network: SyncNet, trace_once: Trace) -> Callable[[TowerSpec, bool], onnx.ModelProto]:
    """A copy of a traced tower, of floats or to be quantised for CPUs."""

    def copy(spec: TowerSpec, integer: bool) -> onnx.ModelProto:
        return trace_once(serving_form(network, spec, aligned=integer, bytes_first=integer))

    return copy


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A model repository without towers' files."""
    target = tmp_path / "model_repository"
    shutil.copytree(
        MODEL_REPOSITORY, target, ignore=shutil.ignore_patterns("*.onnx", "*.plan*", "[2-9]", ".*")
    )
    return target


@pytest.fixture(scope="module")
def exported(all_precisions: tuple[Path, Build]) -> Path:
    """A repository whose version 1 has every precision; read only."""
    return all_precisions[0]


def quantise_on(
    model: onnx.ModelProto, spec: TowerSpec, inputs: Inputs, precision: Precision
) -> None:
    """Turn a traced tower into an int8 one, calibrated on these inputs."""
    assert precision.integer is not None
    quantise(model, calibrate(model, [inputs.of(spec)[None]]), precision.integer)


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def relative_error(actual: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    return float((np.linalg.norm(actual - expected, axis=-1) / np.linalg.norm(expected)).max())


# Checkpoints


def test_published_and_safetensors_files_hold_the_same_network(
    narrow_weights: dict[str, Tensor], narrow_checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "narrow.safetensors"
    save_checkpoint(path, narrow_weights)
    one, other = load_checkpoint(narrow_checkpoint), load_checkpoint(path)
    assert one.sha256 != other.sha256
    assert not one.half
    for key, tensor in narrow_weights.items():
        assert torch.equal(one.state_dict[key], tensor)
        assert torch.equal(other.state_dict[key], tensor)


def test_counters_of_batch_norm_may_be_absent(
    narrow_weights: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "old.model"
    torch.save({k: v for k, v in narrow_weights.items() if "num_batches" not in k}, path)
    assert load_checkpoint(path).network().netcnnlip[0].out_channels == 8


def misshapen(weights: dict[str, Tensor]) -> None:
    weights["netcnnlip.4.weight"] = weights["netcnnlip.4.weight"][:, :3]


def short_embeddings(weights: dict[str, Tensor]) -> None:
    for tower in ("netfcaud", "netfclip"):
        for part in ("weight", "bias"):
            weights[f"{tower}.3.{part}"] = weights[f"{tower}.3.{part}"][:128]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("netfcaud.0.bias"), "missing netfcaud.0.bias"),
        (
            lambda weights: weights.update(extra=torch.zeros(1)),
            "unexpected extra",
        ),
        (misshapen, "netcnnlip.4.weight has shape"),
        (short_embeddings, "embeddings have 128 values"),
        (
            lambda weights: weights["netcnnaud.0.weight"].view(-1)[:1].fill_(float("nan")),
            "netcnnaud.0.weight holds values that are not finite",
        ),
    ],
)
def test_tensors_that_are_not_syncnet_are_named(
    change: Callable[[dict[str, Tensor]], object],
    message: str,
    narrow_weights: dict[str, Tensor],
    tmp_path: Path,
) -> None:
    weights = {key: tensor.clone() for key, tensor in narrow_weights.items()}
    change(weights)
    torch.save(weights, tmp_path / "changed.model")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "changed.model")


class _Intruder:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return print, ("code from a pickle ran",)


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("text.model", b"hello", "text.model: not a"),
        ("empty.model", b"", "not a readable checkpoint"),
        ("text.safetensors", b"hello", "not a readable checkpoint"),
    ],
)
def test_files_that_are_no_checkpoints_are_refused(
    name: str, contents: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(contents)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / name)


def test_code_in_a_checkpoint_does_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"netcnnaud.0.weight": _Intruder()}, tmp_path / "code.model")
    with pytest.raises(CheckpointError, match="refused"):
        load_checkpoint(tmp_path / "code.model")
    assert "ran" not in capsys.readouterr().out


def test_a_list_of_tensors_is_no_state_dict(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "list.model")
    with pytest.raises(CheckpointError, match="holds a list"):
        load_checkpoint(tmp_path / "list.model")


# The form that is served


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("bytes_first", [False, True])
def test_serving_form_is_the_published_network(
    network: SyncNet, spec: TowerSpec, aligned: bool, bytes_first: bool
) -> None:
    inputs = [seeded_inputs(seed, windows=3) for seed in (0, 1)]
    expected = [published_embeddings(network, one) for one in inputs]
    batch = torch.from_numpy(np.stack([one.of(spec) for one in inputs]))
    with torch.inference_mode():
        tower = serving_form(network, spec, aligned=aligned, bytes_first=bytes_first)
        actual = tower(batch).numpy()
    assert actual.shape == (2, 3, 1024)
    for row, reference in zip(actual, expected, strict=True):
        side = reference.video if spec is VIDEO else reference.audio
        assert relative_error(row, side) < 1e-5


def test_colours_are_not_mixed_up(network: SyncNet) -> None:
    inputs = seeded_inputs(0, windows=1)
    swapped = Inputs(np.ascontiguousarray(inputs.frames[..., ::-1]), inputs.mfcc)
    tower = serving_form(network, VIDEO)
    with torch.inference_mode():
        actual = tower(torch.from_numpy(swapped.frames)[None])[0].numpy()
    assert relative_error(actual, published_embeddings(network, inputs).video) > 0.01


# Graphs


def test_tracing_gives_the_same_bytes_again(
    network: SyncNet, spec: TowerSpec, trace_once: Trace
) -> None:
    first, second = (each(serving_form(network, spec)) for each in (trace_once, trace))
    assert first.SerializeToString() == second.SerializeToString()


def test_files_hold_no_paths_of_the_machine(
    traced: Callable[[TowerSpec, bool], onnx.ModelProto], spec: TowerSpec
) -> None:
    contents = traced(spec, False).SerializeToString()
    assert b"site-packages" not in contents
    assert b".py" not in contents


@pytest.mark.parametrize(("batch", "windows"), [(1, 1), (3, 2), (2, 7)])
def test_batch_and_length_are_free(
    traced: Callable[[TowerSpec, bool], onnx.ModelProto],
    spec: TowerSpec,
    batch: int,
    windows: int,
) -> None:
    session = open_session(traced(spec, False).SerializeToString())
    inputs = np.zeros(spec.input_shape(batch, windows), spec.input_type)
    assert embed(session, spec, inputs).shape == (batch, windows, 1024)


def test_shapes_are_not_read_from_bytes(
    traced: Callable[[TowerSpec, bool], onnx.ModelProto],
) -> None:
    graph = traced(VIDEO, False).graph
    readers = [node.op_type for node in graph.node if "FRAMES" in node.input]
    assert readers == ["Cast"]


def test_too_few_frames_are_no_windows_and_not_an_error(
    traced: Callable[[TowerSpec, bool], onnx.ModelProto], spec: TowerSpec
) -> None:
    """What is missing is said by the model that takes the embeddings, in a sentence."""
    model = traced(spec, False)
    if spec is VIDEO:
        run_in_groups(model)
    session = open_session(model.SerializeToString())
    for count in (0, spec.surplus):
        inputs = np.zeros((2, count, *spec.input_dims), spec.input_type)
        assert embed(session, spec, inputs).shape == (2, 0, 1024)


@pytest.mark.parametrize("windows", [1, 2, 3, 4, 5, 9])
def test_groups_of_windows_change_nothing(
    traced: Callable[[TowerSpec, bool], onnx.ModelProto], windows: int
) -> None:
    whole, grouped = traced(VIDEO, False), traced(VIDEO, False)
    run_in_groups(grouped)
    onnx.checker.check_model(grouped, full_check=True)
    generator = np.random.default_rng(windows)
    frames = generator.integers(0, 256, VIDEO.input_shape(2, windows), dtype=np.uint8)
    expected, actual = (
        embed(open_session(model.SerializeToString()), VIDEO, frames) for model in (whole, grouped)
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_inner_values_are_named_after_the_checkpoint(
    exported: Path, repository: Path, narrow_checkpoint: Path, tmp_path: Path
) -> None:
    """ONNX Runtime finds TensorRT engines again by these names."""
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, random_checkpoint(seed=9, width=NARROW_WIDTH))
    build(other, model_repository=repository, version=1)
    for spec in TOWERS:
        names = []
        for folder in (exported, repository):
            graph = read_model(folder / spec.name / "1" / FP32.file_name).graph
            kept = {value.name for value in (*graph.input, *graph.output)}
            assert kept == {spec.input_name, spec.output_name}
            outputs = {name for node in graph.node for name in node.output} - kept
            names.append({graph.name, *outputs, *(tensor.name for tensor in graph.initializer)})
        assert not names[0] & names[1]
        digits = load_checkpoint(narrow_checkpoint).sha256[:12]
        assert all(digits in name for name in names[0])


def test_layers_return_to_fp32_until_the_tolerance_holds() -> None:
    errors = {"a": 0.01, "b": 0.03, "c": 0.02}
    choice = LayerChoice(
        list(errors), 0.03, lambda kept: sum(errors[name] for name in errors if name not in kept)
    )
    choice.settle()
    assert choice.kept == ["b", "c"]  # 0.06, 0.03, 0.01; the margin makes 0.027 of 0.03
    assert choice.keep_another()
    assert not choice.keep_another()


def test_what_passed_is_installed_when_a_precision_fails(
    repository: Path, narrow_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    def refuse(model: onnx.ModelProto) -> None:
        raise ExportError(f"{model.graph.name}: too large for fp16")

    monkeypatch.setattr(exporter, "to_fp16", refuse)
    status, _, errors = command(
        *("build", "--weights", narrow_checkpoint, "--model-repository", repository),
        *("--precision", "fp32,fp16"),
    )
    assert status == 1
    assert errors == "syncnet-export: not installed: fp16: video_tower: too large for fp16\n"
    assert [file.precision for file in find_files(repository, 2)] == [FP32, FP32]


def test_fp16_is_half_precision_from_end_to_end(
    traced: Callable[[TowerSpec, bool], onnx.ModelProto], spec: TowerSpec
) -> None:
    model = traced(spec, False)
    to_fp16(model)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    types = {value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    assert types == {TensorProto.FLOAT16, TensorProto.INT64}
    weights = {tensor.data_type for tensor in model.graph.initializer}
    assert weights == {TensorProto.FLOAT16, TensorProto.INT64}
    assert model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT


def test_weights_beyond_fp16_are_refused(
    traced: Callable[[TowerSpec, bool], onnx.ModelProto],
) -> None:
    model = traced(AUDIO, False)
    weight = next(t for t in model.graph.initializer if t.name == "layers.0.weight")
    values = numpy_helper.to_array(weight) * 1e9
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    with pytest.raises(ExportError, match=r"layers\.0\.weight has values too large"):
        to_fp16(model)


@pytest.mark.parametrize("precision", [INT8, INT8_AMX])
def test_every_convolution_behind_bytes_becomes_an_integer_one(
    traced: Callable[[TowerSpec, bool], onnx.ModelProto],
    spec: TowerSpec,
    tmp_path: Path,
    precision: Precision,
) -> None:
    model = traced(spec, True)
    quantise_on(model, spec, seeded_inputs(0, windows=2), precision)
    write_model(model, tmp_path / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        tmp_path / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    operators = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    # The first audio convolution is left in fp32, the last of both towers is fully connected.
    assert operators.count("QLinearConv") == (5 if spec is VIDEO else 4)
    assert operators.count("Conv") == (0 if spec is VIDEO else 1)
    assert operators.count("QuantizeLinear") == (0 if spec is VIDEO else 1)


@pytest.mark.skipif(not has_vnni(), reason="without VNNI, sums of products may overflow")
def test_the_form_for_amx_gives_the_same_bits(
    traced: Callable[[TowerSpec, bool], onnx.ModelProto], spec: TowerSpec
) -> None:
    embeddings, weights = [], []
    for precision in (INT8, INT8_AMX):
        model = traced(spec, True)
        quantise_on(model, spec, seeded_inputs(3, windows=8), precision)
        session = open_session(model.SerializeToString())
        embeddings.append(embed(session, spec, seeded_inputs(4, windows=8).of(spec)[None]))
        weights.append(
            [
                numpy_helper.to_array(tensor).astype(int)
                for tensor in model.graph.initializer
                if tensor.name.endswith("weight.integer")
            ]
        )
    np.testing.assert_array_equal(*embeddings)
    for plain, moved in zip(*weights, strict=True):
        np.testing.assert_array_equal(plain - 1, moved)


def test_bias_correction_makes_int8_better(
    traced: Callable[[TowerSpec, bool], onnx.ModelProto],
    network: SyncNet,
) -> None:
    calibration, test = seeded_inputs(3, windows=8), seeded_inputs(4, windows=8)
    expected = published_embeddings(network, test).video
    errors = []
    for correct in (True, False):
        model = traced(VIDEO, True)
        statistics = calibrate(model, [calibration.frames[None]])
        if not correct:
            statistics = {
                name: replace(layer, input_means=np.zeros_like(layer.input_means))
                for name, layer in statistics.items()
            }
        quantise(model, statistics, INT8.integer)
        actual = embed(open_session(model.SerializeToString()), VIDEO, test.frames[None])[0]
        errors.append(np.linalg.norm(actual - expected))
    assert errors[0] < errors[1]


def test_half_weights_are_half_the_size_and_exact(tmp_path: Path, spec: TowerSpec) -> None:
    path = tmp_path / "half.safetensors"
    save_checkpoint(path, random_checkpoint(seed=5, width=0.25), half=True)
    checkpoint = load_checkpoint(path)
    assert checkpoint.half
    tower = serving_form(checkpoint.network(), spec)
    model = trace(tower)
    full_size = len(model.SerializeToString())
    full = embed(open_session(model.SerializeToString()), spec, seeded_inputs(0).of(spec)[None])
    store_half_weights(model, tower.weights)
    write_model(model, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").stat().st_size < 0.55 * full_size
    half = embed(open_session(tmp_path / "model.onnx"), spec, seeded_inputs(0).of(spec)[None])
    assert relative_error(half[0], full[0]) < 1e-6


def test_newer_graphs_than_triton_reads_are_refused(
    traced: Callable[[TowerSpec, bool], onnx.ModelProto], tmp_path: Path
) -> None:
    model = traced(AUDIO, False)
    model.ir_version = 11
    with pytest.raises(ExportError, match="IR 11"):
        write_model(model, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


# Building


def test_all_precisions_are_verified_and_say_what_they_are(
    exported: Path, narrow_checkpoint: Path
) -> None:
    files = find_files(exported, 1)
    assert [file.precision for file in files] == [one for one in PRECISIONS for _ in TOWERS]
    sha256 = load_checkpoint(narrow_checkpoint).sha256
    for file in files:
        metadata = read_metadata(file.path)
        assert metadata.tower == file.spec.name
        assert metadata.precision == file.precision.name
        assert metadata.checkpoint_sha256 == sha256
        assert "MIT" in metadata.licence
        assert metadata.calibration == ("clip.mp4" if file.precision.integer else "")
    assert require_one_source(file.path for file in files) == sha256


def test_versions_count_up_and_1_belongs_to_the_project(
    repository: Path, narrow_checkpoint: Path
) -> None:
    assert next_version(repository) == 2
    assert build(narrow_checkpoint, model_repository=repository).version == 2
    assert installed_versions(repository) == [2]
    assert next_version(repository) == 3


def put(repository: Path, version: int, text: str, *, replace: bool = False) -> None:
    """Install towers that are files of text."""
    with staged(repository) as folders:
        for folder in folders.values():
            (folder / "model.onnx").write_text(text)
        if text == "half":
            shutil.rmtree(folders[AUDIO.name])
        install(folders, repository, version, replace=replace)


def contents(repository: Path, version: int) -> list[str]:
    """What the version's towers hold; nothing else may lie beside them."""
    assert not list(repository.glob("*/.*"))
    folders = [repository / spec.name / str(version) for spec in TOWERS]
    assert all([path.name for path in folder.iterdir()] == ["model.onnx"] for folder in folders)
    return [(folder / "model.onnx").read_text() for folder in folders]


def test_a_version_is_replaced_only_on_request(repository: Path) -> None:
    put(repository, 7, "old")
    (repository / "video_tower" / "7" / "model.plan").touch()
    with pytest.raises(ExportError, match="version 7 exists"):
        put(repository, 7, "new")
    put(repository, 7, "new", replace=True)
    assert contents(repository, 7) == ["new", "new"]


def test_both_towers_or_neither(repository: Path) -> None:
    put(repository, 3, "old")
    with pytest.raises(ExportError, match="cannot install version 3"):
        put(repository, 3, "half", replace=True)
    assert contents(repository, 3) == ["old", "old"]


def test_others_may_read_what_is_installed(repository: Path) -> None:
    put(repository, 2, "new")
    for spec in TOWERS:
        mode = (repository / spec.name / "2").stat().st_mode
        assert mode & 0o777 == (repository / spec.name).stat().st_mode & 0o777


def test_what_fails_verification_is_not_installed(
    repository: Path, narrow_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(model: onnx.ModelProto) -> None:
        weight = next(t for t in model.graph.initializer if t.name == "layers.0.weight")
        values = numpy_helper.to_array(weight) * np.float32(1.01)
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))
        to_fp16(model)

    monkeypatch.setattr(exporter, "to_fp16", spoil)
    before = files_below(repository)
    with pytest.raises(VerificationError, match=r"nothing was installed: .*fp16"):
        build(narrow_checkpoint, model_repository=repository, precisions=["fp16"])
    assert files_below(repository) == before
    assert not list(repository.glob("*/.*"))


def test_a_folder_that_is_no_model_repository_is_refused(
    tmp_path: Path, narrow_checkpoint: Path
) -> None:
    with pytest.raises(ExportError, match="not a SyncNet model repository"):
        build(narrow_checkpoint, model_repository=tmp_path)


def test_a_pair_of_two_checkpoints_is_refused(
    exported: Path, repository: Path, tmp_path: Path, command: Command
) -> None:
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, random_checkpoint(seed=9, width=NARROW_WIDTH))
    build(other, model_repository=repository, version=1)
    shutil.copy(
        exported / "audio_tower" / "1" / "model.onnx",
        repository / "audio_tower" / "1" / "model.onnx",
    )
    with pytest.raises(ExportError, match="different checkpoints"):
        require_one_source(file.path for file in find_files(repository, 1))
    for name in ("verify", "inspect"):
        weights = ["--weights", other] if name == "verify" else []
        status, _, errors = command(name, "--model-repository", repository, *weights)
        assert status == 1
        assert "different checkpoints" in errors


def test_half_a_pair_is_refused(exported: Path, repository: Path) -> None:
    (repository / "video_tower" / "1").mkdir(exist_ok=True)
    shutil.copy(exported / "video_tower" / "1" / "model.onnx", repository / "video_tower/1")
    with pytest.raises(ExportError, match="half a pair of fp32 towers"):
        find_files(repository, 1)


# Verification


def test_scores_are_compared_on_clips(exported: Path, network: SyncNet, talking_clip: Path) -> None:
    report = verify(
        find_files(exported, 1), network, clips=[talking_clip], model_repository=exported
    )
    assert report.failures == []
    assert {check.inputs for check in report.embeddings} == {"seeded", "clip.mp4"}
    assert [check.precision for check in report.scores] == [
        precision.name for precision in PRECISIONS
    ]
    fp32, _, int8, *_ = report.scores
    assert fp32.exported.offset == fp32.published.offset
    assert fp32.exported.confidence == pytest.approx(fp32.published.confidence, rel=1e-4)
    assert 0 < int8.confidence_error < 0.05


def test_other_weights_fail_verification(exported: Path, tmp_path: Path, command: Command) -> None:
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, random_checkpoint(seed=9, width=NARROW_WIDTH))
    status, output, errors = command(
        "verify", "--weights", other, "--model-repository", exported, "--json"
    )
    assert status == 1
    report = json.loads(output)
    assert not report["passed"]
    assert not any(check["passed"] for check in report["embeddings"])
    assert errors.startswith(
        f"syncnet-export: {other} is another checkpoint than that of version 1: its sha256 is "
    )


def test_verify_and_inspect_from_the_command_line(
    exported: Path, narrow_checkpoint: Path, talking_clip: Path, command: Command
) -> None:
    repository = ("--model-repository", exported)
    status, output, errors = command(
        "verify", talking_clip, "--weights", narrow_checkpoint, "--json", *repository
    )
    assert (status, errors) == (0, "")
    report = json.loads(output)
    assert report["passed"]
    assert report["scores"][0]["published"]["offset"] == report["scores"][0]["exported"]["offset"]
    status, output, _ = command("verify", "--weights", narrow_checkpoint, *repository)
    assert status == 0
    assert output.count("pass") == 2 * len(PRECISIONS)
    status, output, _ = command("inspect", "--json", *repository)
    assert status == 0
    entries = json.loads(output)
    assert [entry["precision"] for entry in entries] == [
        precision.name for precision in PRECISIONS for _ in TOWERS
    ]
    status, output, _ = command("inspect", *repository)
    assert status == 0
    assert "checkpoint" in output


def test_a_file_from_elsewhere_has_no_metadata(
    traced: Callable[[TowerSpec, bool], onnx.ModelProto], tmp_path: Path
) -> None:
    write_model(traced(AUDIO, False), tmp_path / "model.onnx")
    with pytest.raises(ExportError, match="carries no export metadata"):
        read_metadata(tmp_path / "model.onnx")
    (tmp_path / "model.onnx").write_bytes(b"no ONNX")
    with pytest.raises(ExportError, match="not an ONNX file"):
        read_model(tmp_path / "model.onnx")


def test_nan_does_not_pass(network: SyncNet, exported: Path, tmp_path: Path) -> None:
    files: list[TowerFile] = []
    for file in find_files(exported, 1)[:2]:
        model = read_model(file.path)
        bias = next(t for t in model.graph.initializer if t.name.endswith(".bias"))
        values = np.full_like(numpy_helper.to_array(bias), np.nan)
        bias.CopyFrom(numpy_helper.from_array(values, bias.name))
        write_model(model, tmp_path / f"{file.spec.name}.onnx")
        files.append(TowerFile(file.spec, FP32, tmp_path / f"{file.spec.name}.onnx"))
    report = verify(files, network, model_repository=exported)
    assert len(report.failures) == 2


# The command line


def test_build_from_the_command_line(
    repository: Path, narrow_checkpoint: Path, talking_clip: Path, command: Command
) -> None:
    status, output, errors = command(
        *("build", "--weights", narrow_checkpoint, "--model-repository", repository),
        *("--precision", "fp32,int8", "--calibrate", talking_clip),
    )
    assert (status, errors) == (0, "")
    assert installed_versions(repository) == [2]
    assert [file.precision for file in find_files(repository, 2)] == [FP32, FP32, INT8, INT8]
    assert "model.int8.onnx" in output

    again = ("build", "--weights", narrow_checkpoint, "--version", "2")
    status, _, errors = command(*again, "--model-repository", repository)
    assert status == 1
    assert errors.endswith("name another one with --version, or pass --overwrite to replace it\n")
    status, _, errors = command(*again, "--overwrite", "--model-repository", repository)
    assert (status, errors) == (0, "")
    assert [file.precision for file in find_files(repository, 2)] == [FP32, FP32]


def bad_uses(folder: Path) -> Iterator[tuple[Sequence[str], int, str]]:
    there, missing = str(folder / "narrow.model"), str(folder / "missing")
    yield ["build", "--weights", missing], 1, "no such checkpoint"
    yield ["build", "--weights", there, "--precision", "int4"], 1, "no such precision: int4"
    yield ["build", "--weights", there, "--version", "0"], 1, "versions start with 1"
    yield ["build", "--weights", there, "--precision"], 2, "--precision"
    yield (
        ["build", "--weights", there, "--precision", "int8", "--calibrate", missing],
        1,
        "missing",
    )
    yield ["build"], 2, "--weights"
    yield ["verify", "--weights", there, "--version", "9"], 1, "no ONNX files of version 9"
    yield ["inspect", "--version", "9"], 1, "no ONNX files of version 9"
    yield ["tensorrt", "--precision", "int8"], 1, "fp32, fp16, int8-trt"


@pytest.mark.parametrize("case", range(9))
def test_bad_use_is_one_line_and_a_true_status(
    case: int, repository: Path, narrow_checkpoint: Path, tmp_path: Path, command: Command
) -> None:
    shutil.copy(narrow_checkpoint, tmp_path / "narrow.model")
    (repository / "video_tower" / "1").mkdir(exist_ok=True)
    (repository / "video_tower" / "1" / "note").touch()
    (name, *options), expected, message = list(bad_uses(tmp_path))[case]
    before = files_below(repository)
    status, _, errors = command(name, "--model-repository", repository, *options)
    assert status == expected
    assert message in errors
    if expected == 1:
        assert errors.count("\n") == 1
    assert files_below(repository) == before
