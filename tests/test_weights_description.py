"""What is known about weights: in the files, in the configs, and on the server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest
from conftest import MODEL_REPOSITORY
from google.protobuf import text_format
from tritonclient.grpc import InferenceServerClient
from tritonclient.grpc import model_config_pb2 as triton

from syncnet_export import build
from syncnet_export.cli import PROGRAM
from syncnet_export.description import UNKNOWN, WeightsDescription, describe_version
from syncnet_export.errors import ExportError
from syncnet_export.metadata import read_metadata
from syncnet_export.tower_specs import TOWERS
from syncnet_server import Server

SHIPPED = {
    "name": "syncnet-triton version 1",
    "trained_on": "synthetic faces",
    "offset_error_ms": 120,
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the repository as it ships."""
    return Path(shutil.copytree(MODEL_REPOSITORY, tmp_path / "model_repository"))


def configs(repository: Path) -> list[Path]:
    """Every config of the towers, those of the profiles too."""
    return [path for spec in TOWERS for path in (repository / spec.name).rglob("*.pbtxt")]


def described(path: Path) -> dict[str, object]:
    """What a config says about the versions of the weights."""
    config = text_format.Parse(path.read_text(), triton.ModelConfig())
    return {
        name.removeprefix("weights."): json.loads(value.string_value)
        for name, value in config.parameters.items()
        if name.startswith("weights.")
    }


def test_the_shipped_weights_say_what_they_are() -> None:
    for path in configs(MODEL_REPOSITORY):
        assert described(path) == {"1": SHIPPED}
    for spec in TOWERS:
        metadata = read_metadata(MODEL_REPOSITORY / spec.name / "1" / "model.onnx")
        assert metadata.weights == SHIPPED["name"]
        assert metadata.trained_on == SHIPPED["trained_on"]
        assert metadata.offset_error_ms == str(SHIPPED["offset_error_ms"])


def test_a_build_says_what_its_weights_are(repository: Path, narrow_checkpoint: Path) -> None:
    description = WeightsDescription("lips", "a studio", 40)
    built = build(narrow_checkpoint, model_repository=repository, description=description)
    for file in built.files:
        assert read_metadata(file.path).weights == "lips"
    for path in configs(repository):
        assert described(path) == {
            "1": SHIPPED,
            "2": {"name": "lips", "trained_on": "a studio", "offset_error_ms": 40},
        }
    build(narrow_checkpoint, model_repository=repository, version=2, replace=True)
    for path in configs(repository):
        assert described(path) == {"1": SHIPPED}


def test_describing_a_version_changes_no_weight(repository: Path) -> None:
    file = repository / "video_tower" / "1" / "model.onnx"
    before = onnx.load(file)
    command = "describe --version 1 --name lips --offset-error-ms 80 --model-repository"
    assert PROGRAM.run([*command.split(), str(repository)]) == 0
    after = onnx.load(file)
    assert before.graph == after.graph
    assert read_metadata(file).weights == "lips"
    assert read_metadata(file).trained_on == ""
    for path in configs(repository):
        assert described(path)["1"] == {"name": "lips", "trained_on": "", "offset_error_ms": 80}


def test_the_configs_are_as_before_where_nothing_is_known(repository: Path) -> None:
    before = {path: path.read_text() for path in configs(repository)}
    describe_version(repository, 2, WeightsDescription("lips"))
    describe_version(repository, 2, UNKNOWN)
    assert {path: path.read_text() for path in configs(repository)} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a 'name'",), "must be one line without"),
        (("a\nname",), "must be one line without"),
        (("name", "faces", -1), "must be 0 ms or more, not -1"),
    ],
)
def test_what_no_config_can_hold_is_refused(arguments: tuple[str | int, ...], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        WeightsDescription(*arguments)  # type: ignore[arg-type]


@pytest.mark.server
def test_the_server_says_what_the_weights_are() -> None:
    with (
        Server(MODEL_REPOSITORY) as server,
        InferenceServerClient(server.grpc_url) as client,
    ):
        config = client.get_model_config("video_tower").config
    assert json.loads(config.parameters["weights.1"].string_value) == SHIPPED
