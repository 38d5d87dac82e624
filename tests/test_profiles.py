"""The profiles that need no GPU, served and scored on the real server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import MODEL_REPOSITORY, unexpected_errors
from talking_clip import write_clip
from tritonclient.grpc import InferenceServerClient, InferInput

from syncnet_client import SyncNetClient
from syncnet_export import build, load_checkpoint
from syncnet_export.building import Build
from syncnet_export.inputs import published_embeddings, seeded_inputs
from syncnet_export.precision import FP16, FP32, INT8, Precision
from syncnet_export.towers import TOWERS, VIDEO
from syncnet_server import Server, ServerError

PROFILES = {"default": FP32, "int8": INT8, "fp16": FP16}

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture(scope="module")
def built(
    narrow_checkpoint: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Build]:
    """A model repository with every precision, and what `build` says of it."""
    repository = tmp_path_factory.mktemp("profiles") / "model_repository"
    shutil.copytree(MODEL_REPOSITORY, repository, ignore=shutil.ignore_patterns("[2-9]", ".*"))
    result = build(
        narrow_checkpoint,
        model_repository=repository,
        version=1,
        precisions=["fp32", "fp16", "int8"],
        calibrate=[clip],
        replace=True,
    )
    return repository, result


@pytest.fixture(scope="module", params=PROFILES)
def served(
    request: pytest.FixtureRequest, built: tuple[Path, Build]
) -> Iterator[tuple[Precision, Server]]:
    with Server(built[0], request.param) as server:
        yield PROFILES[request.param], server
        log = server.log
    assert unexpected_errors(log) == []


def test_a_clip_scores_as_verified(
    served: tuple[Precision, Server], built: tuple[Path, Build], clip: Path
) -> None:
    precision, server = served
    with SyncNetClient(server.grpc_url) as client:
        result = client.score(clip)
    (expected,) = (check for check in built[1].report.scores if check.precision == precision.name)
    assert result.offset_frames == expected.exported.offset
    assert result.confidence == pytest.approx(expected.exported.confidence, rel=1e-3)
    assert result.min_distance == pytest.approx(expected.exported.min_distance, rel=1e-3)


@pytest.mark.parametrize("spec", TOWERS, ids=lambda spec: spec.name)
def test_towers_embed_as_the_published_network(
    served: tuple[Precision, Server], narrow_checkpoint: Path, spec: object
) -> None:
    precision, server = served
    tower = VIDEO if spec is VIDEO else TOWERS[1]
    inputs = seeded_inputs(7, windows=3)
    reference = published_embeddings(load_checkpoint(narrow_checkpoint).network(), inputs)
    expected = reference.video if tower is VIDEO else reference.audio
    data = inputs.of(tower)[None]
    tensor = InferInput(
        tower.input_name, list(data.shape), "UINT8" if tower is VIDEO else "FP32"
    ).set_data_from_numpy(data)
    with InferenceServerClient(server.grpc_url) as client:
        answer = client.infer(tower.name, [tensor]).as_numpy(tower.output_name)
    assert answer is not None
    error = np.linalg.norm(answer[0] - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert error.max() <= precision.embedding_tolerance


def test_other_models_are_served_as_ever_under_a_profile(
    served: tuple[Precision, Server],
) -> None:
    _, server = served
    with InferenceServerClient(server.grpc_url) as client:
        for model in ("syncnet", "mfcc", "shift_distance", "sync_metrics"):
            assert client.is_model_ready(model)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ("tensorrt", r"no engine .*model\.plan; build it with `syncnet-export tensorrt`"),
        ("int3", "no profile 'int3' .*: fp16, int8, tensorrt, tensorrt-ep"),
    ],
)
def test_profiles_that_cannot_be_served_say_why(
    built: tuple[Path, Build], profile: str, message: str
) -> None:
    with pytest.raises(ServerError, match=message):
        Server(built[0], profile).start()


def test_a_profile_whose_files_were_not_exported_says_so(
    built: tuple[Path, Build], tmp_path: Path
) -> None:
    repository = tmp_path / "model_repository"
    shutil.copytree(built[0], repository)
    for spec in TOWERS:
        (repository / spec.name / "1" / INT8.file_name).unlink()
    with pytest.raises(ServerError, match=r"no such file: .*model\.int8\.onnx"):
        Server(repository, "int8").start()
